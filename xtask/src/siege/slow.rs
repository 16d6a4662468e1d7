//! `slowhttptest`: heads and bodies that drip, and readers that hardly read.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::siege::ground::{Ground, has};
use crate::siege::honest::Honest;
use crate::siege::report::{Finding, Measure};

/// One of its modes.
struct Mode {
    name: &'static str,
    flags: &'static [&'static str],
    path: &'static str,
}

const MODES: &[Mode] = &[
    Mode {
        name: "slow heads",
        flags: &["-H", "-i", "5"],
        path: "/hello",
    },
    Mode {
        name: "slow bodies",
        flags: &["-B", "-i", "5", "-s", "65536"],
        path: "/echo",
    },
    Mode {
        name: "slow readers",
        flags: &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"],
        path: "/big?bytes=10000000",
    },
];

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    if !has("slowhttptest") {
        return Ok(vec![Finding::left_out(
            "slow",
            "`slowhttptest` is not installed",
        )]);
    }
    MODES.iter().map(|mode| besiege(ground, mode)).collect()
}

fn besiege(ground: &Ground, mode: &Mode) -> Result<Finding> {
    let runner = ground.start(&mode.name.replace(' ', "-"), &[])?;
    let connections = ground.connections(ground.pick(1_000, 300)).to_string();
    let honest = Honest::start(runner.address(), None)?;
    let seconds = ground.pick("45", "15");
    let output = Command::new("slowhttptest")
        .args(["-c", &connections, "-r", "250", "-l", seconds, "-p", "5"])
        .args(mode.flags)
        .args(["-u", &format!("http://{}{}", runner.address(), mode.path)])
        .stdin(Stdio::null())
        .output()?;
    let honest = honest.finish();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut measures = vec![
        Measure::told("most connected at once", most(&said, "connected:"), "").at_least(1.0),
        Measure::told("closed by the server", most(&said, "closed:"), ""),
    ];
    measures.extend(honest.measures());
    Ok(Finding::new(mode.name, measures).noting(honest.notes()))
}

/// The largest number that it ever printed behind this word.
fn most(said: &str, word: &str) -> f64 {
    plain(said)
        .lines()
        .filter_map(|line| line.trim().strip_prefix(word))
        .filter_map(|rest| rest.trim().parse::<f64>().ok())
        .fold(0.0, f64::max)
}

/// Without the colours: what lies between an escape character and the letter that ends its sequence.
fn plain(said: &str) -> String {
    let mut parts = said.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_read_through_its_colours() {
        let said = "\u{1b}[1;32mconnected:   \u{1b}[1;32m        12\n\
                    \u{1b}[1;32mconnected:   \u{1b}[1;32m        200\nclosed: 7\n";
        assert_eq!(most(said, "connected:"), 200.0);
        assert_eq!(most(said, "closed:"), 7.0);
        assert_eq!(most(said, "error:"), 0.0);
    }
}
