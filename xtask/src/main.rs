//! `cargo xtask guests [--check] [--out DIR]`, `cargo xtask faults`, `cargo xtask siege [NAME...]`, `cargo xtask torture`,
//! `cargo xtask soak`, `cargo xtask cost`, `cargo xtask bench`, `cargo xtask traced`

use std::env;
use std::io::{self, Write};
use std::iter::Peekable;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use xtask::{bench, cost, faults, guests, siege, soak, torture, traced};

const USAGE: &str = "\
usage: cargo xtask guests [--check] [--out DIR]

  builds every guest from source and puts its .wasm beside its sources
  --check    only compares sources and .wasm with the hashes in tests/guests/guests.lock
  --out DIR  puts the .wasm files and guests.lock into DIR and leaves the tree as it is

  RUSTC_FOR_GUESTS, else RUSTC, names the compiler; without either it is the rustc on the path

usage: cargo xtask traced

  runs the stories with every `runner` under strace, and checks that the door announced each connect

usage: cargo xtask faults

  starts `runner` where a disk is full or read-only, a network is missing, or a limit is reached; needs root and
  namespaces, and says so without";

fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(text) => {
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<String> {
    match arguments.next().as_deref() {
        Some("guests") => {}
        Some("siege") => return besiege(arguments),
        Some("torture") => {
            return help_or(torture::USAGE, arguments, |arguments| {
                torture::run(xtask::root(), arguments, &mut io::stdout())
            });
        }
        Some("soak") => {
            return help_or(soak::USAGE, arguments, |arguments| {
                soak::run(xtask::root(), arguments, &mut io::stdout())
            });
        }
        Some("cost") => {
            return help_or(cost::USAGE, arguments, |arguments| {
                cost::run(xtask::root(), arguments, &mut io::stdout())
            });
        }
        Some("bench") => {
            return help_or(bench::USAGE, arguments, |arguments| {
                bench::run(xtask::root(), arguments, &mut io::stdout())
            });
        }
        Some(bench::bare::NAME) => {
            return bench::bare::serve(&arguments.next().unwrap_or_default());
        }
        Some("traced") => return traced::run(xtask::root()),
        Some("faults") => return faults::run(xtask::root()),
        Some(faults::INSIDE) => {
            return faults::inside(arguments.next().unwrap_or_default().as_ref());
        }
        None | Some("help" | "--help" | "-h") => return Ok(usage()),
        Some(other) => bail!("`{other}` is no chore\n\n{}", usage()),
    }
    let mut check = false;
    let mut out = None;
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), argument.strip_prefix("--out=")) {
            ("--check", _) => check = true,
            ("--out", _) => out = Some(PathBuf::from(arguments.next().unwrap_or_default())),
            (_, Some(folder)) => out = Some(PathBuf::from(folder)),
            (other, None) => bail!("`{other}` is no option of `guests`\n\n{USAGE}"),
        }
    }
    match (check, out) {
        (true, Some(_)) => bail!("`--check` writes nothing: leave out `--out`"),
        (true, None) => compare(),
        (false, Some(folder)) if folder.as_os_str().is_empty() => bail!("`--out` needs a folder"),
        (false, out) => guests::build(xtask::root(), out.as_deref()),
    }
}

fn usage() -> String {
    let more = [
        siege::USAGE,
        torture::USAGE,
        soak::USAGE,
        cost::USAGE,
        bench::USAGE,
    ]
    .join("\n\n");
    format!("{USAGE}\n\n{more}")
}

fn besiege(arguments: impl Iterator<Item = String>) -> Result<String> {
    help_or(siege::USAGE, arguments, |arguments| {
        siege::run(xtask::root(), arguments, &mut io::stdout())
    })
}

fn help_or<I: Iterator<Item = String>>(
    usage: &str,
    arguments: I,
    run: impl FnOnce(Peekable<I>) -> Result<String>,
) -> Result<String> {
    let mut arguments = arguments.peekable();
    match arguments.peek().map(String::as_str) {
        Some("help" | "--help" | "-h") => Ok(usage.into()),
        _ => run(arguments),
    }
}

fn compare() -> Result<String> {
    let differences = guests::check(xtask::root())?;
    if differences.is_empty() {
        return Ok("every guest is what its sources say".into());
    }
    bail!("{}\nhelp: cargo xtask guests", differences.join("\n"))
}
