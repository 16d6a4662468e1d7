//! The client: wrk, on a thread of its own.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::process::cpu_of_ended_children;
use super::stage::Stage;
use super::workload::Workload;

/// What it saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Asked {
    pub(super) requests: f64,
    pub(super) length: Duration,
    pub(super) bytes: f64,
    /// No answer, or none that is a success.
    pub(super) errors: f64,
    /// Half, 90, 99 and 99.9 of a hundred took no longer.
    pub(super) took: [Duration; 4],
    /// How long it computed itself.
    pub(super) cpu: Duration,
}

/// Times are whole microseconds there.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("told %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9)))
end
"#;

/// Asks for so long.
pub(super) fn ask(
    stage: &Stage,
    address: SocketAddr,
    workload: &Workload,
    length: Duration,
) -> Result<Asked> {
    let script = stage.file("wrk.lua");
    fs::write(&script, format!("{}{DONE}", workload.script))?;
    let path = workload
        .path
        .replace("{upstream}", &stage.upstream().to_string());
    let before = cpu_of_ended_children();
    let said = Command::new("wrk")
        .args(["--threads", "1"])
        .args(["--connections", &workload.connections.to_string()])
        .args(["--duration", &format!("{}s", length.as_secs().max(1))])
        .args(["--timeout", "10s"])
        .arg("--script")
        .arg(script)
        .arg(format!("http://{address}{path}"))
        .stdin(Stdio::null())
        .output()
        .context("cannot start `wrk`")?;
    let cpu = cpu_of_ended_children().saturating_sub(before);
    let text = String::from_utf8_lossy(&said.stdout);
    let asked = read(&text).with_context(|| format!("wrk said: {text}"))?;
    if asked.requests == 0.0 {
        bail!("nothing was answered: {text}");
    }
    Ok(Asked { cpu, ..asked })
}

fn read(text: &str) -> Option<Asked> {
    let told = text.lines().find_map(|line| line.strip_prefix("told "))?;
    let told: Vec<u64> = told
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let [requests, length, bytes, errors, took @ ..] = &told[..] else {
        return None;
    };
    let took: [u64; 4] = took.try_into().ok()?;
    Some(Asked {
        requests: *requests as f64,
        length: Duration::from_micros(*length),
        bytes: *bytes as f64,
        errors: *errors as f64,
        took: took.map(Duration::from_micros),
        cpu: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_script_tells_is_read() {
        let text = "Running 4s test\ntold 100 4000000 1700 3 10 20 30 40\nRequests/sec: 25\n";
        let expected = Asked {
            requests: 100.0,
            length: Duration::from_secs(4),
            bytes: 1700.0,
            errors: 3.0,
            took: [10, 20, 30, 40].map(Duration::from_micros),
            cpu: Duration::ZERO,
        };
        assert_eq!(read(text), Some(expected));
        assert_eq!(read("told 1 2 3"), None);
    }
}
