//! Handles without end.

use std::mem::forget;

use toolbox::{Query, json};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{Fields, OutgoingRequest, RequestOptions};
use wasip2::io::poll::{Pollable, poll as poll_all};

/// `/leak?what=fields|pollables|requests|options&n=`: takes so many and lets none go.
pub fn leak(query: &Query) -> String {
    let count: u64 = query.number("n", 1_000_000);
    for _ in 0..count {
        match query.text("what") {
            Some("pollables") => forget(subscribe_duration(0)),
            Some("requests") => forget(OutgoingRequest::new(Fields::new())),
            Some("options") => forget(RequestOptions::new()),
            _ => forget(Fields::new()),
        }
    }
    json::object([("got", count.to_string())])
}

/// `/poll?what=none|many|dropped&n=`: waits for nothing, for one `n` times at once, or for one that is gone.
pub fn poll(query: &Query) -> String {
    let ready = match query.text("what") {
        Some("many") => {
            let one = subscribe_duration(0);
            poll_all(&vec![&one; query.number("n", 100_000)]).len()
        }
        Some("dropped") => {
            let one = subscribe_duration(0);
            let handle = one.handle();
            drop(one);
            // SAFETY: there is none: the host has to see that this handle is gone.
            let gone = unsafe { Pollable::from_handle(handle) };
            poll_all(&[&gone]).len()
        }
        _ => poll_all(&[]).len(),
    };
    json::object([("ready", ready.to_string())])
}
