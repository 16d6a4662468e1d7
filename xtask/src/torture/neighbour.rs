//! Tenant `b`'s clients: so many requests a second, whether those before were answered or not.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rustix::param::clock_ticks_per_second;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::siege::client::{Client, Failure, Reply, dial};
use crate::siege::ground::runtime;
use crate::siege::honest::quantile;

/// Requests in a second.
pub(super) const RATE: u32 = 100;

/// After this a request has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that wait for their next request.
type Kept = Arc<Mutex<Vec<Client<TcpStream>>>>;

/// What all of them saw.
pub(super) struct Seen {
    samples: Vec<Sample>,
    /// What the machine below this one gave to others meanwhile, of all processors: see `steal` in proc(5).
    stolen: Duration,
}

/// One request.
struct Sample {
    /// When it should have begun, from the first one on.
    at: Duration,
    /// From when it should have begun.
    took: Duration,
    failure: Option<String>,
}

/// Asks at [`RATE`] for so long, on a thread of its own.
pub(super) fn watch(to: SocketAddr, length: Duration) -> Result<Seen> {
    let runtime = runtime()?;
    let before = stolen();
    let thread = thread::spawn(move || runtime.block_on(ask_all(to, length)));
    let samples = thread.join().map_err(|_| anyhow!("the clients panicked"))?;
    Ok(Seen {
        samples,
        stolen: stolen().saturating_sub(before),
    })
}

fn stolen() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default();
    let ticks = all.split_whitespace().nth(8);
    let ticks = ticks.and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_secs_f64(ticks.unwrap_or(0) as f64 / clock_ticks_per_second() as f64)
}

async fn ask_all(to: SocketAddr, length: Duration) -> Vec<Sample> {
    let kept = Kept::default();
    let begun = Instant::now();
    let mut requests = JoinSet::new();
    let mut due = begun;
    while due < begun + length {
        sleep_until(due).await;
        requests.spawn(ask(to, due, due - begun, kept.clone()));
        due += Duration::from_secs(1) / RATE;
    }
    requests.join_all().await
}

async fn ask(to: SocketAddr, due: Instant, at: Duration, kept: Kept) -> Sample {
    let failure = match timeout_at(due + PATIENCE, once(to, &kept)).await {
        Ok(Ok(reply)) if reply.status == 200 => None,
        Ok(Ok(reply)) => Some(format!("status {}", reply.status)),
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
    };
    let took = due.elapsed();
    Sample { at, took, failure }
}

/// On a kept connection, if there is one; when that has been closed meanwhile, on a new one as any client would.
async fn once(to: SocketAddr, kept: &Kept) -> Result<Reply, Failure> {
    let idle = kept.lock().ok().and_then(|mut kept| kept.pop());
    if let Some(client) = idle {
        match once_on(client, kept).await {
            Err(Failure::NoAnswer | Failure::Reset(_)) => {}
            other => return other,
        }
    }
    let stream = dial(None, to).await.map_err(Failure::Reset)?;
    once_on(Client::new(stream), kept).await
}

async fn once_on(mut client: Client<TcpStream>, kept: &Kept) -> Result<Reply, Failure> {
    let reply = client.get("/hello").await?;
    if let (true, Ok(mut kept)) = (reply.keeps(), kept.lock()) {
        kept.push(client);
    }
    Ok(reply)
}

impl Seen {
    pub(super) fn requests(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn errors(&self) -> usize {
        self.failures().count()
    }

    /// In milliseconds.
    pub(super) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    /// In milliseconds.
    pub(super) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// What went wrong, each kind once.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for failure in self.failures() {
            *kinds.entry(failure).or_default() += 1;
        }
        let kinds = kinds.into_iter();
        let slowest = self.samples.iter().max_by_key(|sample| sample.took);
        let slowest = slowest.map(|slowest| {
            let (took, at) = (slowest.took.as_millis(), slowest.at.as_secs_f64());
            format!("the slowest took {took} ms, after {at:.1} s")
        });
        kinds
            .map(|(failure, count)| format!("{count} times: {failure}"))
            .chain(slowest)
            .collect()
    }

    /// In milliseconds.
    pub(super) fn stolen(&self) -> f64 {
        self.stolen.as_secs_f64() * 1000.0
    }

    fn quantile(&self, share: f64) -> f64 {
        let took = self.samples.iter().map(|sample| sample.took).collect();
        quantile(took, share).as_secs_f64() * 1000.0
    }

    fn failures(&self) -> impl Iterator<Item = &str> {
        let failures = self.samples.iter();
        failures.filter_map(|sample| sample.failure.as_deref())
    }
}
