//! Who asks during a soak: well, badly, and not to the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::siege::client::{Client, attacker, dial};
use crate::siege::ground::runtime;

/// What each client does in turn, and of which app it asks. A soak is long: no path takes a core for seconds.
const TURNS: &[(&str, &str)] = &[
    ("b.example", "/hello"),
    ("a.example", "/hello"),
    ("b.example", "/headers"),
    ("b.example", "/big?bytes=300000"),
    ("a.example", "/fetch?url=/hello&n=4"),
    ("a.example", "/fetch?url=http://denied.example/"),
    ("a.example", "/stdout?text=soaked&n=3"),
    ("a.example", "/trap"),
    ("a.example", "/trap-after-head"),
    ("a.example", "/no-response"),
    ("a.example", "/exit?code=3"),
    ("a.example", "/memory?bytes=3000000"),
    ("a.example", "/memory?bytes=300000000"),
    ("a.example", "/status?code=503"),
    ("a.example", "/none"),
    ("a.example", "/sleep?ms=30"),
    ("a.example", "/resources?n=20000"),
];

/// What is sent by who does not wait for an answer, or not for all of it.
const LEFT: &[&str] = &[
    "",
    "GET /hello HTT",
    "GET /hello HTTP/1.1\r\nhost: b.example\r\n",
    "GET /big?bytes=3000000 HTTP/1.1\r\nhost: b.example\r\n\r\n",
    "GET /sleep?ms=300 HTTP/1.1\r\nhost: a.example\r\n\r\n",
    "GET /sleep-after-head?ms=300 HTTP/1.1\r\nhost: a.example\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: a.example\r\ncontent-length: 100\r\n\r\nhalf",
    "BREW nonsense\r\n\r\n",
];

/// Of each kind: with a kept connection, with a new one, and without the patience for an answer.
const CLIENTS: u64 = 8;

/// Between two requests of a client: the machine is to be busy, not full.
const PAUSE: Duration = Duration::from_millis(20);

/// No answer takes longer; who waits longer asks anew.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long who leaves waits before that, at most.
const STAY: u64 = 50;

/// At work until it is told to end.
pub(super) struct Load {
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    pub(super) fn start(to: SocketAddr) -> Result<Load> {
        let (asked, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let runtime = runtime()?;
        let (of_asked, of_stop) = (asked.clone(), stop.clone());
        let thread = thread::spawn(move || runtime.block_on(all(to, of_asked, of_stop)));
        Ok(Load {
            asked,
            stop,
            thread,
        })
    }

    /// Ends, once each client has its answer, and says how many were asked for.
    pub(super) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.asked.load(Ordering::Relaxed)
    }
}

async fn all(to: SocketAddr, asked: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(kept(to, number, asked.clone(), stop.clone()));
        clients.spawn(new(to, number, asked.clone(), stop.clone()));
        clients.spawn(leaving(to, number, stop.clone()));
    }
    clients.join_all().await;
}

/// One request after the other, on a connection for as long as it is kept.
async fn kept(to: SocketAddr, number: u64, asked: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut turn = number as usize;
    while !stop.load(Ordering::Relaxed) {
        let Ok(stream) = dial(Some(attacker(number)), to).await else {
            sleep(PAUSE).await;
            continue;
        };
        let mut client = Client::new(stream);
        while !stop.load(Ordering::Relaxed) {
            turn += 1;
            sleep(PAUSE).await;
            let (host, path) = TURNS[turn % TURNS.len()];
            asked.fetch_add(1, Ordering::Relaxed);
            match timeout(PATIENCE, client.get_of(host, path)).await {
                Ok(Ok(reply)) if reply.keeps() => {}
                _ => break,
            }
        }
    }
}

/// A connection for each request.
async fn new(to: SocketAddr, number: u64, asked: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut turn = number as usize;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        sleep(PAUSE).await;
        let (host, path) = TURNS[turn % TURNS.len()];
        if let Ok(stream) = dial(Some(attacker(number)), to).await {
            asked.fetch_add(1, Ordering::Relaxed);
            let _ = timeout(PATIENCE, Client::new(stream).get_of(host, path)).await;
        }
    }
}

/// Sends something, stays a moment, reads a little, and is gone.
async fn leaving(to: SocketAddr, number: u64, stop: Arc<AtomicBool>) {
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        sleep(PAUSE).await;
        let Ok(mut stream) = dial(Some(attacker(number)), to).await else {
            continue;
        };
        let what = LEFT[turn as usize % LEFT.len()];
        let _ = stream.write_all(what.as_bytes()).await;
        let stay = Duration::from_millis((turn * 7) % STAY);
        let _ = timeout(stay, stream.read(&mut [0; 512])).await;
    }
}
