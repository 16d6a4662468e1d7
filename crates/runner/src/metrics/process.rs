//! What the system says of this process, as every Prometheus client shows it.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::exposition::{Exposition, Kind};

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// Adds what can be found out: without Linux's `/proc`, or without a descriptor left to read it, less.
pub(super) fn show(page: &mut Exposition, started: SystemTime) {
    let started = started.duration_since(SystemTime::UNIX_EPOCH);
    page.single(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process started, in seconds since 1970.",
        started.as_ref().map_or(0.0, Duration::as_secs_f64),
    );
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        page.single(
            "process_max_fds",
            Kind::Gauge,
            "How many descriptors may be open.",
            limit,
        );
    }
    if let Ok(folder) = fs::read_dir("/proc/self/fd") {
        page.single(
            "process_open_fds",
            Kind::Gauge,
            "How many descriptors are open.",
            // One of them reads the folder.
            folder.count().saturating_sub(1),
        );
    }
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.as_deref().and_then(Stat::parse) {
        stat.show(page);
    }
}

impl Stat {
    /// The name of the process comes second, in parentheses, and may have anything in it.
    fn parse(text: &str) -> Option<Stat> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        // Counted from 1 in the manual, where the field behind the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn show(&self, page: &mut Exposition) {
        page.single(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Time on a processor, user and system.",
            self.cpu_ticks as f64 / clock_ticks_per_second() as f64,
        );
        page.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory in use.",
            self.resident_pages * page_size() as u64,
        );
        page.single(
            "process_virtual_memory_bytes",
            Kind::Gauge,
            "Address space, most of it reserved for instances and never touched.",
            self.virtual_bytes,
        );
        page.single(
            "process_threads",
            Kind::Gauge,
            "How many threads there are.",
            self.threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_behind_the_name() {
        let text = "42 (a) b) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 1000 2048000 300 1844 1";
        let stat = Stat {
            cpu_ticks: 200,
            threads: 9,
            virtual_bytes: 2_048_000,
            resident_pages: 300,
        };
        assert_eq!(Stat::parse(text), Some(stat));
        for text in [
            "",
            "42 (a",
            "42 (a) S 1",
            "42 (a) S x x x x x x x x x x x x x x x x x x x x x x",
        ] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }
}
