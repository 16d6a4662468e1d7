//! How fast: `runner` beside what it is compared with, in one run, by ratios.
//!
//! Everybody answers the same paths with the same guest, where there is one, and is asked by the same client. Each is
//! started anew for each round, and the rounds of all take turns: what the machine does meanwhile is done to all of them.
//! A ratio is the median of those of the rounds.

pub mod bare;
mod contender;
mod machine;
mod numbers;
mod process;
mod stage;
mod start;
mod workload;
mod wrk;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::contender::Contender;
use self::machine::Machine;
use self::numbers::{Numbers, Rounds};
use self::stage::Stage;
use self::workload::{WORKLOADS, Workload};
use crate::siege::conclude;
use crate::siege::ground::has;
use crate::siege::report::{Finding, json};

/// What `cargo xtask bench --help` says.
pub const USAGE: &str = "\
usage: cargo xtask bench [--rounds N] [--seconds N] [--only NAME] [--other COMMAND] [--runner PATH] [--json FILE]

  requests a second, latency, processor time and memory of `runner`, of a server without a sandbox, of nginx and of
  `wasmtime serve`, in rounds that take turns; what is not installed is left out (apt: wrk, nginx; cargo install
  wasmtime-cli --version 48.0.8)
  hello-16, hello-64, echo, stream, outbound, routes, start, density
  --rounds N       how often each is measured, 5 without it
  --seconds N      for how long each time, 4 without it
  --only NAME      this workload; may be repeated
  --other COMMAND  one more server: {port} in it is where it has to listen, and answer GET /hello
  --runner PATH    the binary; without it a release build is made
  --json FILE      writes what was measured there too";

/// What was asked for on the command line.
#[derive(Debug, PartialEq)]
struct Wish {
    rounds: u32,
    length: Duration,
    only: Vec<String>,
    other: Option<String>,
    runner: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Wish {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wish> {
        let mut wish = Wish {
            rounds: 5,
            length: Duration::from_secs(4),
            only: Vec::new(),
            other: None,
            runner: None,
            json: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().filter(|value| !value.is_empty());
                value.with_context(|| format!("`{argument}` needs a value\n\n{USAGE}"))
            };
            match argument.as_str() {
                "--rounds" => wish.rounds = number(&value()?)?,
                "--seconds" => wish.length = Duration::from_secs(number(&value()?)?.into()),
                "--only" => wish.only.push(known(value()?)?),
                "--other" => wish.other = Some(value()?),
                "--runner" => wish.runner = Some(value()?.into()),
                "--json" => wish.json = Some(value()?.into()),
                other => bail!("`{other}` is no option of `bench`\n\n{USAGE}"),
            }
        }
        Ok(wish)
    }

    fn has(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn number(text: &str) -> Result<u32> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.with_context(|| format!("`{text}` is no number above 0\n\n{USAGE}"))
}

/// All that can be asked for by name.
fn names() -> impl Iterator<Item = &'static str> {
    let workloads = WORKLOADS.iter().map(|workload| workload.name);
    workloads.chain([start::START, start::DENSITY])
}

fn known(name: String) -> Result<String> {
    match names().any(|known| known == name) {
        true => Ok(name),
        false => bail!("`{name}` is no workload\n\n{USAGE}"),
    }
}

/// Measures, writing a line for each contender of each workload to `out`.
///
/// # Errors
/// When a bar was missed, something could not be measured, or the machine had other things to do.
pub fn run(
    root: &Path,
    arguments: impl Iterator<Item = String>,
    out: &mut dyn Write,
) -> Result<String> {
    let wish = Wish::parse(arguments)?;
    if !has("wrk") {
        bail!("`wrk` is not installed (apt-get install wrk)");
    }
    let (runner, bare) = built(root, wish.runner.as_deref())?;
    let stage = Stage::new(root, runner, bare, wish.other.clone())?;
    writeln!(out, "{}", stage.describe())?;
    let mut findings = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| wish.has(workload.name)) {
        writeln!(out, "\n{}: {}", workload.name, workload.about)?;
        for finding in measure(&stage, workload, &wish)? {
            writeln!(out, "{finding}")?;
            findings.push(finding);
        }
    }
    for (name, measure) in [
        (start::START, start::start as fn(&Stage) -> _),
        (start::DENSITY, start::density),
    ] {
        if !wish.has(name) {
            continue;
        }
        writeln!(out, "\n{name}")?;
        for finding in measure(&stage)? {
            writeln!(out, "{finding}")?;
            findings.push(finding);
        }
    }
    if let Some(path) = &wish.json {
        fs::write(path, json(&stage.describe(), &findings))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    conclude(&findings, &[])
}

/// Release builds of `runner` and of this program, which is the server without a sandbox too.
fn built(root: &Path, runner: Option<&Path>) -> Result<(PathBuf, PathBuf)> {
    let mut packages = vec!["--package", "xtask"];
    if runner.is_none() {
        packages.extend(["--package", "runner"]);
    }
    let done = Command::new("cargo")
        .current_dir(root)
        .args(["build", "--release", "--bins"])
        .args(packages)
        .status()
        .context("cannot start `cargo`")?;
    if !done.success() {
        bail!("there is no release build: {done}");
    }
    let built = root.join("target/release");
    let runner = match runner {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("there is no `{}`", path.display()))?,
        None => built.join("runner"),
    };
    Ok((runner, built.join("xtask")))
}

/// All contenders of a workload, in rounds that take turns.
fn measure(stage: &Stage, workload: &Workload, wish: &Wish) -> Result<Vec<Finding>> {
    let contenders: Vec<&Contender> = workload
        .contenders
        .iter()
        .filter(|contender| stage.has(contender))
        .collect();
    let mut rounds = vec![Rounds::default(); contenders.len()];
    for _ in 0..wish.rounds {
        for (contender, rounds) in contenders.iter().zip(&mut rounds) {
            rounds.push(round(stage, workload, contender, wish.length)?);
        }
    }
    let of = |name: Contender| {
        let at = contenders.iter().position(|contender| **contender == name);
        at.map(|at| &rounds[at])
    };
    let told = contenders.iter().zip(&rounds).map(|(contender, rounds)| {
        let mut measures = rounds.measures();
        let mut notes = Vec::new();
        for bar in workload.bars.iter().filter(|bar| bar.of == **contender) {
            if let Some(over) = of(bar.over) {
                let (measure, note) = bar.judge(rounds, over);
                measures.push(measure);
                notes.push(note);
            }
        }
        Finding::new(format!("{contender}"), measures).noting(notes)
    });
    let mut findings: Vec<Finding> = told.collect();
    let missing = workload.contenders.iter();
    let missing = missing.filter(|contender| !stage.has(contender));
    findings.extend(
        missing
            .filter(|contender| **contender != Contender::Other)
            .map(|contender| Finding::left_out(format!("{contender}"), "it is not installed")),
    );
    Ok(findings)
}

/// How often a round is done again in which the machine did something else.
const AGAIN: u32 = 4;

/// One contender, started for this.
fn round(
    stage: &Stage,
    workload: &Workload,
    contender: &Contender,
    length: Duration,
) -> Result<Numbers> {
    let mut other = 0.0;
    for _ in 0..AGAIN {
        let server = stage.start(contender)?;
        // What is made once, or grows to its size, is there before it counts.
        wrk::ask(stage, server.address(), workload, length / 4)?;
        let (machine, cpu) = (Machine::now()?, server.cpu());
        let asked = wrk::ask(stage, server.address(), workload, length)?;
        let cpu = server.cpu().saturating_sub(cpu);
        other = machine.other_since(cpu + asked.cpu)?;
        if other <= machine::QUIET {
            return Ok(Numbers::new(&asked, cpu, &server));
        }
    }
    bail!(
        "the machine is not quiet: others had {:.0} % of it while {contender} was measured",
        other * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish> {
        Wish::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_command_line_names_workloads_and_options() {
        let asked = wish("--rounds 3 --seconds 2 --only echo --other x --runner a/b --json out");
        let expected = Wish {
            rounds: 3,
            length: Duration::from_secs(2),
            only: vec!["echo".into()],
            other: Some("x".into()),
            runner: Some("a/b".into()),
            json: Some("out".into()),
        };
        assert_eq!(asked.expect("fine"), expected);
        for bad in ["echo", "--only siren", "--rounds 0", "--seconds", "--loud"] {
            assert!(wish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_usage_names_every_workload() {
        let names: Vec<&str> = names().collect();
        assert!(USAGE.contains(&names.join(", ")), "{names:?}");
    }
}
