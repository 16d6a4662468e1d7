//! A running `runner up`.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::client::{Connection, Reply};
use crate::trace::Trace;
use crate::{App, process};

/// How long a story waits for what must happen. Only a story that fails ever waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it waits for a server that may have to compile tens of megabytes first.
const START: Duration = Duration::from_secs(300);

/// What Linux calls a tick, in one second, on every machine of today.
const TICKS: f64 = 100.0;

/// `runner up`, ready, with everything it logs.
pub struct Server {
    child: Child,
    pid: Pid,
    url: String,
    log: Arc<Log>,
    over: bool,
    traced: bool,
}

/// Who reads what a server logs, after it has said that it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The story.
    Story,
    /// Nobody: the pipe is open, and what does not fit into it has to wait.
    Nobody,
    /// Nobody, and the pipe is closed.
    Gone,
}

/// How a server ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// All it logged.
    pub log: Vec<Value>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<Value>, bool)>,
    grown: Notify,
    /// The end of a pipe that nobody reads from any more.
    unread: Mutex<Option<BufReader<PipeReader>>>,
}

impl Server {
    /// Starts `app` on a free port with `args` more, and waits until it listens.
    pub async fn start(app: &App, args: &[&str]) -> Server {
        Server::try_start(app, args)
            .await
            .unwrap_or_else(|log| panic!("runner did not start: {log:#?}"))
    }

    /// The same, for one that may refuse to start: then gives what it logged.
    pub async fn try_start(app: &App, args: &[&str]) -> Result<Server, Stopped> {
        Server::try_start_with(app, args, &[]).await
    }

    /// The same, with these variables in its environment.
    pub async fn try_start_with(
        app: &App,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Server, Stopped> {
        let fixed = ["up", "--listen", "127.0.0.1:0", "--log-format", "json"];
        let args: Vec<&str> = fixed.iter().chain(args).copied().collect();
        let trace = Trace::next();
        let mut command = process::command(app.path(), &args, trace.as_ref());
        let traced = trace.is_some();
        if traced {
            command.env("RUNNER_LOG", "warn,runner::dial=debug");
        }
        process::set(&mut command, environment);
        let (child, log) = spawn(command, trace, Reader::Story);
        Server::started(child, log, traced).await
    }

    async fn started(mut child: Child, log: Arc<Log>, traced: bool) -> Result<Server, Stopped> {
        let started = log
            .wait_for(START, |line| line["event"] == "listening")
            .await;
        let Some(line) = started else {
            let code = child.wait().await.expect("a child").code().unwrap_or(-1);
            return Err(Stopped {
                code,
                log: log.all(),
            });
        };
        let pid =
            Pid::from_raw(line["pid"].as_i64().expect("in the event") as i32).expect("not zero");
        Ok(Server {
            child,
            pid,
            url: line["url"].as_str().expect("in the event").to_owned(),
            log,
            over: false,
            traced,
        })
    }

    /// The same, after a line of shell, such as `ulimit -n 80`. Never traced.
    pub async fn try_start_after(app: &App, line: &str, args: &[&str]) -> Result<Server, Stopped> {
        let fixed = ["up", "--log-format", "json"];
        let args: Vec<&str> = fixed.iter().chain(args).copied().collect();
        let (child, log) = spawn(
            process::command_after(app.path(), line, &args),
            None,
            Reader::Story,
        );
        Server::started(child, log, false).await
    }

    /// Starts `app` with a log that is not read any more once it listens. Never traced: what it dials is in the log.
    pub async fn start_unread(app: &App, reader: Reader) -> Server {
        let args = ["up", "--listen", "127.0.0.1:0", "--log-format", "json"];
        let command = process::command(app.path(), &args, None);
        let (child, log) = spawn(command, None, reader);
        let started = log.wait(|line| line["event"] == "listening").await;
        let line = started.unwrap_or_else(|| panic!("runner did not start: {:#?}", log.all()));
        Server {
            pid: Pid::from_raw(child.id().expect("not waited for") as i32).expect("not zero"),
            child,
            url: line["url"].as_str().expect("in the event").to_owned(),
            log,
            over: false,
            traced: false,
        }
    }

    /// Starts `app` with a log for people: each of its lines is a string. Never traced: such a log tells no pid.
    pub async fn start_text(app: &App, args: &[&str]) -> Server {
        let fixed = ["up", "--listen", "127.0.0.1:0", "--log-format", "text"];
        let args: Vec<&str> = fixed.iter().chain(args).copied().collect();
        let command = process::command(app.path(), &args, None);
        let (child, log) = spawn(command, None, Reader::Story);
        let served = |line: &Value| Some(line.as_str()?.split_once(" served on ")?.1.to_owned());
        let started = log.wait(|line| served(line).is_some()).await;
        let url = started.as_ref().and_then(served);
        let pid = Pid::from_raw(child.id().expect("not waited for") as i32).expect("not zero");
        Server {
            child,
            pid,
            url: url.unwrap_or_else(|| panic!("runner did not start: {:#?}", log.all())),
            log,
            over: false,
            traced: false,
        }
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of [`Server::url`].
    pub fn address(&self) -> SocketAddr {
        self.url
            .split("://")
            .nth(1)
            .expect("a URL")
            .parse()
            .expect("an address")
    }

    /// Where its admin listener is, as it says it: `http://127.0.0.1:PORT`.
    pub async fn admin(&self) -> String {
        let line = self.logged(|line| line["event"] == "admin").await;
        line["url"].as_str().expect("in the event").to_owned()
    }

    /// Its process id: `runner`'s own, also where it was started under another command.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.expect("it runs, and is ours").count()
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/task", self.pid()));
        folder.expect("it runs, and is ours").count()
    }

    /// How much memory it could write to, in bytes.
    pub fn data(&self) -> u64 {
        self.status("VmData:")
    }

    /// How much memory it has in use, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Lets it have no more than this of a resource from now on; all that there is where no number is given.
    pub fn limit(&self, resource: Resource, most: Option<u64>) {
        let limit = Rlimit {
            current: most,
            maximum: getrlimit(resource).maximum,
        };
        prlimit(Some(self.pid), resource, limit).expect("it runs, and is ours");
    }

    /// Waits until it has done what [`Signal::STOP`] says.
    pub async fn stopped(&self) {
        let state = || fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let is_stopped = |stat: &str| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|state| state.starts_with(['T', 't']))
        };
        while !is_stopped(&state().expect("it is there")) {
            tokio::task::yield_now().await;
        }
    }

    /// Counts its [`Server::peak_memory`] from now.
    pub fn forget_peak_memory(&self) {
        let refs = format!("/proc/{}/clear_refs", self.pid());
        fs::write(refs, "5").expect("it runs, and is ours");
    }

    /// The most memory that it has had in use at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(status).expect("it runs");
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        let found = found.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let kilobytes: u64 = found.expect("Linux").trim().parse().expect("a number");
        kilobytes * 1024
    }

    /// The time that it has spent on a processor since it started.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        // What comes before is its name, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ").expect("Linux");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_secs_f64(ticks.sum::<u64>() as f64 / TICKS)
    }

    /// `GET path` on a new connection.
    pub async fn get(&self, path: &str) -> Reply {
        self.connect().await.get(path).await
    }

    /// A kept connection, HTTP/1.1.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address()).await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it runs");
    }

    /// The first log line, past or to come, for which `is_it` holds.
    pub async fn logged(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        self.log
            .wait(is_it)
            .await
            .unwrap_or_else(|| panic!("never logged; all that was: {:#?}", self.log.all()))
    }

    /// All it has logged so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.all()
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Stopped {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .expect("a child");
        self.over = true;
        self.log.closed().await;
        Stopped {
            code: status.code().unwrap_or(-1),
            log: self.log.all(),
        }
    }

    /// `SIGTERM`, and waits for the end.
    pub async fn stop(self) -> Stopped {
        self.signal(Signal::TERM);
        self.ended().await
    }
}

/// Under `strace` the child is `strace`, which `runner` outlives.
impl Drop for Server {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.traced {
            self.let_it_write();
        }
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

impl Server {
    /// Ends it so that what the door announced is written and read: a second signal does not wait for requests.
    fn let_it_write(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.log.is_closed() && Instant::now() < deadline {
            let _ = kill_process(self.pid, Signal::TERM);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Starts a `runner` and takes up what it logs, on a thread: what is logged at the end is read after the story's own
/// runtime is gone.
fn spawn(mut command: Command, trace: Option<Trace>, of: Reader) -> (Child, Arc<Log>) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let child = command.stdin(Stdio::null()).stderr(writer).spawn();
    let child = child.expect("runner starts");
    // It holds the pipe's other end.
    drop(command);
    let log = Arc::<Log>::default();
    let of_thread = log.clone();
    std::thread::spawn(move || read(reader, &of_thread, trace.as_ref(), of));
    (child, log)
}

fn read(stderr: PipeReader, log: &Log, trace: Option<&Trace>, of: Reader) {
    let mut stderr = BufReader::new(stderr);
    while let Some(Ok(line)) = stderr.by_ref().lines().next() {
        trace.iter().for_each(|trace| trace.line(&line));
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        let listens = line["event"] == "listening";
        log.lines.lock().expect("no panic inside").0.push(line);
        if listens && of != Reader::Story {
            break;
        }
        log.grown.notify_waiters();
    }
    if of == Reader::Nobody {
        *log.unread.lock().expect("no panic inside") = Some(stderr);
    } else {
        // Closed before anybody hears that it listens.
        drop(stderr);
    }
    log.lines.lock().expect("no panic inside").1 = true;
    log.grown.notify_waiters();
}

impl Log {
    fn all(&self) -> Vec<Value> {
        self.lines.lock().expect("no panic inside").0.clone()
    }

    async fn wait(&self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        self.wait_for(PATIENCE, is_it).await
    }

    async fn wait_for(&self, patience: Duration, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let waiting = async {
            loop {
                let grown = self.grown.notified();
                {
                    let lines = self.lines.lock().expect("no panic inside");
                    if let Some(line) = lines.0.iter().find(|line| is_it(line)) {
                        return Some(line.clone());
                    }
                    if lines.1 {
                        return None;
                    }
                }
                grown.await;
            }
        };
        tokio::time::timeout(patience, waiting)
            .await
            .unwrap_or(None)
    }

    fn is_closed(&self) -> bool {
        self.lines.lock().expect("no panic inside").1
    }

    async fn closed(&self) {
        self.wait(|_| false).await;
    }
}
