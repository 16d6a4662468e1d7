//! Handles without end.

use std::mem::forget;

use toolbox::{Query, json};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions};
use wasip2::io::poll::{Pollable, poll as poll_all};
use wasip2::io::streams::OutputStream;

/// `/leak?what=fields|pollables|requests|options|fat|copies|methods|bodies&n=`: takes so many and lets none go.
pub fn leak(query: &Query) -> String {
    let count: u64 = query.number("n", 1_000_000);
    let original = fat();
    for _ in 0..count {
        match query.text("what") {
            Some("pollables") => forget(subscribe_duration(0)),
            Some("requests") => forget(OutgoingRequest::new(Fields::new())),
            Some("options") => forget(RequestOptions::new()),
            Some("fat") => forget(fat()),
            Some("copies") => {
                let copy = original.clone();
                let _ = copy.append("x-one", b"more");
                forget(copy);
            }
            Some("methods") => {
                let request = OutgoingRequest::new(Fields::new());
                let _ = request.set_method(&Method::Other("M".repeat(1_000_000)));
                forget(request);
            }
            Some("bodies") => forget(body()),
            _ => forget(Fields::new()),
        }
    }
    json::object([("got", count.to_string())])
}

/// Fields of 100 KB.
fn fat() -> Fields {
    let fields = Fields::new();
    let _ = fields.append("x-fat", &[b'x'; 100_000]);
    fields
}

/// A call that is not made yet, with as much of its body as is taken.
fn body() -> (OutputStream, OutgoingBody, OutgoingRequest) {
    let request = OutgoingRequest::new(Fields::new());
    let body = request.body().expect("not taken yet");
    let stream = body.write().expect("not taken yet");
    while let Ok(room @ 1..) = stream.check_write() {
        let _ = stream.write(&vec![b'x'; room as usize]);
    }
    (stream, body, request)
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
