//! A server that was started, and what the kernel says of it and of the processes that it started.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::param::clock_ticks_per_second;

/// How long a server may take to start: it may have to compile first.
const START: Duration = Duration::from_secs(300);

/// How often it is looked at meanwhile.
const STEP: Duration = Duration::from_millis(1);

/// A server, ended when this is dropped.
pub(super) struct Process {
    child: Child,
    address: SocketAddr,
}

/// What a process has in RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// All of it, in MiB.
    pub(super) resident: f64,
    /// Its part of what it shares with others, and all of what it does not, in MiB.
    pub(super) proportional: f64,
    /// What is of no file, in MiB.
    pub(super) anonymous: f64,
}

impl Process {
    /// Starts it, to listen on `address`.
    pub(super) fn spawn(mut command: Command, address: SocketAddr) -> Result<Process> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", command.get_program().display()))?;
        Ok(Process { child, address })
    }

    /// Starts it, and waits until it takes connections.
    pub(super) fn start(command: Command, address: SocketAddr) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut process = Process::spawn(command, address)?;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if listens(address) {
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                bail!("`{name}` did not start ({status})");
            }
            sleep(STEP);
        }
        bail!("`{name}` did not listen within {START:?}")
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it and all that it has started have computed.
    pub(super) fn cpu(&self) -> Duration {
        self.tree().into_iter().map(cpu_of).sum()
    }

    pub(super) fn memory(&self) -> Memory {
        self.tree()
            .into_iter()
            .map(Memory::of)
            .fold(Memory::default(), Memory::plus)
    }

    /// It and all that it has started that are still there.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let mut at = 0;
        while let Some(&process) = tree.get(at) {
            tree.extend(children(process));
            at += 1;
        }
        tree
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Those that it has started end with it, but for whoever has to be told.
        for process in self.tree().into_iter().skip(1) {
            if let Some(process) = rustix::process::Pid::from_raw(process as i32) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Memory {
    fn of(process: u32) -> Memory {
        let file = format!("/proc/{process}/smaps_rollup");
        let rollup = fs::read_to_string(file).unwrap_or_default();
        let of = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            number.unwrap_or(0.0) / 1024.0
        };
        Memory {
            resident: of("Rss:"),
            proportional: of("Pss:"),
            anonymous: of("Anonymous:"),
        }
    }

    fn plus(self, other: Memory) -> Memory {
        Memory {
            resident: self.resident + other.resident,
            proportional: self.proportional + other.proportional,
            anonymous: self.anonymous + other.anonymous,
        }
    }
}

fn children(process: u32) -> Vec<u32> {
    let file = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(file).unwrap_or_default();
    let children = children.split_whitespace();
    children.filter_map(|child| child.parse().ok()).collect()
}

/// Of one process, with those of its children that have ended; nothing where it has ended itself.
fn cpu_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    ticks(fields(&stat).take(4))
}

/// How long the children of this process that have ended had computed.
pub(super) fn cpu_of_ended_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(fields(&stat).skip(2).take(2))
}

/// `utime`, `stime`, `cutime`, `cstime`, and what comes after them: see proc(5).
fn fields(stat: &str) -> impl Iterator<Item = u64> {
    // The name of the program, in parentheses, may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = fields.split_whitespace().skip(11);
    fields.map(|field| field.parse().unwrap_or(0))
}

fn ticks(ticks: impl Iterator<Item = u64>) -> Duration {
    Duration::from_secs_f64(ticks.sum::<u64>() as f64 / clock_ticks_per_second() as f64)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of the server that is measured, in a process of its own"
)]
fn listens(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_behind_the_name_of_the_program() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";
        assert_eq!(fields(stat).take(4).collect::<Vec<_>>(), [11, 12, 13, 14]);
    }
}
