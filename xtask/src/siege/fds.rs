//! More connections than file descriptors.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::siege::client::{attacker, dial};
use crate::siege::ground::{Ground, runtime};
use crate::siege::honest::once;
use crate::siege::report::{Finding, Measure};

const DESCRIPTORS: u64 = 80;
const CONNECTIONS: u64 = 300;

/// How long they are held: shorter than any time limit of a server, so that only the release frees it.
const HELD: Duration = Duration::from_secs(5);

/// How long an answer is waited for after the release.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an attacker says. The last of them gets an answer, and then keeps its connection.
const WORDS: &[&[u8]] = &[
    b"",
    b"GET /hello HTTP/1.1\r\n",
    b"GET /hello HTTP/1.1\r\nhost: siege.example\r\n\r\n",
];

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    let mut runner = ground.start_with_descriptors("fds", DESCRIPTORS)?;
    let runtime = runtime()?;
    let held = runtime.block_on(open(runner.address()));
    let (begun, cpu) = (Instant::now(), runner.cpu());
    std::thread::sleep(HELD);
    let cores = (runner.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let alive = runner.is_alive();
    let connected = held.len();
    drop(held);
    let answered = runtime.block_on(until_answered(runner.address()));
    let measures = vec![
        Measure::told("connected", connected as f64, "").at_least(DESCRIPTORS as f64),
        Measure::told("alive", f64::from(u8::from(alive)), "").exactly(1.0),
        Measure::told("cores used", cores, "").below(0.5),
        Measure::told("answers after", answered.as_secs_f64(), "s").at_most(2.0),
    ];
    Ok(vec![Finding::new("fds", measures)])
}

async fn open(to: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let dialled = timeout(Duration::from_millis(200), dial(Some(attacker(number)), to)).await;
        if let Ok(Ok(mut stream)) = dialled {
            let _ = stream.write_all(WORDS[number as usize % WORDS.len()]).await;
            held.push(stream);
        }
    }
    held
}

/// How long it takes until a new client is answered.
async fn until_answered(to: SocketAddr) -> Duration {
    let released = Instant::now();
    while released.elapsed() < PATIENCE {
        let answer = timeout(Duration::from_secs(1), once(to, None)).await;
        if matches!(answer, Ok(Ok(reply)) if reply.status == 200) {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    released.elapsed()
}
