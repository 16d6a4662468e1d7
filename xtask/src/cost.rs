//! What the limits cost: the instructions of one request, in the build that everybody has and in one without limits.
//!
//! Both answer the same requests in one process, without a pool, whose addresses valgrind cannot give. Instructions of the
//! kernel are not counted; processor time is told too, from rounds that take turns, with the pool.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::siege::ground::has;

/// What the limits may cost, in percent of the instructions of a request without them.
const AT_MOST: f64 = 5.0;

/// Requests of a run, and of another: the difference is that of the requests alone.
const REQUESTS: (u32, u32) = (200, 1200);

/// Rounds of each build, and requests in each, whose processor time is measured.
const ROUNDS: usize = 9;
const REQUESTS_OF_A_ROUND: u32 = 20_000;

/// What `cargo xtask cost --help` says.
pub const USAGE: &str = "\
usage: cargo xtask cost [--release]
       cargo xtask cost --check | --update

  what the limits cost: instructions and processor time of a request, with them and in a build without them
  --release  in builds that are optimised as a release is, which takes some minutes; else in development builds
  --check    only counts the instructions of a request, and says whether they are as many as xtask/hot-path says
  --update   writes them there";

/// How many instructions a request takes in a development build, as it was when somebody looked last.
const HOT_PATH: &str = "xtask/hot-path";

/// By how many percent they may differ: more is a change that somebody has to want.
const MARGIN: f64 = 3.0;

/// What is to be done.
#[derive(Clone, Copy)]
enum Wish {
    Compare(Profile),
    Check,
    Update,
}

/// How the example is built.
#[derive(Clone, Copy)]
enum Profile {
    Development,
    Release,
}

/// One build of the example.
struct Build {
    name: &'static str,
    binary: PathBuf,
}

/// Builds both, and compares them.
///
/// # Errors
/// When the limits cost more than is promised, or what they cost could not be measured.
pub fn run(
    root: &Path,
    arguments: impl Iterator<Item = String>,
    out: &mut dyn Write,
) -> Result<String> {
    let mut wish = Wish::Compare(Profile::Development);
    for argument in arguments {
        wish = match argument.as_str() {
            "--release" => Wish::Compare(Profile::Release),
            "--check" => Wish::Check,
            "--update" => Wish::Update,
            other => bail!("`{other}` is no option of `cost`\n\n{USAGE}"),
        };
    }
    if !has("valgrind") {
        bail!("valgrind is not installed (apt-get install valgrind)");
    }
    match wish {
        Wish::Compare(profile) => compare(root, profile, out),
        Wish::Check => check(root),
        Wish::Update => update(root),
    }
}

/// Instructions of a request in a development build, which CI has built already.
fn hot_path(root: &Path) -> Result<f64> {
    Build::new(root, "with limits", Profile::Development, &[])?.instructions(root)
}

fn update(root: &Path) -> Result<String> {
    let counted = hot_path(root)?;
    fs::write(root.join(HOT_PATH), format!("{counted:.0}\n"))?;
    Ok(format!("{counted:.0} instructions a request"))
}

fn check(root: &Path) -> Result<String> {
    let file = root.join(HOT_PATH);
    let known = fs::read_to_string(&file);
    let known: f64 = known
        .with_context(|| format!("there is no `{}`", file.display()))?
        .trim()
        .parse()
        .with_context(|| format!("`{}` is no number", file.display()))?;
    judge(hot_path(root)?, known)
}

fn judge(counted: f64, known: f64) -> Result<String> {
    let more = (counted / known - 1.0) * 100.0;
    let text = format!(
        "{counted:.0} instructions a request, {more:+.1} % of the {known:.0} that were known (at most {MARGIN} % either way)"
    );
    if more.abs() <= MARGIN {
        return Ok(text);
    }
    bail!("{text}\nhelp: if this is meant, `cargo xtask cost --update`, and say why in the commit")
}

fn compare(root: &Path, profile: Profile, out: &mut dyn Write) -> Result<String> {
    let with = Build::new(root, "with limits", profile, &[])?;
    let without = ["--features", "danger-no-limits"];
    let without = Build::new(root, "without", profile, &without)?;
    let mut counts = [0.0; 2];
    let mut times = [const { Vec::new() }; 2];
    for (build, count) in [&with, &without].into_iter().zip(&mut counts) {
        *count = build.instructions(root)?;
    }
    for _ in 0..ROUNDS {
        for (build, times) in [&with, &without].into_iter().zip(&mut times) {
            times.push(build.processor_time(root)?);
        }
    }
    let medians = times.map(median);
    for ((build, count), time) in [&with, &without].iter().zip(counts).zip(medians) {
        writeln!(
            out,
            "  {:12} {count:.0} instructions and {:.1} µs of processor time a request",
            build.name,
            time.as_secs_f64() * 1e6
        )?;
    }
    let more = |with: f64, without: f64| (with / without - 1.0) * 100.0;
    let cost = more(counts[0], counts[1]);
    let of_time = more(medians[0].as_secs_f64(), medians[1].as_secs_f64());
    let text = format!(
        "the limits cost {cost:.1} % of instructions (at most {AT_MOST} %), and {of_time:.1} % of processor time"
    );
    match cost <= AT_MOST {
        true => Ok(text),
        false => bail!("{text}"),
    }
}

impl Build {
    /// Builds the example, and keeps it under a name of its own.
    fn new(root: &Path, name: &'static str, profile: Profile, arguments: &[&str]) -> Result<Build> {
        let (own, built) = match profile {
            Profile::Development => (&[][..], "debug"),
            Profile::Release => (&["--release"][..], "release"),
        };
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(root)
            .args(["build", "--quiet"])
            .args(["--package", "runner-host", "--example", "hello"])
            .args(own)
            .args(arguments);
        let done = cargo.status().context("cannot start `cargo`")?;
        if !done.success() {
            bail!("the example was not built: {done}");
        }
        let built = root.join("target").join(built).join("examples/hello");
        let folder = root.join("target/cost");
        fs::create_dir_all(&folder)?;
        let binary = folder.join(name.replace(' ', "-"));
        fs::copy(&built, &binary).with_context(|| format!("there is no `{}`", built.display()))?;
        Ok(Build { name, binary })
    }

    fn instructions(&self, root: &Path) -> Result<f64> {
        let (few, many) = REQUESTS;
        let counted = self
            .count(root, many)?
            .saturating_sub(self.count(root, few)?);
        Ok(counted as f64 / f64::from(many - few))
    }

    fn count(&self, root: &Path, requests: u32) -> Result<u64> {
        let done = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.binary)
            .arg(requests.to_string())
            .arg(component(root))
            .env("RUNNER_ON_DEMAND", "1")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .output()
            .context("cannot start `valgrind`")?;
        let text = String::from_utf8_lossy(&done.stderr);
        if !done.status.success() {
            bail!("{}: {text}", self.name);
        }
        collected(&text).with_context(|| format!("valgrind counted nothing: {text}"))
    }

    /// Of one request.
    fn processor_time(&self, root: &Path) -> Result<Duration> {
        let done = Command::new(&self.binary)
            .arg(REQUESTS_OF_A_ROUND.to_string())
            .arg(component(root))
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", self.binary.display()))?;
        if !done.status.success() {
            bail!("{}: {}", self.name, String::from_utf8_lossy(&done.stderr));
        }
        let text = String::from_utf8_lossy(&done.stdout);
        let nanoseconds = text.trim().parse().context("it prints a time")?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

fn component(root: &Path) -> PathBuf {
    root.join("tests/guests/c/c.wasm")
}

/// What callgrind says at its end: `==7== Collected : 123`.
fn collected(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callgrind_counted_is_the_last_thing_it_says() {
        let text = "==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(text), Some(123_456));
        assert_eq!(collected("==7== nothing"), None);
    }

    #[test]
    fn the_hot_path_may_change_by_a_little() {
        for (counted, holds) in [(100.0, true), (102.9, true), (104.0, false), (96.0, false)] {
            assert_eq!(judge(counted, 100.0).is_ok(), holds, "{counted}");
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [3, 1, 2].map(Duration::from_secs).to_vec();
        assert_eq!(median(times), Duration::from_secs(2));
    }
}
