//! Whether the machine did what was measured, and little else.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// What others may have had of it, as a share of all that was done and stolen.
pub(super) const QUIET: f64 = 0.1;

/// What its processors have done until now: see `cpu` in proc(5).
pub(super) struct Machine {
    busy: Duration,
    stolen: Duration,
}

impl Machine {
    pub(super) fn now() -> Result<Machine> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Machine::parse(&stat).context("/proc/stat has no line `cpu`")
    }

    fn parse(stat: &str) -> Option<Machine> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        let [
            user,
            nice,
            system,
            _idle,
            _waiting,
            irq,
            softirq,
            stolen,
            ..,
        ] = ticks[..]
        else {
            return None;
        };
        let time =
            |ticks: u64| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
        Some(Machine {
            busy: time(user + nice + system + irq + softirq),
            stolen: time(stolen),
        })
    }

    /// What was done since then and is not `ours`, and what was stolen, as a share of all.
    pub(super) fn other_since(&self, ours: Duration) -> Result<f64> {
        let now = Machine::now()?;
        Ok(self.other_until(&now, ours))
    }

    fn other_until(&self, now: &Machine, ours: Duration) -> f64 {
        let busy = now.busy.saturating_sub(self.busy);
        let stolen = now.stolen.saturating_sub(self.stolen);
        let other = busy.saturating_sub(ours) + stolen;
        let all = (busy + stolen).max(Duration::from_millis(1));
        other.as_secs_f64() / all.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_done_by_others_or_stolen() {
        let before = Machine::parse("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 1 1\n").expect("a line");
        let after = Machine::parse("cpu  300 0 100 9000 9 0 0 100 0 0\n").expect("a line");
        let tick = 1.0 / clock_ticks_per_second() as f64;
        let ours = Duration::from_secs_f64(350.0 * tick);
        let other = before.other_until(&after, ours);
        assert!((other - 150.0 / 500.0).abs() < 1e-6, "{other}");
        assert!(Machine::parse("intr 1 2 3").is_none());
    }
}
