//! What no guest should do, and what a host has to live with.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use toolbox::Query;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::Response;
use wasip3::spawn_local;

use crate::reply::{self, Body};

/// How many requests this instance has seen on `/counter`.
static COUNTER: AtomicU64 = AtomicU64::new(0);

pub async fn handle(path: &str, query: &Query) -> Response {
    match path {
        "/loop" => spin(),
        "/loop-after-head" => after_head(query, async { spin() }),
        "/trap" => core::arch::wasm32::unreachable(),
        "/trap-after-head" => after_head(query, async { core::arch::wasm32::unreachable() }),
        "/sleep" => sleep(query).await,
        "/stdout" => print(query).await,
        "/sleep-after-head" => after_head(query, wait(query)),
        "/unfinished" => after_head(query, async {}),
        "/counter" => reply::json(&(COUNTER.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        _ => reply::text(404, "the probe does not know this path\n"),
    }
}

/// Sends a head and `bytes` of body, then does `what`, and never finishes the body.
fn after_head(query: &Query, what: impl Future<Output = ()> + 'static) -> Response {
    let bytes = vec![b'x'; query.number("bytes", 6)];
    let (response, mut body) = Body::start(200, &[]);
    spawn_local(async move {
        body.write(bytes).await;
        what.await;
    });
    response
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// `text`, `n` times, with `ms` in between.
async fn print(query: &Query) -> Response {
    let text = query.text("text").unwrap_or("line");
    for _ in 0..query.number("n", 1) {
        println!("{text}");
        wait(query).await;
    }
    reply::text(200, "printed\n")
}

async fn sleep(query: &Query) -> Response {
    match query.flag("block") {
        true => std::thread::sleep(Duration::from_nanos(query.nanoseconds("ms").unwrap_or(0))),
        false => wait(query).await,
    }
    reply::text(200, "slept\n")
}

fn wait(query: &Query) -> impl Future<Output = ()> + 'static {
    let duration = query.nanoseconds("ms").unwrap_or(0);
    monotonic_clock::wait_for(duration)
}
