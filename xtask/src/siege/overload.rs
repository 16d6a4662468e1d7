//! More requests than can be answered: what can be is, and the rest is told so at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::siege::client::{Client, Failure, Reply, attacker, dial};
use crate::siege::ground::{Ground, runtime};
use crate::siege::honest::{once, quantile};
use crate::siege::report::{Finding, Measure};

/// A guest that computes for some milliseconds, so that the load costs the server much more than those who make it.
const WORK: &str = "/resources?n=5000";

/// Connections of the closed loop: more than there are cores, fewer than wait for anything else.
const CLOSED_LOOP: u64 = 32;

/// How much more than the maximum arrives.
const TIMES: f64 = 3.0;

/// After this a request was not answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the server is watched after the load.
const AFTER: Duration = Duration::from_secs(10);

/// An answer that is slower is not normal.
const NORMAL: Duration = Duration::from_millis(50);

/// Connections that wait for their next request.
type Kept = Arc<Mutex<Vec<Client<TcpStream>>>>;

/// What became of one arrival.
struct Arrival {
    begun: Instant,
    ended: Instant,
    outcome: Outcome,
}

enum Outcome {
    Answered,
    /// A 503 that says when to come again.
    Refused,
    Failed(String),
}

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    let runner = ground.start("overload", &[])?;
    let runtime = runtime()?;
    let to = runner.address();
    let most = runtime.block_on(closed_loop(to, ground.pick(10, 4)))?;
    let window = Duration::from_secs(ground.pick(60, 8));
    let rate = most * TIMES;
    let memory = runner.memory();
    let (begun, arrivals, after) = runtime.block_on(open_loop(to, rate, window));
    let grown = runner.peak() - memory;
    let in_window = arrivals.iter().filter(|arrival| {
        matches!(arrival.outcome, Outcome::Answered) && arrival.ended <= begun + window
    });
    let goodput = in_window.count() as f64 / window.as_secs_f64();
    let answered = took(&arrivals, |outcome| matches!(outcome, Outcome::Answered));
    let refused = took(&arrivals, |outcome| matches!(outcome, Outcome::Refused));
    let failures = failures(&arrivals);
    let arrived = arrivals.len() as f64 / window.as_secs_f64();
    let milliseconds =
        |times: &Vec<Duration>, share| quantile(times.clone(), share).as_secs_f64() * 1000.0;
    let measures = vec![
        Measure::told("maximum", most, "/s"),
        Measure::told("arrived", arrived, "/s").at_least(rate * 0.9),
        Measure::told("goodput", 100.0 * goodput / most, "% of it").at_least(80.0),
        Measure::told("answered in p50", milliseconds(&answered, 0.5), "ms"),
        Measure::told("in p99", milliseconds(&answered, 0.99), "ms"),
        Measure::told("refused with 503", refused.len() as f64, ""),
        Measure::told("slowest refusal", milliseconds(&refused, 1.0), "ms").below(1000.0),
        Measure::told("neither", failures.values().sum::<usize>() as f64, "").exactly(0.0),
        Measure::told("memory grew by", grown, "MiB"),
        Measure::told("normal after", after.as_secs_f64(), "s").at_most(5.0),
    ];
    let notes = failures
        .iter()
        .map(|(kind, count)| format!("{count} times: {kind}"));
    Ok(vec![Finding::new("overload", measures).noting(notes)])
}

/// The most that is answered in a second.
async fn closed_loop(to: SocketAddr, seconds: u64) -> Result<f64> {
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let mut clients = JoinSet::new();
    for number in 0..CLOSED_LOOP {
        clients.spawn(async move {
            let mut answered = 0;
            let Ok(stream) = dial(Some(attacker(number)), to).await else {
                return answered;
            };
            let mut client = Client::new(stream);
            while begun.elapsed() < length {
                match client.get(WORK).await {
                    Ok(reply) if reply.status == 200 => answered += 1,
                    _ => break,
                }
            }
            answered
        });
    }
    let answered: u64 = clients.join_all().await.into_iter().sum();
    if answered == 0 {
        bail!("`{WORK}` was never answered");
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}

/// Requests that arrive whether those before them were answered or not; when they began, what became of them, and how
/// long after the last of them the server was normal again.
async fn open_loop(
    to: SocketAddr,
    rate: f64,
    window: Duration,
) -> (Instant, Vec<Arrival>, Duration) {
    let kept = Kept::default();
    let mut arrivals = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < window {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        for number in count..due {
            arrivals.spawn(arrive(to, number, kept.clone()));
        }
        count = due;
    }
    let (arrivals, after) = tokio::join!(arrivals.join_all(), until_normal(to, Instant::now()));
    (begun, arrivals, after)
}

async fn arrive(to: SocketAddr, number: u64, kept: Kept) -> Arrival {
    let begun = Instant::now();
    let outcome = match timeout(PATIENCE, ask(to, number, &kept)).await {
        Ok(Ok(reply)) if reply.status == 200 => Outcome::Answered,
        Ok(Ok(reply)) if reply.status == 503 && reply.header("retry-after").is_some() => {
            Outcome::Refused
        }
        Ok(Ok(reply)) => Outcome::Failed(format!("status {}", reply.status)),
        Ok(Err(failure)) => Outcome::Failed(failure.to_string()),
        Err(_) => Outcome::Failed(format!("no answer within {PATIENCE:?}")),
    };
    Arrival {
        begun,
        ended: Instant::now(),
        outcome,
    }
}

/// On a kept connection, if there is one; when that has been closed meanwhile, on a new one as any client would.
async fn ask(to: SocketAddr, number: u64, kept: &Kept) -> Result<Reply, Failure> {
    let idle = kept.lock().ok().and_then(|mut kept| kept.pop());
    if let Some(client) = idle {
        match ask_on(client, kept).await {
            Err(Failure::NoAnswer | Failure::Reset(_)) => {}
            other => return other,
        }
    }
    let stream = dial(Some(attacker(number)), to).await;
    ask_on(Client::new(stream.map_err(Failure::Reset)?), kept).await
}

async fn ask_on(mut client: Client<TcpStream>, kept: &Kept) -> Result<Reply, Failure> {
    let reply = client.get(WORK).await?;
    if let (true, Ok(mut kept)) = (reply.keeps(), kept.lock()) {
        kept.push(client);
    }
    Ok(reply)
}

/// How long after `end` the last answer came that was late or none.
async fn until_normal(to: SocketAddr, end: Instant) -> Duration {
    let mut abnormal = Duration::ZERO;
    while end.elapsed() < AFTER {
        let begun = Instant::now();
        let answer = timeout(PATIENCE, once(to, None)).await;
        let good = matches!(answer, Ok(Ok(reply)) if reply.status == 200);
        if !good || begun.elapsed() > NORMAL {
            abnormal = end.elapsed();
        }
        sleep(Duration::from_millis(20)).await;
    }
    abnormal
}

fn took(arrivals: &[Arrival], is_it: impl Fn(&Outcome) -> bool) -> Vec<Duration> {
    let those = arrivals.iter().filter(|arrival| is_it(&arrival.outcome));
    those.map(|arrival| arrival.ended - arrival.begun).collect()
}

fn failures(arrivals: &[Arrival]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for arrival in arrivals {
        if let Outcome::Failed(kind) = &arrival.outcome {
            *kinds.entry(kind.as_str()).or_default() += 1;
        }
    }
    kinds
}
