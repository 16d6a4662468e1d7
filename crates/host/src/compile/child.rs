//! Compiling in a process of its own, as that process sees it: it lets go of all it has, takes its limits, reads one file,
//! answers, and ends.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use runner_manifest::Code;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, nice, set_parent_process_death_signal, setrlimit,
};

use super::{Compiled, Refusal, answer, work};
use crate::{caps, engine};

/// The first argument of a process that is to compile.
pub(super) const WORD: &str = "compile-one-component";

/// Descriptors that the process may have: its two pipes, one for complaints, and what the runtime reads of the machine.
const DESCRIPTORS: u64 = 16;

/// How much less than those who serve it is worth.
const NICENESS: i32 = 10;

/// What a program maps beside what it allocates: itself, its libraries.
const MAPPED: u64 = 512 << 20;

/// Addresses that the C library reserves for each thread that allocates.
const ARENA: u64 = 128 << 20;

/// Compiles one component and ends, where the arguments are those that [`CompileProcess`](super::CompileProcess) starts a
/// process with; gives nothing where they are others. Must be called at the beginning of `main`: the process closes every
/// descriptor that it was started with but the first three.
pub fn compile_if_asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let task = Task::of(arguments)?;
    let done = task.confine().and_then(|()| task.answer());
    let Err(error) = done else {
        return Some(ExitCode::SUCCESS);
    };
    // The parent reads it.
    let _ = writeln!(io::stderr(), "{error}");
    Some(ExitCode::FAILURE)
}

/// What the arguments say.
struct Task {
    parent: Pid,
    cpu: u64,
    memory: u64,
}

impl Task {
    fn of(arguments: impl IntoIterator<Item = OsString>) -> Option<Task> {
        let mut arguments = arguments.into_iter().skip(1);
        if arguments.next()? != WORD {
            return None;
        }
        let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
        Some(Task {
            parent: Pid::from_raw(number()?.try_into().ok()?)?,
            cpu: number()?,
            memory: number()?,
        })
    }

    /// Before anything is read.
    fn confine(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(self.parent) {
            return Err(io::Error::other("the parent has ended already"));
        }
        close_all_but_the_first_three()?;
        let threads = cores() as u64 + 2;
        let addresses = self.memory + MAPPED + threads * ARENA;
        limit(Resource::Core, 0, 0)?;
        limit(Resource::Fsize, 0, 0)?;
        limit(Resource::Nofile, DESCRIPTORS, DESCRIPTORS)?;
        // The first is told by a signal of its own.
        limit(Resource::Cpu, self.cpu, self.cpu + 2)?;
        // What it can write to; addresses alone cost nothing.
        limit(Resource::Data, self.memory, self.memory)?;
        limit(Resource::As, addresses, addresses)?;
        // Those who serve go first.
        nice(NICENESS)?;
        Ok(())
    }

    fn answer(&self) -> io::Result<()> {
        let mut file = Vec::new();
        io::stdin()
            .lock()
            .take(caps::ARTIFACT)
            .read_to_end(&mut file)?;
        let answer = answer::encode(on_a_large_stack(file)?);
        let mut out = io::stdout().lock();
        out.write_all(&answer)?;
        out.flush()
    }
}

/// Sets a limit, unless there is a lower one already.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let least = |set: Option<u64>, most: u64| Some(set.map_or(most, |set| set.min(most)));
    let limit = Rlimit {
        current: least(now.current, soft),
        maximum: least(now.maximum, hard),
    };
    Ok(setrlimit(resource, limit)?)
}

/// What whoever started the parent left open is not for a process that reads what is hostile.
#[expect(
    unsafe_code,
    reason = "closing a descriptor by its number, which nothing in this process owns"
)]
fn close_all_but_the_first_three() -> io::Result<()> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    // The one that the folder was read by is among them, and closed by now.
    let open = paths.iter().filter(|path| path.read_link().is_ok());
    let numbers = open.filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    for number in numbers.filter(|&number: &i32| number > 2) {
        // SAFETY: the process has just begun, with one thread, and has opened nothing itself that is still open: whatever
        // has this number was inherited, and no value in this program stands for it.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}

fn on_a_large_stack(file: Vec<u8>) -> io::Result<Result<Compiled, Refusal>> {
    let thread = thread::Builder::new()
        .name("runner-compile".into())
        .stack_size(caps::COMPILER_STACK)
        .spawn(move || compile(file));
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => {
            let what = format!("no thread could be started to compile it: {error}");
            return Ok(Err(not_started(what)));
        }
    };
    // Its panic is on the way to the parent as text.
    thread
        .join()
        .map_err(|_| io::Error::other("the thread that compiles panicked"))
}

fn compile(file: Vec<u8>) -> Result<Compiled, Refusal> {
    let mut config = engine::config_without_pool();
    // Where there is no thread to be had, rayon panics.
    config.parallel_compilation(has_threads(cores()));
    let engine = wasmtime::Engine::new(&config).map_err(|error| {
        not_started(format!("no engine could be made to compile it: {error:#}"))
    })?;
    work::compile(file, &engine)
}

fn not_started(what: String) -> Refusal {
    Refusal {
        code: Code::CompilerNotStarted,
        what,
        help:
            "each component is compiled by a process of its own: raise the limits, see `ulimit -a`"
                .into(),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Starts so many threads at once, which then end.
fn has_threads(count: usize) -> bool {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // They are there at once: none ends before the last has begun.
        let _shut = gate.lock();
        (0..count).all(|_| {
            let thread = thread::Builder::new();
            thread.spawn_scoped(scope, || drop(gate.lock())).is_ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_arguments_of_a_parent_are_a_task() {
        let task = |arguments: &[&str]| Task::of(arguments.iter().map(OsString::from));
        for arguments in [
            &[][..],
            &["runner"],
            &["runner", "up"],
            &["runner", WORD],
            &["runner", WORD, "0", "60", "1000"],
            &["runner", WORD, "7", "60"],
            &["runner", WORD, "7", "soon", "1000"],
        ] {
            assert!(task(arguments).is_none(), "{arguments:?}");
        }
        let task = task(&["runner", WORD, "7", "60", "1000"]).unwrap();
        assert_eq!(
            (task.parent.as_raw_nonzero().get(), task.cpu, task.memory),
            (7, 60, 1000)
        );
    }
}
