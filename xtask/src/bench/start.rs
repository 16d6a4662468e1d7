//! From the start of a server to its first answer, and what a component costs that is there and not asked.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::numbers::{median, spread};
use super::process::{Memory, Process};
use super::stage::{Stage, free_address};
use crate::siege::ground::has;
use crate::siege::report::{Finding, Measure};

/// Their names on the command line.
pub(super) const START: &str = "start";
pub(super) const DENSITY: &str = "density";

/// How often each start is measured.
const STARTS: usize = 10;

/// How long a first answer may take: it may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(600);

/// From one look to the next.
const STEP: Duration = Duration::from_micros(200);

/// Components of the apps that show what one costs.
const MANY: [usize; 3] = [1, 100, 1000];

/// In milliseconds, from the start of the program, its cache warm: with one component, and with 100.
const START_BARS: [(usize, f64); 2] = [(1, 15.0), (100, 150.0)];

/// What a component may cost in memory beside its own code, in KiB.
const COMPONENT: f64 = 64.0;

/// Exec to first 200.
pub(super) fn start(stage: &Stage) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (count, most) in START_BARS {
        let app = stage.write_components(&format!("start{count}"), count)?;
        let start = |address| stage.runner_up(&app, address);
        let _ = fs::remove_dir_all(stage.file("cache"));
        let cold = first_answer(&start)?;
        let told = Measure::told("first answer, cache cold", cold, "ms");
        let mut finding = warm(&format!("runner, {count}"), &start, Some(most))?;
        finding.add(told);
        findings.push(finding);
    }
    if has("wasmtime") {
        let component = stage.file("one").join("c.wasm");
        let start = |address| stage.wasmtime_serve(&component, &[], address);
        first_answer(&start)?;
        findings.push(warm("wasmtime serve, 1", &start, None)?);
    }
    Ok(findings)
}

fn warm(
    name: &str,
    start: &dyn Fn(SocketAddr) -> Result<Command>,
    most: Option<f64>,
) -> Result<Finding> {
    let times: Result<Vec<f64>> = (0..STARTS).map(|_| first_answer(start)).collect();
    let times = times?;
    let note = spread(&times);
    let told = Measure::told("first answer, cache warm", median(times), "ms");
    let told = match most {
        Some(most) => told.at_most(most),
        None => told,
    };
    Ok(Finding::new(name, vec![told]).noting([note]))
}

/// In milliseconds.
fn first_answer(start: &dyn Fn(SocketAddr) -> Result<Command>) -> Result<f64> {
    let address = free_address()?;
    let command = start(address)?;
    let begun = Instant::now();
    let _server = Process::spawn(command, address)?;
    while begun.elapsed() < PATIENCE {
        if ask(address, 0).is_some() {
            return Ok(begun.elapsed().as_secs_f64() * 1e3);
        }
        sleep(STEP);
    }
    bail!("there was no answer within {PATIENCE:?}")
}

/// What many different components cost, before any is asked and once each was.
pub(super) fn density(stage: &Stage) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut first: Option<Memory> = None;
    for count in MANY {
        let app = stage.write_components("density", count)?;
        // What is compiled now is not what a server has that finds it compiled.
        drop(stage.start_runner(&app)?);
        let server = stage.start_runner(&app)?;
        let idle = settled(&server);
        for at in 0..count {
            ask(server.address(), at).with_context(|| format!("component {at} did not answer"))?;
        }
        let asked = settled(&server);
        let mut measures = vec![
            Measure::told("RSS idle", idle.resident, "MiB"),
            Measure::told("of no file", idle.anonymous, "MiB"),
            Measure::told("RSS, each asked once", asked.resident, "MiB"),
            Measure::told("of no file", asked.anonymous, "MiB"),
        ];
        if let Some(first) = first {
            let each = |memory: f64, of: f64| (memory - of) * 1024.0 / (count - MANY[0]) as f64;
            let own = each(idle.anonymous, first.anonymous);
            measures.push(Measure::told("a component, idle", own, "KiB").at_most(COMPONENT));
            let all = each(idle.resident, first.resident);
            measures.push(Measure::told("with its code", all, "KiB"));
        }
        first.get_or_insert(idle);
        findings.push(Finding::new(format!("runner, {count}"), measures));
    }
    Ok(findings)
}

/// Once it has nothing left to do.
fn settled(server: &Process) -> Memory {
    sleep(Duration::from_secs(2));
    server.memory()
}

/// Asks the component of this number; nothing where there is no answer, or another than a success.
#[expect(
    clippy::disallowed_methods,
    reason = "a client of the server that is measured, in a process of its own"
)]
fn ask(address: SocketAddr, component: usize) -> Option<()> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET /r{component} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}
