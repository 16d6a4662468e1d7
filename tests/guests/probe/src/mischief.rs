//! What no guest should do, and what a host has to live with.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use toolbox::{Query, json};
use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, ResponseOutparam};

use crate::reply::{self, Body};

/// How many requests this instance has seen on `/counter`.
static COUNTER: AtomicU64 = AtomicU64::new(0);

pub fn handle(path: &str, out: ResponseOutparam, query: &Query) {
    match path {
        "/loop" => spin(),
        "/loop-after-head" => after_head(out, query, || spin()),
        "/trap" => trap(),
        "/trap-after-head" => after_head(out, query, || trap()),
        "/sleep" => sleep(out, query),
        "/sleep-after-head" => after_head(out, query, || wait(query)),
        "/unfinished" => after_head(out, query, || ()),
        "/no-response" => drop(out),
        "/exit" => std::process::exit(query.number("code", 1)),
        "/panic" => panic!("{}", query.text("text").unwrap_or("a panic")),
        "/memory" => memory(out, query),
        "/recurse" => reply::json(out, &recurse(1).to_string()),
        "/resources" => resources(out, query),
        "/counter" => reply::json(
            out,
            &(COUNTER.fetch_add(1, Ordering::Relaxed) + 1).to_string(),
        ),
        _ => reply::text(out, 404, "the probe does not know this path\n"),
    }
}

/// Sends a head and `bytes` of body, then does `what`, and never finishes the body.
fn after_head(out: ResponseOutparam, query: &Query, what: impl FnOnce()) {
    let body = Body::start(out, 200, &[]);
    let _ = body.write(&vec![b'x'; query.number("bytes", 6)]);
    what();
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

fn sleep(out: ResponseOutparam, query: &Query) {
    wait(query);
    reply::text(out, 200, "slept\n");
}

fn wait(query: &Query) {
    monotonic_clock::subscribe_duration(query.nanoseconds("ms").unwrap_or(0)).block();
}

/// `/memory?bytes=`: takes that much and touches every page of it.
fn memory(out: ResponseOutparam, query: &Query) {
    let bytes: usize = query.number("bytes", 1 << 20);
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return reply::json(out, &json::object([("refused", bytes.to_string())]));
    }
    memory.resize(bytes, 1);
    reply::json(
        out,
        &json::object([("got", black_box(memory).len().to_string())]),
    );
}

#[expect(unconditional_recursion, reason = "the stack has to overflow")]
fn recurse(depth: u64) -> u64 {
    black_box([depth; 16])[0] + recurse(black_box(depth + 1))
}

/// `/resources?n=`: takes that many handles and keeps them.
fn resources(out: ResponseOutparam, query: &Query) {
    let handles: Vec<Fields> = (0..query.number("n", 1_000_000))
        .map(|_| Fields::new())
        .collect();
    reply::json(out, &json::object([("got", handles.len().to_string())]));
}
