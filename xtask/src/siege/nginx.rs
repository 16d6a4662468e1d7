//! nginx in front: each request that it lets through must be the request that a guest gets, one for one.
//!
//! The battery goes through each of nginx's ways of proxying, on one kept connection to the server. nginx logs what it
//! took a request for, and what the guest said that it got; the server logs what it answered. After each case an
//! ordinary request follows, whose answer must be its own.

mod battery;
mod battery2;
mod compare;
mod proxy;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::siege::client::{attacker, dial};
use crate::siege::ground::{Ground, has, runtime};
use crate::siege::report::Finding;
use crate::siege::runner::Runner;

use compare::{Round, Tally};
use proxy::{Nginx, WAYS, Way};

/// After this nginx has said all that it will.
const PATIENCE: Duration = Duration::from_secs(5);

/// Within this the server has told of a request that a guest has seen.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// Whom all cases ask, unless they are about that.
const HOST: &str = "siege.example";

/// The bytes of one case.
pub(crate) struct Case {
    name: String,
    bytes: Vec<u8>,
}

/// What clients speak to nginx.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    if !has("nginx") {
        return Ok(vec![Finding::left_out("nginx", "`nginx` is not installed")]);
    }
    let runner = ground.start("nginx", &[])?;
    let nginx = Nginx::start(&ground.logs().join("nginx"), runner.address())?;
    let runtime = runtime()?;
    let mut tally = Tally::default();
    let mut findings = Vec::new();
    for way in WAYS {
        let battle = Battle {
            way,
            nginx: &nginx,
            runner: &runner,
        };
        runtime.block_on(battle.fight(&mut tally))?;
        let file = format!("{}.differences", way.name.replace([' ', ','], "-"));
        fs::write(ground.logs().join(file), tally.differences.join("\n"))?;
        findings.push(tally.finding(way));
    }
    Ok(findings)
}

/// One way, and both sides of it.
struct Battle<'a> {
    way: &'a Way,
    nginx: &'a Nginx,
    runner: &'a Runner,
}

/// How much of both logs has been read.
#[derive(Default)]
struct Read {
    nginx: usize,
    runner: usize,
}

impl Battle<'_> {
    /// Sends all cases, each with an ordinary request behind it.
    async fn fight(&self, tally: &mut Tally) -> Result<()> {
        let cases = match self.way.clients {
            Protocol::Http1 => battery::cases(),
            Protocol::Http2 => battery2::cases(),
        };
        tally.begin(self.way);
        let mut read = Read::default();
        self.runner.next_lines("request", &mut read.runner);
        for (number, case) in cases.iter().enumerate() {
            let round = self.round(&case.bytes, &mut read).await?;
            tally.case(&case.name, &round);
            let follower = follower(number, self.way.clients);
            let round = self.round(&follower, &mut read).await?;
            tally.follower(&case.name, &round);
        }
        Ok(())
    }

    /// Sends these bytes, and waits until both sides have told of what they were.
    async fn round(&self, bytes: &[u8], read: &mut Read) -> Result<Round> {
        exchange(self.nginx.address(self.way), bytes).await?;
        let mut proxied = self.nginx.log(self.way)?;
        let proxied = proxied.split_off(read.nginx.min(proxied.len()));
        read.nginx += proxied.len();
        let mut round = Round {
            proxied,
            served: Vec::new(),
        };
        let begun = Instant::now();
        while round.served.len() < round.forwarded() && begun.elapsed() < TOLD_WITHIN {
            sleep(Duration::from_millis(2)).await;
            let lines = self.runner.next_lines("request", &mut read.runner);
            let of_guests = lines
                .into_iter()
                .filter(|line| !line["component"].is_null());
            round.served.extend(of_guests);
        }
        Ok(round)
    }
}

/// The target of a case's request: the guest says what it got, in its answer's head.
pub(crate) fn target(number: usize, part: &str) -> String {
    format!("/echo?case={number}&part={part}&header=spin-full-url")
}

/// An ordinary request; what a case has left behind would be its answer, or its beginning.
fn follower(number: usize, clients: Protocol) -> Vec<u8> {
    let target = target(number, "after");
    match clients {
        Protocol::Http1 => {
            format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").into()
        }
        Protocol::Http2 => battery2::ordinary(&target),
    }
}

/// Sends, and reads until nginx closes, which it does when a connection is idle for a moment.
async fn exchange(to: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = dial(Some(attacker(0)), to).await?;
    // It may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    Ok(())
}
