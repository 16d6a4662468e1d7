//! Sieges: what is promised about hostile clients, shown on a running `runner` with real sockets from this machine.
//!
//! Each siege starts the built binary, attacks it while an honest client connects anew for each request, and says what
//! was measured, what is promised, and whether that held. They measure time, so they are no tests: a machine that is
//! busy with something else says so in the load that each line ends with.

pub(crate) mod client;
mod fds;
mod floods;
mod frames;
pub(crate) mod ground;
mod handover;
pub(crate) mod honest;
mod http2;
mod never_read;
mod nginx;
mod overload;
pub(crate) mod report;
pub(crate) mod runner;
mod silent;
mod slow;
mod tls;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use ground::Ground;
use report::Finding;

/// One siege.
struct Siege {
    name: &'static str,
    about: &'static str,
    run: fn(&Ground) -> Result<Vec<Finding>>,
}

const SIEGES: &[Siege] = &[
    Siege {
        name: "silent",
        about: "10,000 connections that send nothing, `P`, or half a preface of HTTP/2; 1,000 with TLS",
        run: silent::run,
    },
    Siege {
        name: "slow",
        about: "`slowhttptest` with 1,000 connections: slow heads, slow bodies, slow readers",
        run: slow::run,
    },
    Siege {
        name: "never-read",
        about: "200 clients that never read a response of 50 MB",
        run: never_read::run,
    },
    Siege {
        name: "http2-floods",
        about: "20,000 frames each: resets, CONTINUATION, SETTINGS, PING, empty DATA",
        run: floods::run,
    },
    Siege {
        name: "fds",
        about: "300 connections to a server with 80 file descriptors",
        run: fds::run,
    },
    Siege {
        name: "overload",
        about: "three times the load that the server can answer",
        run: overload::run,
    },
    Siege {
        name: "handover",
        about: "a restart with `--take-over` at 500 requests/s",
        run: handover::run,
    },
    Siege {
        name: "nginx",
        about: "nginx in front: both sides must have seen the same requests",
        run: nginx::run,
    },
];

/// What `cargo xtask siege --help` says.
pub const USAGE: &str = "\
usage: cargo xtask siege [NAME...] [--runner PATH] [--quick] [--json FILE]

  attacks a built `runner` as hostile clients would, and checks what is promised; without a NAME, in every way:
  silent, slow, never-read, http2-floods, fds, overload, handover, nginx
  --runner PATH  the binary; without it the newer of target/release/runner and target/debug/runner
  --quick        fewer connections and seconds: a check of the sieges, and what CI runs
  --json FILE    writes what was measured there too";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq)]
struct Wish {
    names: Vec<String>,
    runner: Option<PathBuf>,
    quick: bool,
    json: Option<PathBuf>,
}

impl Wish {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wish> {
        let mut wish = Wish::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().filter(|value| !value.is_empty());
                value.with_context(|| format!("`{argument}` needs a path\n\n{USAGE}"))
            };
            match argument.as_str() {
                "--quick" => wish.quick = true,
                "--runner" => wish.runner = Some(value()?.into()),
                "--json" => wish.json = Some(value()?.into()),
                name if SIEGES.iter().any(|siege| siege.name == name) => {
                    wish.names.push(argument);
                }
                other => bail!("`{other}` is no siege and no option of `siege`\n\n{USAGE}"),
            }
        }
        Ok(wish)
    }

    fn has(&self, siege: &Siege) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == siege.name)
    }
}

/// Runs the sieges that `arguments` name, writing a line for each thing that was measured to `out`.
///
/// # Errors
/// When something that is promised did not hold, or could not be measured.
pub fn run(
    root: &Path,
    arguments: impl Iterator<Item = String>,
    out: &mut dyn Write,
) -> Result<String> {
    let wish = Wish::parse(arguments)?;
    let ground = Ground::new(root, wish.runner.as_deref(), wish.quick)?;
    writeln!(out, "{}", ground.describe())?;
    let (mut findings, mut broken) = (Vec::new(), Vec::new());
    for siege in SIEGES.iter().filter(|siege| wish.has(siege)) {
        writeln!(out, "\n{}: {}", siege.name, siege.about)?;
        match (siege.run)(&ground) {
            Ok(found) => {
                found
                    .iter()
                    .try_for_each(|finding| writeln!(out, "{finding}"))?;
                findings.extend(found);
            }
            Err(error) => {
                writeln!(out, "  could not be measured: {error:#}")?;
                broken.push(siege.name);
            }
        }
    }
    if let Some(path) = &wish.json {
        fs::write(path, report::json(&ground.describe(), &findings))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    conclude(&findings, &broken)
}

pub(crate) fn conclude(findings: &[Finding], broken: &[&str]) -> Result<String> {
    let failed: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.failed())
        .map(Finding::name)
        .chain(broken.iter().copied())
        .collect();
    if !failed.is_empty() {
        bail!("did not hold: {}", failed.join(", "));
    }
    let left_out = findings
        .iter()
        .filter(|finding| finding.is_left_out())
        .count();
    let held = findings.len() - left_out;
    Ok(format!("\n{held} held, {left_out} left out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish> {
        Wish::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_command_line_names_sieges_and_options() {
        let asked = wish("silent fds --quick --runner a/b --json out.json").expect("fine");
        let expected = Wish {
            names: vec!["silent".into(), "fds".into()],
            runner: Some("a/b".into()),
            quick: true,
            json: Some("out.json".into()),
        };
        assert_eq!(asked, expected);
        for bad in ["siren", "--runner", "--loud"] {
            assert!(wish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_usage_names_every_siege() {
        let names: Vec<&str> = SIEGES.iter().map(|siege| siege.name).collect();
        assert!(USAGE.contains(&names.join(", ")), "{names:?}");
    }
}
