//! What 64 clients make tenant `a` do.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::guests;
use super::servers::{Server, Stage};
use crate::siege::client::{Client, attacker, dial, dial_narrow};
use crate::siege::ground::runtime;

/// The host that tenant `a` is for.
pub(super) const HOST: &str = "a.example";

/// At once, each with one request after the other.
const CLIENTS: u64 = 64;

/// Who was refused or cut asks again after this: an attack of requests that are refused at once would be another one.
const PAUSE: Duration = Duration::from_millis(10);

/// How much less than the server and the neighbour's client they are worth: see setpriority(2).
const NICENESS: i32 = 10;

/// No request takes longer; a client that waits longer asks anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes before the neighbour is measured: the attack is under way.
const RUN_UP: Duration = Duration::from_secs(1);

/// How often a log that is flooded is emptied, and a component made anew.
const TURN: Duration = Duration::from_millis(200);

/// One way to be a bad neighbour.
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// Whether it makes sense against a server that has one component and no manifest.
    pub(super) for_others: bool,
    how: How,
}

enum How {
    /// Ask for this path.
    Ask(&'static str),
    /// Ask for a call to where nobody answers.
    BlackHole,
    /// Ask for calls to the app itself that do the same.
    FanOut,
    /// Ask for much, and read nothing of it.
    NeverRead,
    /// Ask, while the component is replaced again and again.
    Reload,
}

pub(super) const ATTACKS: &[Attack] = &[
    ask("cpu-loop", "/loop", true),
    ask("bulk-memory", "/bulk", false),
    ask("memory-growth", "/memory?bytes=100000000", true),
    ask("table-growth", "/table", false),
    ask("log-flood", LOG_FLOOD, true),
    with("never-read", How::NeverRead, true),
    with("black-hole", How::BlackHole, false),
    with("fan-out", How::FanOut, false),
    with("reload", How::Reload, false),
];

/// A million lines.
const LOG_FLOOD: &str =
    "/stdout?n=1000000&text=a-line-that-says-nothing-and-is-as-long-as-most-lines-are-in-a-log";

const MUCH: &str = "GET /big?bytes=50000000&chunk=4096 HTTP/1.1\r\nhost: a.example\r\n\r\n";

const fn ask(name: &'static str, path: &'static str, for_others: bool) -> Attack {
    with(name, How::Ask(path), for_others)
}

const fn with(name: &'static str, how: How, for_others: bool) -> Attack {
    Attack {
        name,
        for_others,
        how,
    }
}

/// At work until it is told to end.
pub(super) struct Attacking {
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of the attackers' requests.
#[derive(Default)]
struct Done {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// The same, once it is over.
pub(super) struct Ended {
    pub(super) answered: u64,
    pub(super) failed: u64,
}

impl Attack {
    /// Begins; it is under way when this returns.
    pub(super) fn begin(&self, stage: &Stage<'_>, server: &Server) -> Result<Attacking> {
        let (done, stop) = (Arc::<Done>::default(), Arc::<AtomicBool>::default());
        let to = server.address();
        let path = match self.how {
            How::Ask(path) => Some(path.to_owned()),
            How::BlackHole => Some(format!("/fetch?n=16&url=http://{}/", stage.hole()?)),
            How::FanOut => Some(fan_out()),
            How::NeverRead => None,
            How::Reload => Some("/hello".to_owned()),
        };
        let mut threads = vec![clients(to, path, done.clone(), stop.clone())?];
        if let Some(log) = server.log() {
            threads.push(empty(log, stop.clone()));
        }
        if let How::Reload = self.how {
            threads.push(replace(stage.probe_of_a(), stop.clone())?);
        }
        thread::sleep(RUN_UP);
        Ok(Attacking {
            done,
            stop,
            threads,
        })
    }
}

impl Attacking {
    /// Ends, and tells what came of it.
    pub(super) fn end(self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        Ended {
            answered: self.done.answered.load(Ordering::Relaxed),
            failed: self.done.failed.load(Ordering::Relaxed),
        }
    }
}

/// `/hello`, four times; that, four times; and that, four times.
fn fan_out() -> String {
    (0..3).fold("/hello".to_owned(), |inner, _| {
        format!("/fetch?n=4&url={}", escaped(&inner))
    })
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// All clients, on a thread of their own; without a path they read nothing.
fn clients(
    to: SocketAddr,
    path: Option<String>,
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let runtime = runtime()?;
    let all = async move {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (path, done) = (path.clone(), done.clone());
            clients.spawn(async move {
                loop {
                    let asked = timeout(PATIENCE, once(to, number, path.as_deref()));
                    match asked.await {
                        Ok(true) => done.answered.fetch_add(1, Ordering::Relaxed),
                        Ok(false) | Err(_) => {
                            sleep(PAUSE).await;
                            done.failed.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
        while !stop.load(Ordering::Relaxed) {
            sleep(PAUSE).await;
        }
        clients.shutdown().await;
    };
    Ok(thread::spawn(move || {
        step_back();
        runtime.block_on(all);
    }))
}

/// Attackers have machines of their own: the neighbour's client does not wait for the processors of theirs. Nobody is
/// forbidden to be worth less.
fn step_back() {
    let _ = setpriority_process(Some(gettid()), NICENESS);
}

/// Whether there was an answer, and it was a good one.
async fn once(to: SocketAddr, number: u64, path: Option<&str>) -> bool {
    let Some(path) = path else {
        return unread(to, number).await;
    };
    let Ok(stream) = dial(Some(attacker(number)), to).await else {
        return false;
    };
    let reply = Client::new(stream).get_of(HOST, path).await;
    reply.is_ok_and(|reply| reply.status == 200)
}

/// Holds its connection until the server has closed it, or patience is over.
async fn unread(to: SocketAddr, number: u64) -> bool {
    let Ok(mut stream) = dial_narrow(attacker(number), to).await else {
        return false;
    };
    if stream.write_all(MUCH.as_bytes()).await.is_err() {
        return false;
    }
    loop {
        sleep(PAUSE).await;
        if matches!(stream.take_error(), Ok(Some(_))) {
            return false;
        }
    }
}

/// Keeps a log that is flooded from filling the disk: what is in it is not measured.
fn empty(log: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(TURN);
            if let Ok(file) = OpenOptions::new().write(true).open(&log) {
                let _ = file.set_len(0);
            }
        }
    })
}

/// Replaces a component, again and again, by one that has to be compiled anew.
fn replace(file: PathBuf, stop: Arc<AtomicBool>) -> Result<JoinHandle<()>> {
    let wasm = fs::read(&file)?;
    Ok(thread::spawn(move || {
        let mut number = u64::from(std::process::id()) << 32;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let new = file.with_extension("new");
            if fs::write(&new, guests::renamed(&wasm, number)).is_ok() {
                let _ = fs::rename(&new, &file);
            }
            thread::sleep(TURN);
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fan_out_is_a_call_within_a_call() {
        assert_eq!(
            fan_out(),
            "/fetch?n=4&url=/fetch%3Fn%3D4%26url%3D/fetch%253Fn%253D4%2526url%253D/hello"
        );
    }
}
