//! The noisy neighbour: two apps in one process, one of them hostile, and what the other's clients see of that.
//!
//! Tenant `b` answers `/hello` at 100 requests a second, whether those before were answered or not; a latency is counted
//! from the time at which the request should have begun. First it is alone, then 64 clients make tenant `a` do its worst.
//! `wasmtime serve` plays too where it is installed: it has one component, which both are then.
//!
//! These promises are about time, so no test asserts them: each line ends with the load of the machine it was measured on.

mod attack;
mod guests;
mod loops;
mod neighbour;
mod servers;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::attack::{ATTACKS, Attack};
use self::neighbour::Seen;
use self::servers::{Kind, Stage};
use crate::siege::conclude;
use crate::siege::ground::{Ground, has};
use crate::siege::report::{Finding, Measure, json};

/// Who is alone may be this much faster.
const TIMES: f64 = 3.0;
/// Or this much time is enough in any case, in milliseconds.
const ENOUGH: f64 = 10.0;
/// And this is too much in any case.
const TOO_MUCH: f64 = 50.0;

/// What `cargo xtask torture --help` says.
pub const USAGE: &str = "\
usage: cargo xtask torture [--seconds N] [--only NAME] [--runner PATH] [--json FILE]

  two apps in one process: what clients of one see while 64 clients make the other do each of
  cpu-loop, bulk-memory, memory-growth, table-growth, log-flood, never-read, black-hole, fan-out, reload
  and two-loops: two requests that never end, until they are stopped
  --seconds N    how long each is measured, 60 without it
  --only NAME    this attack; may be repeated
  --runner PATH  the binary; without it the newer of target/release/runner and target/debug/runner
  --json FILE    writes what was measured there too";

/// What was asked for on the command line.
#[derive(Debug, PartialEq)]
struct Wish {
    seconds: u64,
    only: Vec<String>,
    runner: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Wish {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wish> {
        let mut wish = Wish {
            seconds: 60,
            only: Vec::new(),
            runner: None,
            json: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().filter(|value| !value.is_empty());
                value.with_context(|| format!("`{argument}` needs a value\n\n{USAGE}"))
            };
            match argument.as_str() {
                "--seconds" => wish.seconds = seconds(&value()?)?,
                "--only" => wish.only.push(known(value()?)?),
                "--runner" => wish.runner = Some(value()?.into()),
                "--json" => wish.json = Some(value()?.into()),
                other => bail!("`{other}` is no option of `torture`\n\n{USAGE}"),
            }
        }
        Ok(wish)
    }

    fn has(&self, attack: &Attack) -> bool {
        self.names(attack.name)
    }

    fn names(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn is_only(&self, name: &str) -> bool {
        matches!(&self.only[..], [only] if only == name)
    }
}

fn seconds(text: &str) -> Result<u64> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    seconds.with_context(|| format!("`{text}` is no number of seconds\n\n{USAGE}"))
}

fn known(name: String) -> Result<String> {
    match name == loops::NAME || ATTACKS.iter().any(|attack| attack.name == name) {
        true => Ok(name),
        false => bail!("`{name}` is no attack\n\n{USAGE}"),
    }
}

/// Runs the attacks, writing a line for each to `out`.
///
/// # Errors
/// When something that is promised did not hold, or could not be measured.
pub fn run(
    root: &Path,
    arguments: impl Iterator<Item = String>,
    out: &mut dyn Write,
) -> Result<String> {
    let wish = Wish::parse(arguments)?;
    let ground = Ground::new(root, wish.runner.as_deref(), false)?;
    writeln!(out, "{}", ground.describe())?;
    let stage = Stage::new(root, &ground)?;
    let (mut findings, mut broken) = (Vec::new(), Vec::new());
    for kind in [Kind::Runner, Kind::Wasmtime] {
        writeln!(out, "\n{kind}")?;
        if kind == Kind::Wasmtime && !has("wasmtime") {
            let left_out = Finding::left_out("wasmtime serve", "`wasmtime` is not installed");
            writeln!(out, "{left_out}")?;
            findings.push(left_out);
            continue;
        }
        let (mut found, failed) = of_server(&stage, kind, &wish, out)?;
        // What another server does is no promise of ours.
        if kind == Kind::Runner {
            broken.extend(failed);
        }
        findings.append(&mut found);
    }
    if let Some(path) = &wish.json {
        fs::write(path, json(&ground.describe(), &findings))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    conclude(&findings, &broken)
}

fn of_server(
    stage: &Stage<'_>,
    kind: Kind,
    wish: &Wish,
    out: &mut dyn Write,
) -> Result<(Vec<Finding>, Vec<&'static str>)> {
    let length = Duration::from_secs(wish.seconds);
    let (mut findings, mut broken) = (Vec::new(), Vec::new());
    if kind == Kind::Runner && wish.names(loops::NAME) {
        let finding = loops::run(stage)?;
        writeln!(out, "{finding}")?;
        findings.push(finding);
    }
    if wish.is_only(loops::NAME) {
        return Ok((findings, broken));
    }
    let alone = {
        let server = stage.start(kind, "alone")?;
        neighbour::watch(server.address(), length)?
    };
    let told = Finding::new(format!("{kind}: alone"), numbers(&alone));
    writeln!(out, "{told}")?;
    findings.push(told);
    for attack in ATTACKS.iter().filter(|attack| wish.has(attack)) {
        let finding = match under(stage, kind, attack, length, &alone) {
            Ok(finding) => finding,
            Err(error) => {
                writeln!(out, "  {}: could not be measured: {error:#}", attack.name)?;
                broken.push(attack.name);
                continue;
            }
        };
        writeln!(out, "{finding}")?;
        findings.push(finding);
    }
    Ok((findings, broken))
}

fn under(
    stage: &Stage<'_>,
    kind: Kind,
    attack: &Attack,
    length: Duration,
    alone: &Seen,
) -> Result<Finding> {
    let name = format!("{kind}: {}", attack.name);
    if kind == Kind::Wasmtime && !attack.for_others {
        return Ok(Finding::left_out(
            name,
            "it has nothing to be attacked there",
        ));
    }
    let mut server = stage.start(kind, attack.name)?;
    let attacking = attack.begin(stage, &server)?;
    let seen = neighbour::watch(server.address(), length)?;
    let done = attacking.end();
    let ratio = seen.p99() / alone.p99().max(f64::MIN_POSITIVE);
    let alive = f64::from(u8::from(server.is_alive()));
    let mut measures = numbers(&seen);
    let errors = Measure::told("errors", seen.errors() as f64, "");
    match kind {
        Kind::Runner => {
            let most = (alone.p99() * TIMES).clamp(ENOUGH, TOO_MUCH);
            let p99 = Measure::told("p99", seen.p99(), "ms");
            measures[2] = p99.at_most(most);
            measures.extend([
                errors.exactly(0.0),
                Measure::told("alive", alive, "").exactly(1.0),
            ]);
        }
        Kind::Wasmtime => measures.extend([errors, Measure::told("alive", alive, "")]),
    }
    measures.extend([
        Measure::told("times alone", ratio, ""),
        Measure::told("attacks answered", done.answered as f64, ""),
        Measure::told("refused or cut", done.failed as f64, ""),
    ]);
    Ok(Finding::new(name, measures).noting(seen.notes()))
}

/// What is told of a neighbour in any case.
fn numbers(seen: &Seen) -> Vec<Measure> {
    vec![
        Measure::told("requests", seen.requests() as f64, ""),
        Measure::told("p50", seen.p50(), "ms"),
        Measure::told("p99", seen.p99(), "ms"),
        Measure::told("stolen by other machines", seen.stolen(), "ms"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish> {
        Wish::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_command_line_names_attacks_and_options() {
        let asked = wish("--seconds 5 --only cpu-loop --only reload --runner a/b --json out.json");
        let expected = Wish {
            seconds: 5,
            only: vec!["cpu-loop".into(), "reload".into()],
            runner: Some("a/b".into()),
            json: Some("out.json".into()),
        };
        assert_eq!(asked.expect("fine"), expected);
        for bad in [
            "cpu-loop",
            "--only siren",
            "--seconds 0",
            "--seconds",
            "--loud",
        ] {
            assert!(wish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_usage_names_every_attack() {
        let names: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        assert!(USAGE.contains(&names.join(", ")), "{names:?}");
    }
}
