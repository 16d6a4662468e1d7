//! Compiling in a process of its own, as its parent sees it.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{CompileLimits, CompileProcess, Compiled, Error, answer, child};
use crate::caps;

/// What is read at once: as much as a pipe holds.
const PART: usize = 64 * 1024;

/// What is kept of what the process says when it fails.
const COMPLAINT: usize = 4 * 1024;

/// What a message shows of it.
const SHOWN: usize = 200;

impl CompileProcess {
    /// Starts the process, gives it the file and waits for its answer. The thread that calls this must live until then:
    /// the process ends with it.
    pub(super) fn compile(&self, file: &[u8]) -> Result<Compiled, Error> {
        let mut process = Process(self.start().map_err(Error::NotStarted)?);
        let mut talk = Talk::with(&mut process.0, file).map_err(Error::NotStarted)?;
        let deadline = Instant::now() + self.limits.time;
        let held = talk.hold(deadline);
        // It has let go of its pipes, so it has ended or is about to; or it must.
        let status = process.end();
        match held {
            Ok(()) => ended(status, talk, &self.limits),
            Err(Stop::Late) => Err(Error::Time(self.limits.time)),
            Err(Stop::TooLarge) => Err(Error::TooLarge),
            Err(Stop::Broken(error)) => Err(Error::Failed(error.to_string())),
        }
    }

    fn start(&self) -> io::Result<Child> {
        let numbers = [
            u64::from(std::process::id()),
            self.limits.cpu.as_secs().max(1),
            self.limits.memory,
        ];
        Command::new(&self.program)
            .arg0("runner")
            .arg(child::WORD)
            .args(numbers.map(|number| number.to_string()))
            .env_clear()
            .current_dir("/")
            // What a terminal sends to our group is not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// A process that is killed and waited for, whatever happens.
struct Process(Child);

impl Process {
    fn end(&mut self) -> io::Result<ExitStatus> {
        // It leads a group of its own. One that has ended by itself is waited for yet, so its number is still its.
        if let Ok(Some(pid)) = i32::try_from(self.0.id()).map(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.0.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.end();
        }
    }
}

/// Why a talk ends before the process does.
enum Stop {
    Late,
    TooLarge,
    Broken(io::Error),
}

/// The pipes of a process, and what has come out of them so far.
struct Talk<'a> {
    file: &'a [u8],
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    answer: Vec<u8>,
    stderr: Option<ChildStderr>,
    complaint: Vec<u8>,
}

impl<'a> Talk<'a> {
    fn with(process: &mut Child, file: &'a [u8]) -> io::Result<Talk<'a>> {
        let talk = Talk {
            file,
            stdin: process.stdin.take(),
            stdout: process.stdout.take(),
            answer: Vec::new(),
            stderr: process.stderr.take(),
            complaint: Vec::new(),
        };
        for end in talk.ends() {
            fcntl_setfl(end.as_fd(), OFlags::NONBLOCK)?;
        }
        Ok(talk)
    }

    /// The ends of the pipes that are still open.
    fn ends(&self) -> Vec<PollFd<'_>> {
        let stdin = self
            .stdin
            .iter()
            .map(|end| PollFd::new(end, PollFlags::OUT));
        let stdout = self
            .stdout
            .iter()
            .map(|end| PollFd::new(end, PollFlags::IN));
        let stderr = self
            .stderr
            .iter()
            .map(|end| PollFd::new(end, PollFlags::IN));
        stdin.chain(stdout).chain(stderr).collect()
    }

    /// Writes and reads until the process has closed both of its ends.
    fn hold(&mut self, deadline: Instant) -> Result<(), Stop> {
        let mut part = vec![0; PART];
        while self.stdout.is_some() || self.stderr.is_some() {
            self.wait(deadline)?;
            self.write()?;
            self.answer.extend(read(&mut self.stdout, &mut part)?);
            if self.answer.len() > caps::CODE {
                return Err(Stop::TooLarge);
            }
            let said = read(&mut self.stderr, &mut part)?;
            let room = COMPLAINT - self.complaint.len();
            self.complaint.extend(&said[..said.len().min(room)]);
        }
        Ok(())
    }

    fn wait(&self, deadline: Instant) -> Result<(), Stop> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Stop::Late);
        }
        let left = Timespec::try_from(left.min(Duration::from_secs(3600)));
        match poll(&mut self.ends(), left.ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Stop::Broken(errno.into())),
        }
    }

    fn write(&mut self) -> Result<(), Stop> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        match stdin.write(self.file) {
            Ok(written) => self.file = &self.file[written..],
            Err(error) if is_for_later(&error) => return Ok(()),
            // It says elsewhere why it does not listen.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.file = &[],
            Err(error) => return Err(Stop::Broken(error)),
        }
        if self.file.is_empty() {
            // That is all of it.
            self.stdin = None;
        }
        Ok(())
    }
}

/// What there is to read, if there is any; at the end, the pipe is closed.
fn read<'a>(from: &mut Option<impl Read>, part: &'a mut [u8]) -> Result<&'a [u8], Stop> {
    let Some(pipe) = from else { return Ok(&[]) };
    match pipe.read(part) {
        Ok(0) => {
            *from = None;
            Ok(&[])
        }
        Ok(length) => Ok(&part[..length]),
        Err(error) if is_for_later(&error) => Ok(&[]),
        Err(error) => Err(Stop::Broken(error)),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What a process that has let go of its pipes has done.
fn ended(
    status: io::Result<ExitStatus>,
    talk: Talk<'_>,
    limits: &CompileLimits,
) -> Result<Compiled, Error> {
    let status = status.map_err(|error| Error::Failed(error.to_string()))?;
    if status.success() {
        return match answer::decode(talk.answer) {
            Some(answer) => answer.map_err(Error::Refused),
            None => Err(Error::Failed("its answer is cut short".into())),
        };
    }
    let complaint = String::from_utf8_lossy(&talk.complaint);
    // What a Rust program says when it gets no memory, and what the system says.
    let is_memory = [
        "memory allocation of",
        "unhandled out-of-memory error",
        "Cannot allocate memory",
    ];
    if is_memory.iter().any(|words| complaint.contains(words)) {
        return Err(Error::Memory(limits.memory));
    }
    match status.signal().map(Signal::from_named_raw) {
        Some(Some(Signal::XCPU)) => Err(Error::Cpu(limits.cpu)),
        Some(Some(Signal::KILL | Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT)) => {
            Err(Error::Killed(status.signal().unwrap_or_default()))
        }
        _ => Err(Error::Failed(words(&complaint, status))),
    }
}

/// What it said at last, on one line, or how it ended.
fn words(complaint: &str, status: ExitStatus) -> String {
    let lines = complaint.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("note: "))
        .take(2)
        .collect();
    if lines.is_empty() {
        return status.to_string();
    }
    let line = lines.join(" ");
    line.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}
