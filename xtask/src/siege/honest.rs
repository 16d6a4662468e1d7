//! The honest client: while a server is attacked, it connects anew for each request, on a thread of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::siege::client::{Client, Failure, Reply, dial};
use crate::siege::ground::runtime;
use crate::siege::report::Measure;
use crate::siege::tls;

/// After this a request has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// What the promises say of it: its slowest hundredth takes less.
const P99: f64 = 50.0;

/// At work until it is told to finish.
pub(crate) struct Honest {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
    attack: Instant,
}

/// One request.
struct Sample {
    begun: Instant,
    took: Duration,
    failure: Option<String>,
}

/// What it saw.
pub(crate) struct Account {
    before: Vec<Sample>,
    during: Vec<Sample>,
}

impl Honest {
    /// Begins; the attack should begin when this returns: the client has been alone for a while then.
    pub(crate) fn start(address: SocketAddr, tls: Option<TlsConnector>) -> Result<Honest> {
        let stop = Arc::<AtomicBool>::default();
        let of_thread = stop.clone();
        let runtime = runtime()?;
        let thread = thread::spawn(move || {
            runtime.block_on(async { ask(address, tls.as_ref(), &of_thread).await })
        });
        thread::sleep(Duration::from_secs(2));
        Ok(Honest {
            stop,
            thread,
            attack: Instant::now(),
        })
    }

    /// Ends, and tells what it saw.
    pub(crate) fn finish(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.join().unwrap_or_default();
        let (before, during) = samples
            .into_iter()
            .partition(|sample| sample.begun < self.attack);
        Account { before, during }
    }
}

async fn ask(address: SocketAddr, tls: Option<&TlsConnector>, stop: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let failure = match timeout(PATIENCE, once(address, tls)).await {
            Ok(Ok(reply)) if reply.status == 200 => None,
            Ok(Ok(reply)) => Some(format!("status {}", reply.status)),
            Ok(Err(failure)) => Some(failure.to_string()),
            Err(_) => Some(format!("no answer within {PATIENCE:?}")),
        };
        samples.push(Sample {
            begun,
            took: begun.elapsed(),
            failure,
        });
        sleep(PAUSE).await;
    }
    samples
}

/// One request on a connection of its own.
pub(crate) async fn once(
    address: SocketAddr,
    tls: Option<&TlsConnector>,
) -> Result<Reply, Failure> {
    let stream = dial(None, address).await.map_err(Failure::Reset)?;
    match tls {
        None => Client::new(stream).get("/hello").await,
        Some(tls) => {
            let stream = tls.connect(tls::name(), stream).await;
            Client::new(stream.map_err(Failure::Reset)?)
                .get("/hello")
                .await
        }
    }
}

impl Account {
    /// What is promised of an honest client: every request answered, 99 of 100 in less than 50 ms.
    pub(crate) fn measures(&self) -> Vec<Measure> {
        let answered = self.during.len() - self.failed().count();
        let share = 100.0 * answered as f64 / self.during.len().max(1) as f64;
        vec![
            Measure::told("honest requests", self.during.len() as f64, "").at_least(1.0),
            Measure::told("answered", share, "%").exactly(100.0),
            Measure::told("p99", percentile(&self.during, 0.99), "ms").below(P99),
            Measure::told("p50", percentile(&self.during, 0.5), "ms"),
            Measure::told("p99 before", percentile(&self.before, 0.99), "ms"),
        ]
    }

    /// What went wrong, each kind once.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for failure in self.failed() {
            *kinds.entry(failure).or_default() += 1;
        }
        kinds
            .into_iter()
            .map(|(failure, count)| format!("honest client, {count} times: {failure}"))
            .collect()
    }

    fn failed(&self) -> impl Iterator<Item = &str> {
        self.during
            .iter()
            .filter_map(|sample| sample.failure.as_deref())
    }
}

fn percentile(samples: &[Sample], share: f64) -> f64 {
    let took: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    quantile(took, share).as_secs_f64() * 1000.0
}

/// The least of `times` that `share` of them do not exceed.
pub(crate) fn quantile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    let rank = (times.len() as f64 * share).ceil() as usize;
    times
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let table = [(0.5, 100), (0.99, 198), (1.0, 200), (0.0, 1)];
        for (share, expected) in table {
            let found = quantile(times.clone(), share);
            assert_eq!(found, Duration::from_millis(expected), "{share}");
        }
        assert_eq!(quantile(Vec::new(), 0.5), Duration::ZERO);
    }
}
