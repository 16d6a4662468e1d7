//! The machine: who it says one is, chance, time, and the end.

use std::task::{Context, Waker};

use toolbox::{Query, json};
use wasip3::cli::environment;
use wasip3::clocks::monotonic_clock::{wait_for, wait_until};
use wasip3::random::{insecure, random as secure};

pub fn about() -> String {
    let pairs = environment::get_environment().into_iter();
    let arguments = environment::get_arguments();
    json::object([
        (
            "environment",
            json::pairs(pairs.map(|(name, value)| (name, value.into_bytes()))),
        ),
        (
            "arguments",
            json::array(arguments.iter().map(|argument| json::string(argument))),
        ),
        (
            "cwd",
            environment::get_initial_cwd().map_or("null".into(), |cwd| json::string(&cwd)),
        ),
    ])
}

/// `/random?bytes=&n=&insecure=`: asks `n` times for so many.
pub fn random(query: &Query) -> String {
    let bytes: u64 = query.number("bytes", 16);
    let mut got = 0;
    for _ in 0..query.number("n", 1u64) {
        got += match query.flag("insecure") {
            true => insecure::get_insecure_random_bytes(bytes).len(),
            false => secure::get_random_bytes(bytes).len(),
        };
    }
    json::object([("got", got.to_string())])
}

/// Whether a time that never comes has come.
pub async fn times() -> String {
    let ready = [
        is_ready(wait_until(u64::MAX)),
        is_ready(wait_for(u64::MAX)),
        is_ready(wait_until(0)),
    ];
    json::array(ready.map(|ready| ready.to_string()))
}

fn is_ready(waiting: impl Future) -> bool {
    let mut waiting = Box::pin(waiting);
    let polled = waiting
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    polled.is_ready()
}

/// `/exit?ok=`: ends the program, well or not.
pub fn exit(query: &Query) -> ! {
    let status = if query.flag("ok") { Ok(()) } else { Err(()) };
    wasip3::cli::exit::exit(status);
    unreachable!("it does not return")
}
