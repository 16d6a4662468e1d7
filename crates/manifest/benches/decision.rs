//! What a decision costs among 1, 100 and 10,000 rules: `cargo bench -p runner-manifest`.
//!
//! A decision is all that happens by name: what the guest gave is parsed, and the list is asked. The sizes take turns in
//! every round, so that a noisy machine is noisy for all of them; the medians are compared.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::Method;
use runner_manifest::{AllowList, Call, Destination};

const SIZES: [usize; 3] = [1, 100, 10_000];
const ROUNDS: usize = 401;
const CALLS: u32 = 2_000;

/// A kind of rule, and a destination that the last one of a list is for, or none.
struct Kind {
    name: &'static str,
    rule: fn(usize) -> String,
    authority: fn(usize) -> String,
    allowed: bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "a name",
        rule: |n| format!("https://host{n:05}.example.com"),
        authority: |last| format!("host{last:05}.example.com"),
        allowed: true,
    },
    Kind {
        name: "below a name",
        rule: |n| format!("https://*.zone{n:05}.example.com"),
        authority: |last| format!("a.b.zone{last:05}.example.com"),
        allowed: true,
    },
    Kind {
        name: "an address",
        // Three digits each: a longer text takes longer to parse.
        rule: |n| format!("https://10.{}.{}.0/24", 100 + n / 100, 100 + n % 100),
        authority: |last| format!("10.{}.{}.7", 100 + last / 100, 100 + last % 100),
        allowed: true,
    },
    Kind {
        name: "denied",
        rule: |n| format!("https://host{n:05}.example.com"),
        authority: |_| "other.example.com".into(),
        allowed: false,
    },
];

fn main() {
    for kind in &KINDS {
        let lists = SIZES.map(|size| list(kind, size));
        let mut times = SIZES.map(|_| Vec::with_capacity(ROUNDS));
        for round in 0..ROUNDS {
            for turn in 0..SIZES.len() {
                let at = (round + turn) % SIZES.len();
                times[at].push(time(&lists[at].0, &lists[at].1, kind.allowed));
            }
        }
        let medians = times.map(|mut times| {
            times.sort();
            times[ROUNDS / 2].as_secs_f64() * 1e9 / f64::from(CALLS)
        });
        for (size, median) in SIZES.iter().zip(medians) {
            let ratio = median / medians[0];
            println!(
                "{:<14} among {size:>6} rules  {median:>7.1} ns  {ratio:.3} of one",
                kind.name
            );
        }
    }
}

fn list(kind: &Kind, size: usize) -> (AllowList, String) {
    let rules: Vec<_> = (0..size).map(kind.rule).collect();
    let list = AllowList::parse(rules.iter().map(String::as_str)).expect("rules");
    (list, (kind.authority)(size - 1))
}

fn time(list: &AllowList, authority: &str, allowed: bool) -> Duration {
    let started = Instant::now();
    for _ in 0..CALLS {
        let to = Destination::from_guest(black_box("https"), black_box(authority)).expect("one");
        let call = Call::new(&to, &Method::GET, "/v1/items");
        assert_eq!(black_box(list.covering(&call)).is_some(), allowed);
    }
    started.elapsed()
}
