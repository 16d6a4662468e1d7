//! The numbers of one component, and where an observation belongs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use runner_host::{Limit, Reason};

use super::OTHER;

/// The methods that OpenTelemetry knows, and one name for all the rest.
pub(super) const METHODS: [&str; 11] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE", OTHER,
];

/// What statuses begin with.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The bounds that OpenTelemetry advises for durations of requests, and some below and above: a guest may answer within
/// a fraction of a millisecond, and has 30 s for it.
pub(super) const BOUNDS: [Duration; 18] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(75),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_millis(7_500),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// One component's numbers, or those of requests without one.
#[derive(Default)]
pub(super) struct Cells {
    /// By method and class; made when the first of its kind has ended.
    requests: [[OnceLock<Box<Histogram>>; CLASSES.len()]; METHODS.len()],
    inside: [AtomicU64; CLASSES.len()],
    pub(super) client_gone: AtomicU64,
    pub(super) guest_failed: AtomicU64,
    faults: [AtomicU64; Reason::ALL.len()],
    pub(super) allowed: AtomicU64,
    /// Calls out, by how they ended.
    pub(super) calls: Outcomes,
    /// Denials of a component that is gone: its rules are gone too.
    pub(super) denied: AtomicU64,
    pub(super) log_dropped: AtomicU64,
    limits: [AtomicU64; Limit::ALL.len()],
}

impl Cells {
    /// A request that came over a connection has ended.
    pub(super) fn request(&self, method: &Method, status: StatusCode, duration: Duration) {
        self.requests[method_of(method)][class_of(status)]
            .get_or_init(Default::default)
            .observe(duration);
    }

    /// A request that came from inside the app has ended.
    pub(super) fn inside(&self, status: StatusCode) {
        add(&self.inside[class_of(status)]);
    }

    /// A request has failed, or what its guest did after it.
    pub(super) fn fault(&self, reason: Reason) {
        add(&self.faults[reason as usize]);
    }

    /// The reasons that there were.
    pub(super) fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = Reason::ALL.iter().zip(&self.faults);
        let counts = reasons.map(|(reason, count)| (reason.as_str(), read(count)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// A limit was hit.
    pub(super) fn hit(&self, limit: Limit) {
        add(&self.limits[limit as usize]);
    }

    /// So many bytes of log were dropped; none where that is only told once more.
    pub(super) fn dropped(&self, bytes: u64, limit: Limit) {
        if bytes > 0 {
            self.log_dropped.fetch_add(bytes, Ordering::Relaxed);
            self.hit(limit);
        }
    }

    /// The limits that were hit.
    pub(super) fn hits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let limits = Limit::ALL.iter().zip(&self.limits);
        let counts = limits.map(|(limit, count)| (limit.as_str(), read(count)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Those kinds of requests that there were, each with its method and class.
    pub(super) fn requests(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
        METHODS
            .iter()
            .zip(&self.requests)
            .flat_map(|(method, classes)| {
                let made = CLASSES.iter().zip(classes);
                made.filter_map(|(class, cell)| Some((*method, *class, &**cell.get()?)))
            })
    }

    /// The classes that there were.
    pub(super) fn insides(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let classes = CLASSES.iter().zip(&self.inside);
        let counts = classes.map(|(class, count)| (*class, read(count)));
        counts.filter(|(_, count)| *count > 0)
    }
}

/// More names than there are: the classes of statuses, `denied`, and the errors that a guest can be told.
const MOST_OUTCOMES: usize = 32;

/// A histogram for each of few names, which the program itself chooses.
#[derive(Default)]
pub(super) struct Outcomes([OnceLock<Box<(&'static str, Histogram)>>; MOST_OUTCOMES]);

impl Outcomes {
    /// The first free slot becomes the name's. Should there ever be too many names, the last slot takes them all.
    pub(super) fn observe(&self, name: &'static str, duration: Duration) {
        for (at, slot) in self.0.iter().enumerate() {
            let (of, histogram) = &**slot.get_or_init(|| match at + 1 {
                MOST_OUTCOMES => Box::new((OTHER, Histogram::default())),
                _ => Box::new((name, Histogram::default())),
            });
            if *of == name || at + 1 == MOST_OUTCOMES {
                return histogram.observe(duration);
            }
        }
    }

    /// Those that there were.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let made = self.0.iter().map_while(OnceLock::get);
        made.map(|slot| (slot.0, &slot.1))
    }
}

/// How long something took, how often.
#[derive(Default)]
pub(super) struct Histogram {
    /// Each counts what is within its bound and beyond the one before; the last counts what is beyond all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let bucket = BOUNDS.iter().position(|bound| duration <= *bound);
        add(&self.buckets[bucket.unwrap_or(BOUNDS.len())]);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How many were within each bound, and then how many there were.
    pub(super) fn counts(&self) -> [u64; BOUNDS.len() + 1] {
        let mut total = 0;
        self.buckets.each_ref().map(|bucket| {
            total += read(bucket);
            total
        })
    }

    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(read(&self.nanoseconds)).as_secs_f64()
    }
}

pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn method_of(method: &Method) -> usize {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

fn class_of(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

/// How a call out is said to have ended that was answered.
pub(super) fn class_name(status: StatusCode) -> &'static str {
    CLASSES[class_of(status)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_statuses_have_few_names() {
        for (method, name) in [
            ("GET", "GET"),
            ("QUERY", "QUERY"),
            ("get", OTHER),
            ("PROPFIND", OTHER),
            ("_OTHER", OTHER),
            ("\"}", OTHER),
        ] {
            let Ok(method) = Method::from_bytes(method.as_bytes()) else {
                continue;
            };
            assert_eq!(METHODS[method_of(&method)], name, "{method}");
        }
        for (status, class) in [(100, "1xx"), (204, "2xx"), (499, "4xx"), (999, "5xx")] {
            let status = StatusCode::from_u16(status).expect("three digits");
            assert_eq!(CLASSES[class_of(status)], class, "{status}");
        }
    }

    #[test]
    fn outcomes_are_few() {
        const NAMES: [&str; 3] = ["2xx", "denied", "2xx"];
        let outcomes = Outcomes::default();
        for name in NAMES {
            outcomes.observe(name, Duration::ZERO);
        }
        let counts = |outcomes: &Outcomes| -> Vec<(&str, u64)> {
            let all = outcomes.all();
            all.map(|(name, found)| (name, found.counts()[BOUNDS.len()]))
                .collect()
        };
        assert_eq!(counts(&outcomes), [("2xx", 2), ("denied", 1)]);
        for n in 0..MOST_OUTCOMES {
            outcomes.observe(Box::leak(format!("made up {n}").into()), Duration::ZERO);
        }
        let many = counts(&outcomes);
        assert_eq!(many.len(), MOST_OUTCOMES);
        assert_eq!(many.last(), Some(&(OTHER, 3)));
    }

    #[test]
    fn a_histogram_counts_within_its_bounds() {
        let histogram = Histogram::default();
        for microseconds in [100, 500, 501, 5_000, 60_000_000] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let mut expected = [4; BOUNDS.len() + 1];
        expected[..3].copy_from_slice(&[2, 3, 3]);
        expected[BOUNDS.len()] = 5;
        assert_eq!(histogram.counts(), expected);
        assert_eq!(histogram.seconds(), 60.006_101);
        assert!(BOUNDS.is_sorted());
    }
}
