//! As many requests that never end as there are cores on a small machine: two.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::attack::HOST;
use super::neighbour;
use super::servers::{Kind, Server, Stage};
use crate::siege::client::{Client, dial};
use crate::siege::ground::runtime;
use crate::siege::report::{Finding, Measure};

/// Its name on the command line.
pub(super) const NAME: &str = "two-loops";

/// At once.
const LOOPS: usize = 2;

/// One after the other.
const ROUNDS: usize = 3;

/// What a guest may compute, and what more it may take until its client knows, in milliseconds.
const AT_MOST: f64 = 1000.0 + 100.0;

/// How long the neighbour asks: longer than all rounds.
const LENGTH: Duration = Duration::from_secs(6);

/// How long is looked whether the server is at rest, and what it may compute meanwhile, in milliseconds.
const REST: Duration = Duration::from_secs(2);
const AT_REST: f64 = 20.0;

/// Two requests loop, three times, while the neighbour asks.
pub(super) fn run(stage: &Stage<'_>) -> Result<Finding> {
    let server = stage.start(Kind::Runner, NAME)?;
    let to = server.address();
    let watching = thread::spawn(move || neighbour::watch(to, LENGTH));
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        all.extend(round(to)?);
    }
    let seen = watching
        .join()
        .map_err(|_| anyhow!("the neighbour panicked"))??;
    let stopped = all.iter().filter(|(status, _)| *status == 504).count();
    let slowest = all.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let rest = at_rest(&server);
    let measures = vec![
        Measure::told("stopped with a 504", stopped as f64, "").exactly((LOOPS * ROUNDS) as f64),
        Measure::told("slowest", milliseconds(slowest), "ms").at_most(AT_MOST),
        Measure::told("neighbour's errors", seen.errors() as f64, "").exactly(0.0),
        Measure::told("its p99", seen.p99(), "ms"),
        Measure::told("computed in 2 s after that", milliseconds(rest), "ms").at_most(AT_REST),
    ];
    Ok(Finding::new(format!("{}: {NAME}", Kind::Runner), measures).noting(seen.notes()))
}

/// The status of each, and what it took.
fn round(to: SocketAddr) -> Result<Vec<(u16, Duration)>> {
    let runtime = runtime()?;
    let all: Vec<_> = (0..LOOPS).map(|_| runtime.spawn(ask(to))).collect();
    all.into_iter()
        .map(|asked| runtime.block_on(asked)?)
        .collect()
}

async fn ask(to: SocketAddr) -> Result<(u16, Duration)> {
    let began = Instant::now();
    let stream = dial(None, to).await?;
    let reply = Client::new(stream).get_of(HOST, "/loop").await;
    let reply = reply.map_err(|failure| anyhow!("{failure}"))?;
    Ok((reply.status, began.elapsed()))
}

/// What it computes while nobody asks.
fn at_rest(server: &Server) -> Duration {
    let Server::Runner(runner) = server else {
        return Duration::ZERO;
    };
    let before = runner.cpu();
    thread::sleep(REST);
    runner.cpu().saturating_sub(before)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
