//! The machine: who it says one is, chance, time, and the end.

use toolbox::{Query, json};
use wasip2::cli::environment;
use wasip2::clocks::monotonic_clock;
use wasip2::random::{insecure, random as secure};

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
            environment::initial_cwd().map_or("null".into(), |cwd| json::string(&cwd)),
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
pub fn times() -> String {
    let ready = [
        monotonic_clock::subscribe_instant(u64::MAX).ready(),
        monotonic_clock::subscribe_duration(u64::MAX).ready(),
        monotonic_clock::subscribe_instant(0).ready(),
    ];
    json::array(ready.map(|ready| ready.to_string()))
}

/// `/exit?ok=`: ends the program, well or not.
pub fn exit(query: &Query) -> ! {
    let status = if query.flag("ok") { Ok(()) } else { Err(()) };
    wasip2::cli::exit::exit(status);
    unreachable!("it does not return")
}
