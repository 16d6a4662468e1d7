//! Floods of HTTP/2 frames that cost a client nothing.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::sleep;

use crate::siege::frames::{block, flag, frame, kind};
use crate::siege::ground::{Ground, runtime};
use crate::siege::honest::once;
use crate::siege::http2::{End, Wire};
use crate::siege::report::{Finding, Measure};
use crate::siege::runner::Runner;

/// Frames of a flood; of resets, pairs of a request and its reset.
const FRAMES: u32 = 20_000;

/// Frames that are written at once: no more requests than streams may be open.
const BATCH: u32 = 100;

/// How long a server has to end a connection after its last frame.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Guests that one connection may have started before it is known as a flood: streams that may be open, twice.
const GUESTS: f64 = 200.0;

/// What "flat" means: so much more, in MiB, than an honest client takes that has as many streams as it may.
const FLAT: f64 = 8.0;

/// What is sent once, and what again and again.
struct Flood {
    name: &'static str,
    first: fn() -> Vec<u8>,
    /// The frames with these numbers.
    next: fn(Range<u32>) -> Vec<u8>,
    /// After each batch, so that the server has seen it before the next comes.
    pause: Duration,
}

const FLOODS: &[Flood] = &[
    Flood {
        name: "rapid reset",
        first: Vec::new,
        next: |numbers| {
            numbers
                .flat_map(|n| [begun(n), reset(n)].concat())
                .collect()
        },
        pause: Duration::ZERO,
    },
    Flood {
        name: "reset once begun",
        first: Vec::new,
        // The resets of a batch come with the next, when its guests are at work.
        next: |numbers| {
            let before = numbers.start.saturating_sub(BATCH)..numbers.start;
            before
                .flat_map(reset)
                .chain(numbers.flat_map(begun))
                .collect()
        },
        pause: Duration::from_millis(2),
    },
    Flood {
        name: "CONTINUATION",
        first: || frame(kind::HEADERS, flag::NONE, 1, &request("GET")),
        next: |numbers| again(numbers, kind::CONTINUATION, 1, b"\0\x01x\x01y"),
        pause: Duration::ZERO,
    },
    Flood {
        name: "empty CONTINUATION",
        first: || frame(kind::HEADERS, flag::NONE, 1, &request("GET")),
        next: |numbers| again(numbers, kind::CONTINUATION, 1, b""),
        pause: Duration::ZERO,
    },
    Flood {
        name: "SETTINGS",
        first: Vec::new,
        // The size of windows: a server has to look at every stream for it.
        next: |numbers| again(numbers, kind::SETTINGS, 0, b"\0\x04\0\x01\0\0"),
        pause: Duration::ZERO,
    },
    Flood {
        name: "PING",
        first: Vec::new,
        next: |numbers| again(numbers, kind::PING, 0, b"a siege!"),
        pause: Duration::ZERO,
    },
    Flood {
        name: "empty DATA",
        first: || frame(kind::HEADERS, flag::END_HEADERS, 1, &request("POST")),
        next: |numbers| again(numbers, kind::DATA, 1, b""),
        pause: Duration::ZERO,
    },
];

/// The request with this number.
fn begun(number: u32) -> Vec<u8> {
    let flags = flag::END_STREAM | flag::END_HEADERS;
    frame(kind::HEADERS, flags, 2 * number + 1, &request("GET"))
}

/// Its reset.
fn reset(number: u32) -> Vec<u8> {
    let cancel = 8u32.to_be_bytes();
    frame(kind::RST_STREAM, flag::NONE, 2 * number + 1, &cancel)
}

/// The same frame for each number.
fn again(numbers: Range<u32>, kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(kind, flag::NONE, stream, payload).repeat(numbers.len())
}

/// One for a guest that takes its time.
fn request(method: &str) -> Vec<u8> {
    block(&[
        (":method", method),
        (":scheme", "http"),
        (":authority", "siege.example"),
        (":path", "/sleep?ms=50"),
    ])
}

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    FLOODS.iter().map(|flood| attack(ground, flood)).collect()
}

fn attack(ground: &Ground, flood: &Flood) -> Result<Finding> {
    let mut runner = ground.start(&format!("flood-{}", flood.name.replace(' ', "-")), &[])?;
    let runtime = runtime()?;
    runner.memory();
    runtime.block_on(warm(&runner))?;
    let honest = runner.peak();
    runner.memory();
    let (cpu, asked) = (runner.cpu(), guests(&runner));
    let (sent, end) = runtime.block_on(send(&runner, flood))?;
    let cpu = runner.cpu() - cpu;
    let grown = (runner.peak() - honest).max(0.0);
    let answered = runtime.block_on(once(runner.address(), None)).is_ok();
    runner.stop();
    let ended = match end {
        End::Open => Measure::told("connection ended", 0.0, ""),
        End::Closed | End::GoAway(_) => Measure::told("connection ended", 1.0, ""),
    };
    let measures = vec![
        Measure::told("frames sent", f64::from(sent), ""),
        ended.exactly(1.0),
        Measure::told("CPU", cpu.as_secs_f64(), "s").at_most(1.0),
        Measure::told("memory above an honest client's", grown, "MiB").below(FLAT),
        Measure::told("guests started", guests(&runner) - asked, "").at_most(GUESTS),
        Measure::told("still answers", f64::from(u8::from(answered)), "").exactly(1.0),
    ];
    Ok(Finding::new(flood.name, measures).noting([format!("end: {end:?}")]))
}

/// An honest client that has as many streams as it may: what is made once, or once for each, is not the flood's.
async fn warm(runner: &Runner) -> Result<()> {
    for _ in 0..3 {
        let mut wire = Wire::open(runner.address()).await?;
        let requests: Vec<u8> = (0..BATCH).flat_map(begun).collect();
        wire.send(&requests).await;
        wire.end(Duration::from_millis(500)).await;
    }
    once(runner.address(), None)
        .await
        .map_err(|failure| anyhow!("{failure}"))?;
    Ok(())
}

/// How many frames went out, and how it ended.
async fn send(runner: &Runner, flood: &Flood) -> Result<(u32, End)> {
    let mut wire = Wire::open(runner.address()).await?;
    let mut sent = 0;
    let mut goes_on = wire.send(&(flood.first)()).await;
    while goes_on && sent < FRAMES {
        goes_on = wire.send(&(flood.next)(sent..sent + BATCH)).await;
        sent += BATCH;
        if !flood.pause.is_zero() {
            sleep(flood.pause).await;
        }
    }
    let end = wire.end(ENDED_WITHIN).await;
    // Guests that were started go on for their 50 ms.
    sleep(Duration::from_millis(200)).await;
    Ok((sent, end))
}

/// How often the log tells of the path that is asked for; lines that were dropped may all have been such.
fn guests(runner: &Runner) -> f64 {
    let lines = runner.lines("request");
    let told = lines.iter().filter(|line| line["path"] == "/sleep").count();
    let dropped = runner
        .all_lines("dropped")
        .iter()
        .filter_map(|line| line["dropped"].as_u64())
        .sum::<u64>();
    told as f64 + dropped as f64
}
