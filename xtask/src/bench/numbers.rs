//! What was measured of one contender, and how two compare.

use std::time::Duration;

use super::process::{Memory, Process};
use super::wrk::Asked;
use crate::siege::report::Measure;

/// Of one round.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// Requests in a second.
    rate: f64,
    /// MiB in a second.
    bytes: f64,
    /// In milliseconds: half, 90, 99 and 99.9 of a hundred requests took no longer.
    took: [f64; 4],
    /// In microseconds.
    cpu_per_request: f64,
    memory: Memory,
    errors: f64,
}

/// Of all rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Vec<Numbers>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Rate,
    Bytes,
    P50,
    P90,
    P99,
    P999,
    Cpu,
    Resident,
    Proportional,
    Errors,
}

const ALL: &[(Number, &str, &str)] = &[
    (Number::Rate, "requests a second", ""),
    (Number::Bytes, "bytes a second", "MiB"),
    (Number::P50, "p50", "ms"),
    (Number::P90, "p90", "ms"),
    (Number::P99, "p99", "ms"),
    (Number::P999, "p99.9", "ms"),
    (Number::Cpu, "processor a request", "µs"),
    (Number::Resident, "RSS", "MiB"),
    (Number::Proportional, "PSS", "MiB"),
    (Number::Errors, "errors", ""),
];

impl Numbers {
    pub(super) fn new(asked: &Asked, cpu: Duration, server: &Process) -> Numbers {
        let seconds = asked.length.as_secs_f64().max(f64::MIN_POSITIVE);
        Numbers {
            rate: asked.requests / seconds,
            bytes: asked.bytes / seconds / f64::from(1 << 20),
            took: asked.took.map(|took| took.as_secs_f64() * 1e3),
            cpu_per_request: cpu.as_secs_f64() * 1e6 / asked.requests.max(1.0),
            memory: server.memory(),
            errors: asked.errors,
        }
    }

    fn get(&self, number: Number) -> f64 {
        let [p50, p90, p99, p999] = self.took;
        match number {
            Number::Rate => self.rate,
            Number::Bytes => self.bytes,
            Number::P50 => p50,
            Number::P90 => p90,
            Number::P99 => p99,
            Number::P999 => p999,
            Number::Cpu => self.cpu_per_request,
            Number::Resident => self.memory.resident,
            Number::Proportional => self.memory.proportional,
            Number::Errors => self.errors,
        }
    }
}

impl Rounds {
    pub(super) fn push(&mut self, numbers: Numbers) {
        self.0.push(numbers);
    }

    /// The median of each number.
    pub(super) fn measures(&self) -> Vec<Measure> {
        let told = |(number, what, unit): &(Number, &'static str, &'static str)| {
            let all = self.0.iter().map(|numbers| numbers.get(*number));
            Measure::told(what, median(all.collect()), unit)
        };
        ALL.iter().map(told).collect()
    }

    /// Of each round, this number as a part of that of `other`.
    pub(super) fn over(&self, other: &Rounds, number: Number) -> Vec<f64> {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .map(|(own, other)| own.get(number) / other.get(number).max(f64::MIN_POSITIVE))
            .collect()
    }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// From the least to the most.
pub(super) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{least:.2} to {most:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(rates: &[f64]) -> Rounds {
        let of = |rate: &f64| Numbers {
            rate: *rate,
            bytes: 0.0,
            took: [0.0; 4],
            cpu_per_request: 0.0,
            memory: Memory::default(),
            errors: 0.0,
        };
        Rounds(rates.iter().map(of).collect())
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        let (slow, fast) = (rounds(&[10.0, 30.0, 20.0]), rounds(&[20.0, 40.0, 100.0]));
        let ratios = slow.over(&fast, Number::Rate);
        assert_eq!(ratios, [0.5, 0.75, 0.2]);
        assert_eq!(spread(&ratios), "0.20 to 0.75");
        assert_eq!(median(ratios), 0.5);
    }
}
