//! Compiling: what a component's author wrote, to code of this machine.
//!
//! Whoever compiles reads what may be hostile, in ways that recurse, allocate and compute by the guest's wish. So that is
//! done by a process of its own, which can be killed, and has its limits ([`CompileProcess`]). It is this very program,
//! started anew ([`compile_if_asked`]); its answer is believed as much as if it had been computed here.

mod answer;
mod child;
mod needs;
mod process;
mod slots;
mod work;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use runner_manifest::Code;
use rustix::io::Errno;

pub(crate) use self::answer::Compiled;
pub use self::child::compile_if_asked;
pub(crate) use self::needs::{Needs, bytes};
pub(crate) use self::slots::Slots;
use crate::caps;

/// Who compiles what is not in the cache.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// This process, on a thread: for components from whom one trusts. Nothing bounds what one of them may take.
    #[default]
    InProcess,
    /// A process of its own for each, with limits.
    Process(CompileProcess),
}

/// How the process is started that compiles one component.
#[derive(Clone, Debug)]
pub struct CompileProcess {
    /// An absolute path of a program whose `main` begins with [`compile_if_asked`].
    pub program: PathBuf,
    /// What the process may take.
    pub limits: CompileLimits,
}

/// What the process that compiles one component may take. Beyond it, the component is refused.
#[derive(Clone, Copy, Debug)]
pub struct CompileLimits {
    /// Computing, over all its threads; in whole seconds, one at least.
    pub cpu: Duration,
    /// Memory, in bytes.
    pub memory: u64,
    /// Until it has answered.
    pub time: Duration,
}

impl CompileProcess {
    /// This very program, which must begin with [`compile_if_asked`], with the usual limits.
    pub fn this() -> CompileProcess {
        CompileProcess {
            // Also when its file was replaced since it started.
            program: "/proc/self/exe".into(),
            limits: CompileLimits::default(),
        }
    }
}

impl Default for CompileLimits {
    fn default() -> CompileLimits {
        CompileLimits {
            cpu: caps::COMPILE_CPU,
            memory: caps::COMPILE_MEMORY,
            time: caps::COMPILE_TIME,
        }
    }
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", .0.what)]
    Refused(Refusal),
    #[error("compiling it takes more than {} MiB of memory", .0 >> 20)]
    Memory(u64),
    #[error("compiling it takes more than {0:?} of computing")]
    Cpu(Duration),
    #[error("compiling it takes longer than {0:?}")]
    Time(Duration),
    #[error("what it is compiled to is larger than {} MiB", caps::CODE >> 20)]
    TooLarge,
    #[error("the process that compiled it failed: {0}")]
    Failed(String),
    #[error("the process that compiled it was killed by signal {0}")]
    Killed(i32),
    #[error("no process could be started to compile it: {0}")]
    NotStarted(#[source] io::Error),
}

/// What whoever compiles has against a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Error {
    /// What kind of message it is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Error::Refused(refusal) => refusal.code,
            Error::Memory(_) => Code::CompilingTakesMemory,
            Error::Cpu(_) | Error::Time(_) => Code::CompilingTakesTime,
            Error::TooLarge => Code::CompiledTooLarge,
            Error::Failed(_) => Code::CompilerFailed,
            Error::Killed(_) => Code::CompilerKilled,
            Error::NotStarted(_) => Code::CompilerNotStarted,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &str {
        match self {
            Error::Refused(refusal) => &refusal.help,
            Error::Memory(_) | Error::Cpu(_) | Error::Time(_) | Error::TooLarge => {
                "build it with optimisation, or make several components of it"
            }
            Error::Failed(_) => "build it again with another version of its toolchain",
            Error::Killed(_) => {
                "look into the system's log who killed it: a machine without memory does; then try again"
            }
            Error::NotStarted(error) => match Errno::from_io_error(error) {
                Some(Errno::MFILE | Errno::NFILE) => "raise the limit on open files, `ulimit -n`",
                Some(Errno::AGAIN) => "raise the limit on processes and threads, `ulimit -u`",
                Some(Errno::NOMEM) => "raise the limit on memory, `ulimit -v` and `ulimit -d`",
                _ => {
                    "each component is compiled by a process of its own: let it be started, with `/proc` mounted"
                }
            },
        }
    }
}

impl Compiler {
    /// Checks and compiles what a file holds. Blocks until that is done.
    pub(crate) fn compile(
        &self,
        file: &[u8],
        engine: &wasmtime::Engine,
    ) -> Result<Compiled, Error> {
        match self {
            Compiler::InProcess => work::compile(file.to_vec(), engine).map_err(Error::Refused),
            Compiler::Process(process) => process.compile(file),
        }
    }

    /// The stack of a thread that calls [`Compiler::compile`].
    pub(crate) fn stack(&self) -> usize {
        match self {
            Compiler::InProcess => caps::LOADER_STACK,
            Compiler::Process(_) => caps::LINKER_STACK,
        }
    }
}
