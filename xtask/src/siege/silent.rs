//! Connections that say nothing, or less than it takes to know what they speak.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::siege::client::{attacker, dial};
use crate::siege::ground::{Ground, runtime};
use crate::siege::honest::Honest;
use crate::siege::report::{Finding, Measure};
use crate::siege::tls;

/// Within this a server has closed a connection that says nothing.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// How long a connection is watched, so that one that is late is known from one that is kept.
const WATCHED: Duration = Duration::from_secs(18);

/// How many attackers connect at once: as many as wait in the server's queue, and more do not make it faster.
const AT_ONCE: usize = 128;

/// What an attacker of a server in clear text says.
const WORDS: &[&[u8]] = &[b"", b"P", b"PRI * HTTP/2.0\r\n"];

/// What an attacker of TLS says: nothing, or the first byte of a handshake.
const TLS_WORDS: &[&[u8]] = &[b"", b"\x16"];

/// What became of all attackers.
#[derive(Default)]
struct Crowd {
    /// How long each was let be, of those that were closed.
    closed: Vec<Duration>,
    kept: usize,
    failed: usize,
    opened_in: Duration,
}

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    Ok(vec![clear(ground)?, with_tls(ground)?])
}

fn clear(ground: &Ground) -> Result<Finding> {
    let runner = ground.start("silent", &[])?;
    let count = ground.connections(ground.pick(10_000, 2_000));
    let honest = Honest::start(runner.address(), None)?;
    let crowd = runtime()?.block_on(besiege(runner.address(), count, WORDS));
    Ok(tell("silent", count, &crowd, honest))
}

fn with_tls(ground: &Ground) -> Result<Finding> {
    let files = tls::make(ground.logs())?;
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let runner = ground.start(
        "silent-tls",
        &[
            "--tls-cert",
            &certificate.to_string(),
            "--tls-key",
            &key.to_string(),
        ],
    )?;
    let count = ground.connections(ground.pick(1_000, 200));
    let honest = Honest::start(runner.address(), Some(files.client.clone()))?;
    let crowd = runtime()?.block_on(besiege(runner.address(), count, TLS_WORDS));
    Ok(tell("silent, TLS", count, &crowd, honest))
}

fn tell(name: &str, count: u64, crowd: &Crowd, honest: Honest) -> Finding {
    let honest = honest.finish();
    let slowest = crowd.closed.iter().max().copied().unwrap_or_default();
    let in_time = crowd
        .closed
        .iter()
        .filter(|&&took| took <= CLOSED_WITHIN)
        .count();
    let mut measures = vec![
        Measure::told("closed within 15 s", in_time as f64, "").exactly(count as f64),
        Measure::told("slowest", slowest.as_secs_f64(), "s"),
        Measure::told("kept", crowd.kept as f64, "").exactly(0.0),
        Measure::told("not connected", crowd.failed as f64, "").exactly(0.0),
        Measure::told("opened in", crowd.opened_in.as_secs_f64(), "s"),
    ];
    measures.extend(honest.measures());
    Finding::new(name, measures).noting(honest.notes())
}

async fn besiege(to: SocketAddr, count: u64, words: &'static [&'static [u8]]) -> Crowd {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let begun = Instant::now();
    let mut attackers = JoinSet::new();
    for number in 0..count {
        let word = words[number as usize % words.len()];
        let gate = gate.clone();
        attackers.spawn(async move {
            let entered = gate.acquire().await;
            let Ok(mut stream) = dial(Some(attacker(number)), to).await else {
                return None;
            };
            let connected = Instant::now();
            let _ = stream.write_all(word).await;
            drop(entered);
            let closed = timeout(WATCHED, async {
                // A 408 before the end is as good; a reset is an end.
                let mut scrap = [0; 512];
                while stream.read(&mut scrap).await.is_ok_and(|count| count > 0) {}
            });
            Some((connected, closed.await.map(|()| connected.elapsed()).ok()))
        });
    }
    let mut crowd = Crowd::default();
    while let Some(attacker) = attackers.join_next().await {
        match attacker.ok().flatten() {
            None => crowd.failed += 1,
            Some((connected, closed)) => {
                crowd.opened_in = crowd.opened_in.max(connected - begun);
                match closed {
                    Some(took) => crowd.closed.push(took),
                    None => crowd.kept += 1,
                }
            }
        }
    }
    crowd
}
