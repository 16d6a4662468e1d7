//! A restart that hands the listening sockets over: nobody is refused, and what was read is answered.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::siege::client::{Client, Failure, Reply, attacker, dial};
use crate::siege::ground::{Ground, runtime};
use crate::siege::report::{Finding, Measure};
use crate::siege::runner::Runner;

/// Between two requests: 500 a second.
const PAUSE: Duration = Duration::from_millis(2);

/// Before and after the restart.
const AROUND: Duration = Duration::from_secs(3);

/// What the first server has for its requests in progress, and some more.
const DRAINED_WITHIN: Duration = Duration::from_secs(35);

/// After this a request was not answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a reset may take to follow an end.
const RESET_FOLLOWS: Duration = Duration::from_millis(50);

/// The probe's answer to a path that it does not know. Each request has one of its own, by which the log tells it.
const EXPECTED: u16 = 404;

type Kept = Arc<Mutex<VecDeque<Client<TcpStream>>>>;

/// What became of one request.
enum Outcome {
    Answered,
    /// The connect itself failed.
    NoConnection(String),
    /// A connection that was kept was closed before this was read: any client tries again, and that was answered.
    TriedAgain(String),
    Failed(String),
}

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    if !ground.output(&["up", "--help"])?.contains("--take-over") {
        let known = Measure::told("`--take-over` is known", 0.0, "").exactly(1.0);
        return Ok(vec![Finding::new("handover", vec![known])]);
    }
    let mut first = ground.start("handover-first", &[])?;
    let listen = first.address();
    let length = Arc::<Mutex<Option<Instant>>>::default();
    let of_thread = length.clone();
    let load = thread::spawn(move || -> Result<Vec<Outcome>> {
        Ok(runtime()?.block_on(ask(listen, &of_thread)))
    });
    thread::sleep(AROUND);
    let begun = Instant::now();
    let second = ground.start_on("handover-second", &listen.to_string(), &["--take-over"]);
    while second.is_ok() && first.is_alive() && begun.elapsed() < DRAINED_WITHIN {
        thread::sleep(Duration::from_millis(20));
    }
    let (ended, drained) = (!first.is_alive(), begun.elapsed());
    if let Ok(mut end) = length.lock() {
        *end = Some(Instant::now() + AROUND);
    }
    let outcomes = load.join().ok().context("the clients panicked")??;
    let mut second = second?;
    let by_second = second.lines("request").len();
    first.stop();
    second.stop();
    Ok(vec![tell(
        &outcomes,
        &read_by(&[&first, &second]),
        [
            f64::from(u8::from(ended)),
            drained.as_secs_f64(),
            by_second as f64,
        ],
    )])
}

fn tell(outcomes: &[Outcome], read: &BTreeSet<String>, server: [f64; 3]) -> Finding {
    let count = |is_it: fn(&Outcome) -> bool| outcomes.iter().filter(|o| is_it(o)).count() as f64;
    let read_and_tried_again = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::TriedAgain(path) if read.contains(path)))
        .count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let [ended, drained, by_second] = server;
    let measures = vec![
        Measure::told("requests", outcomes.len() as f64, "").at_least(1.0),
        Measure::told(
            "answered",
            count(|outcome| matches!(outcome, Outcome::Answered)),
            "",
        ),
        Measure::told(
            "connects refused or reset",
            count(|outcome| matches!(outcome, Outcome::NoConnection(_))),
            "",
        )
        .exactly(0.0),
        Measure::told("read and failed", failed + read_and_tried_again as f64, "").exactly(0.0),
        Measure::told(
            "unread on a kept connection",
            count(|outcome| matches!(outcome, Outcome::TriedAgain(_))),
            "",
        ),
        Measure::told("the first has ended", ended, "").exactly(1.0),
        Measure::told("after", drained, "s"),
        Measure::told("answered by the second", by_second, "").at_least(1.0),
    ];
    let notes = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::NoConnection(why) | Outcome::Failed(why) => Some(why.clone()),
        Outcome::Answered | Outcome::TriedAgain(_) => None,
    });
    Finding::new("handover", measures).noting(notes)
}

/// Every path that a server has told of.
fn read_by(servers: &[&Runner]) -> BTreeSet<String> {
    let lines = servers.iter().flat_map(|server| server.lines("request"));
    lines
        .filter_map(|line| Some(line["path"].as_str()?.to_owned()))
        .collect()
}

/// Asks until it is told when to end: each second request on a connection of its own, the others on kept ones.
async fn ask(to: SocketAddr, end: &Mutex<Option<Instant>>) -> Vec<Outcome> {
    let kept = Kept::default();
    let mut requests = JoinSet::new();
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let is_over = || match end.lock() {
        Ok(end) => end.is_some_and(|end| Instant::now() > end),
        Err(_) => true,
    };
    let mut number = 0;
    while !is_over() {
        ticks.tick().await;
        number += 1;
        requests.spawn(one(to, number, kept.clone()));
    }
    requests.join_all().await
}

async fn one(to: SocketAddr, number: u64, kept: Kept) -> Outcome {
    let path = format!("/request/{number}");
    match timeout(PATIENCE, attempt(to, number, &path, &kept)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failed(format!("{path}: no answer within {PATIENCE:?}")),
    }
}

async fn attempt(to: SocketAddr, number: u64, path: &str, kept: &Kept) -> Outcome {
    let keeps = number.is_multiple_of(2);
    // The one that has waited longest, so that each of some is used now and then.
    let idle = kept
        .lock()
        .ok()
        .filter(|kept| keeps && kept.len() >= 20)
        .and_then(|mut kept| kept.pop_front());
    let Some(client) = idle else {
        return fresh(to, number, path, keeps.then_some(kept)).await;
    };
    match on(client, path, Some(kept)).await {
        Ok(()) => Outcome::Answered,
        Err(Tried::Unread) => {
            let again = format!("{path}/again");
            match fresh(to, number, &again, Some(kept)).await {
                Outcome::Answered => Outcome::TriedAgain(path.to_owned()),
                other => other,
            }
        }
        Err(Tried::Read(why)) => Outcome::Failed(format!("{path}, kept: {why}")),
    }
}

async fn fresh(to: SocketAddr, number: u64, path: &str, kept: Option<&Kept>) -> Outcome {
    let stream = match dial(Some(attacker(number)), to).await {
        Ok(stream) => stream,
        Err(error) => return Outcome::NoConnection(format!("{path}: {error}")),
    };
    match on(Client::new(stream), path, kept).await {
        Ok(()) => Outcome::Answered,
        // Accepted by the kernel and by nobody else.
        Err(Tried::Unread) => Outcome::NoConnection(format!("{path}: reset before it was read")),
        Err(Tried::Read(why)) => Outcome::Failed(format!("{path}, new: {why}")),
    }
}

/// How a request went wrong.
enum Tried {
    /// The server's kernel had bytes that nobody took, which is what a reset says.
    Unread,
    Read(String),
}

async fn on(mut client: Client<TcpStream>, path: &str, kept: Option<&Kept>) -> Result<(), Tried> {
    match client.get(path).await {
        Ok(reply) if reply.status == EXPECTED => {
            keep(client, &reply, kept);
            Ok(())
        }
        Ok(reply) => Err(Tried::Read(format!("status {}", reply.status))),
        Err(Failure::Reset(_)) => Err(Tried::Unread),
        Err(Failure::NoAnswer) => {
            sleep(RESET_FOLLOWS).await;
            match client.stream().take_error() {
                Ok(None) => Err(Tried::Read("closed without an answer".to_owned())),
                _ => Err(Tried::Unread),
            }
        }
        Err(failure) => Err(Tried::Read(failure.to_string())),
    }
}

fn keep(client: Client<TcpStream>, reply: &Reply, kept: Option<&Kept>) {
    if let (true, Some(Ok(mut kept))) = (reply.keeps(), kept.map(|kept| kept.lock())) {
        kept.push_back(client);
    }
}
