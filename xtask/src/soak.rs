//! A soak: everything at once for minutes, and then nothing may have grown.
//!
//! Two apps in one process are asked well and badly, left in the middle of answers, reloaded, and reloaded with a mistake.
//! Ten times a second the kernel is asked for the server's memory, file descriptors and threads; a line through the samples
//! after the first fifth says how much each grows in ten minutes. At the end the server's own counts must agree.

mod account;
mod line;
mod load;
mod stage;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::account::Account;
use self::line::Line;
use self::load::Load;
use self::stage::Stage;
use crate::siege::conclude;
use crate::siege::ground::Ground;
use crate::siege::report::{Finding, Measure, json};
use crate::siege::runner::Runner;

/// What `cargo xtask soak --help` says.
pub const USAGE: &str = "\
usage: cargo xtask soak [--minutes N] [--runner PATH] [--json FILE]

  mixed load, faults, disconnects and reloads; then memory, file descriptors and threads must not have grown by more
  than 1% in ten minutes, and what was begun must have ended one way or another
  --minutes N    how long, 15 without it; the first fifth is not looked at
  --runner PATH  the binary; without it the newer of target/release/runner and target/debug/runner
  --json FILE    writes what was measured there too";

/// How often the apps may change.
const TURN: Duration = Duration::from_secs(1);

/// How often the kernel is asked in a turn. A handful of threads comes and goes with the load: of one look a second, a
/// line is off by as much as it may rise.
const LOOKS: u32 = 10;

/// What may be left to do once nobody asks any more.
const QUIET: Duration = Duration::from_secs(45);

/// In ten minutes, in percent.
const MOST: f64 = 1.0;

/// What was asked for on the command line.
#[derive(Debug, PartialEq)]
struct Wish {
    minutes: u64,
    runner: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Wish {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wish> {
        let mut wish = Wish {
            minutes: 15,
            runner: None,
            json: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().filter(|value| !value.is_empty());
                value.with_context(|| format!("`{argument}` needs a value\n\n{USAGE}"))
            };
            match argument.as_str() {
                "--minutes" => wish.minutes = minutes(&value()?)?,
                "--runner" => wish.runner = Some(value()?.into()),
                "--json" => wish.json = Some(value()?.into()),
                other => bail!("`{other}` is no option of `soak`\n\n{USAGE}"),
            }
        }
        Ok(wish)
    }
}

fn minutes(text: &str) -> Result<u64> {
    let minutes = text.parse().ok().filter(|minutes| *minutes > 0);
    minutes.with_context(|| format!("`{text}` is no number of minutes\n\n{USAGE}"))
}

/// What the kernel said, by the time in seconds.
#[derive(Default)]
struct Samples {
    memory: Vec<(f64, f64)>,
    descriptors: Vec<(f64, f64)>,
    threads: Vec<(f64, f64)>,
}

impl Samples {
    fn look(&mut self, at: Duration, runner: &Runner) {
        let at = at.as_secs_f64();
        self.memory.push((at, runner.resident()));
        self.descriptors.push((at, runner.descriptors() as f64));
        self.threads.push((at, runner.threads() as f64));
    }
}

/// Soaks, writing what was measured to `out`.
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
    let stage = Stage::new(root)?;
    let mut runner = ground.start_apps("soak", &stage.apps(), &["--admin", "127.0.0.1:0"])?;
    let admin = account::admin(&runner)?;
    let load = Load::start(runner.address())?;
    let samples = watch(&mut runner, &stage, Duration::from_secs(60 * wish.minutes))?;
    let asked = load.end();
    let account = Account::once_quiet(admin, QUIET)?;
    let panics = runner.says("panicked at");
    let alive = f64::from(u8::from(runner.is_alive()));
    let mut findings = vec![
        growth("memory", "MiB", &samples.memory),
        growth("file descriptors", "", &samples.descriptors),
        growth("threads", "", &samples.threads),
    ];
    let mut measures = account.measures();
    measures.extend([
        Measure::told("asked for", asked as f64, "").at_least(1.0),
        Measure::told("panics", panics as f64, "").exactly(0.0),
        Measure::told("alive", alive, "").exactly(1.0),
        Measure::told("reloads", account.reloads, "").at_least(1.0),
        Measure::told("reloads refused", account.refused, ""),
    ]);
    findings.push(Finding::new("requests", measures));
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    if let Some(path) = &wish.json {
        fs::write(path, json(&ground.describe(), &findings))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    conclude(&findings, &[])
}

/// Asks the kernel, and changes the apps now and then, until the time is over.
fn watch(runner: &mut Runner, stage: &Stage, length: Duration) -> Result<Samples> {
    let begun = Instant::now();
    let mut samples = Samples::default();
    let mut turn = 0;
    while begun.elapsed() < length {
        for _ in 0..LOOKS {
            sleep(TURN / LOOKS);
            // The first fifth: caches fill, pools grow to the size that the load needs.
            if begun.elapsed() > length / 5 {
                samples.look(begun.elapsed(), runner);
            }
        }
        if !runner.is_alive() {
            bail!("the server has ended; see `{}`", runner.log().display());
        }
        stage.change(turn)?;
        if turn % stage::EVERY == 0 {
            runner.reload();
        }
        turn += 1;
    }
    Ok(samples)
}

fn growth(name: &'static str, unit: &'static str, samples: &[(f64, f64)]) -> Finding {
    let line = Line::through(samples);
    Finding::new(
        name,
        vec![
            Measure::told("grows in 10 minutes by", line.growth(600.0), "%").at_most(MOST),
            Measure::told("on average", line.mean, unit),
            Measure::told("samples", samples.len() as f64, "").at_least(2.0),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_how_long() {
        let wish = |line: &str| Wish::parse(line.split_whitespace().map(str::to_owned));
        let expected = Wish {
            minutes: 2,
            runner: Some("a/b".into()),
            json: None,
        };
        assert_eq!(wish("--minutes 2 --runner a/b").expect("fine"), expected);
        assert_eq!(wish("").expect("fine").minutes, 15);
        for bad in ["2", "--minutes", "--minutes 0", "--minutes x"] {
            assert!(wish(bad).is_err(), "{bad}");
        }
    }
}
