//! A running server: its address, its log, and what the kernel says of it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a server may take to start: it may have to compile the probe first.
const START: Duration = Duration::from_secs(60);

/// How often the log and the kernel are asked again.
const STEP: Duration = Duration::from_millis(10);

/// `runner up`, listening.
pub(crate) struct Runner {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Runner {
    /// Starts `command`, which is the binary and what goes before it, and waits until it listens.
    pub(crate) fn start(
        mut command: Command,
        log: &Path,
        listen: &str,
        args: &[&str],
    ) -> Result<Runner> {
        command
            .args(["up", "--listen", listen, "--log-format", "json"])
            .args(args);
        Runner::spawn(command, log)
    }

    /// The same, of a whole command line.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Runner> {
        let log = log.with_extension("log");
        let child = command
            .stdout(File::create(log.with_extension("out"))?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start `runner`")?;
        let mut runner = Runner {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        runner.address = runner.wait_for_listening()?;
        Ok(runner)
    }

    fn wait_for_listening(&mut self) -> Result<SocketAddr> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            let lines = self.lines("listening");
            if let Some(url) = lines.first().and_then(|line| line["url"].as_str()) {
                let (_, authority) = url.split_once("://").context("a URL has a scheme")?;
                return Ok(authority.trim_end_matches('/').parse()?);
            }
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("`runner` did not start ({status}): {}", said.trim());
            }
            sleep(STEP);
        }
        bail!("`runner` did not listen within {START:?}");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log, as the file that it writes to.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).map_or(0, Iterator::count)
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).map_or(0, Iterator::count)
    }

    /// Its memory that is in RAM now, in MiB.
    pub(crate) fn resident(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Makes it read its manifests anew.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// The lines of its log with this `event`.
    pub(crate) fn lines(&self, event: &str) -> Vec<Value> {
        let mut lines = self.all_lines(event);
        lines.retain(|line| line["event"] == event);
        lines
    }

    /// The lines of its log in which this word occurs.
    pub(crate) fn all_lines(&self, word: &str) -> Vec<Value> {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .lines()
            .filter(|line| line.contains(word))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// How many lines of its log, of whatever kind, have these words.
    pub(crate) fn says(&self, words: &str) -> usize {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// The lines of its log with this `event` behind the first `read` bytes, which then are more.
    pub(crate) fn next_lines(&self, event: &str, read: &mut usize) -> Vec<Value> {
        let log = fs::read(&self.log).unwrap_or_default();
        let new = log.get(*read..).unwrap_or_default();
        let whole = new
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        *read += whole;
        String::from_utf8_lossy(&new[..whole])
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["event"] == event)
            .collect()
    }

    /// The time that its threads have been computing.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap_or_default();
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
    }

    /// Its memory that is in RAM now, in MiB; from here on [`Runner::peak`] starts anew.
    pub(crate) fn memory(&self) -> f64 {
        let _ = fs::write(self.proc("clear_refs"), "5");
        self.status("VmRSS:")
    }

    /// The most that it has had since [`Runner::memory`], in MiB.
    pub(crate) fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// How many sockets it has open.
    pub(crate) fn sockets(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.proc("fd")) else {
            return 0;
        };
        entries
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// How many connections it has closed whose last bytes the kernel still wants to send.
    pub(crate) fn orphans(&self) -> usize {
        let ours = format!(":{:04X}", self.address.port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let is_orphan = |line: &&str| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().is_some_and(|local| local.ends_with(&ours));
            // The state FIN-WAIT-1.
            local && fields.nth(1) == Some("04")
        };
        table.lines().filter(is_orphan).count()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Asks it to end, and waits for that; its log is then complete.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.is_alive() && Instant::now() < deadline {
            sleep(STEP);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    fn status(&self, field: &str) -> f64 {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse::<f64>().ok());
        kilobytes.unwrap_or(0.0) / 1024.0
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

/// It must not outlive its siege.
impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
