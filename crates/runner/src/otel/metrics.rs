//! What is counted for a collector. Names and attributes follow OpenTelemetry's conventions for HTTP.
//!
//! However many kinds of requests clients and guests make up, there are at most [`SERIES`] of each metric; what is beyond
//! goes into one that says so. An upstream is no attribute, for a rule may allow any number of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runner_host::{CallOutcome, Called, Record};
use runner_manifest::ComponentId;

use super::proto::{Data, Distribution, KeyValue, Metric, Period, Point, int, text, yes};
use super::spans::{app, error_of, error_of_call, known};

/// As many series of one metric as OpenTelemetry's own libraries keep.
const SERIES: usize = 2000;

/// In seconds, as the conventions advise for HTTP.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Everything that is counted, since `start`.
pub(super) struct Metrics {
    start: u64,
    requests: Series<OfRequest, Durations>,
    calls: Series<OfCall, Durations>,
    denials: Series<OfDenial, u64>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct OfRequest {
    app: Option<Arc<str>>,
    method: &'static str,
    scheme: Option<&'static str>,
    route: Option<String>,
    status: u16,
    component: Option<ComponentId>,
    error: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct OfCall {
    app: Option<Arc<str>>,
    method: &'static str,
    component: ComponentId,
    status: Option<u16>,
    error: Option<String>,
}

/// The app, where several are served, and the component.
#[derive(Clone, PartialEq, Eq, Hash)]
struct OfDenial {
    app: Option<Arc<str>>,
    component: ComponentId,
}

#[derive(Clone, Default)]
struct Durations {
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

/// What is counted by one kind of key.
struct Series<K, V> {
    known: Mutex<HashMap<Option<K>, V>>,
}

impl<K: Clone + Eq + Hash, V: Clone + Default> Series<K, V> {
    fn new() -> Series<K, V> {
        Series {
            known: Mutex::default(),
        }
    }

    /// Changes the value of `key`, or of all those that have no room of their own.
    fn add(&self, key: K, change: impl FnOnce(&mut V)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Some(key);
        let has_room = known.len() < SERIES || known.contains_key(&key);
        change(known.entry(if has_room { key } else { None }).or_default());
    }

    fn all(&self) -> Vec<(Option<K>, V)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = known.iter();
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl Metrics {
    /// Nothing yet, at this time.
    pub(super) fn new(start: u64) -> Metrics {
        Metrics {
            start,
            requests: Series::new(),
            calls: Series::new(),
            denials: Series::new(),
        }
    }

    /// A request has ended. Those from inside the app are calls.
    pub(super) fn request(&self, record: &Record, app: Option<&Arc<str>>) {
        if record.client.is_none() {
            return;
        }
        let key = OfRequest {
            app: app.cloned(),
            method: known(&record.method),
            scheme: record.server.as_ref().map(|(scheme, _)| *scheme),
            route: record.route.clone(),
            status: record.status.as_u16(),
            component: record.component.clone(),
            error: error_of(record).map(Into::into),
        };
        self.requests
            .add(key, |durations| durations.add(record.duration));
    }

    /// A call out has ended.
    pub(super) fn call(&self, called: &Called<'_>, app: Option<&Arc<str>>) {
        let component = called.component.clone();
        let status = match called.outcome {
            CallOutcome::Denied => {
                let app = app.cloned();
                return self
                    .denials
                    .add(OfDenial { app, component }, |count| *count += 1);
            }
            CallOutcome::Status(status) => Some(status),
            CallOutcome::Error(_) => None,
        };
        let key = OfCall {
            app: app.cloned(),
            method: known(called.method),
            component,
            status,
            error: error_of_call(called.outcome).map(Into::into),
        };
        self.calls
            .add(key, |durations| durations.add(called.duration));
    }

    /// Since when it counts, until `now`.
    pub(super) fn period(&self, now: u64) -> Period {
        let start = self.start;
        Period { start, now }
    }

    /// All of it, with the requests that are under way.
    pub(super) fn collect(&self, active: usize) -> Vec<Metric> {
        let active = Point {
            attributes: Vec::new(),
            value: u64::try_from(active).unwrap_or(u64::MAX),
        };
        let requests = points(&self.requests, of_request, Durations::told);
        let calls = points(&self.calls, of_call, Durations::told);
        let denials = points(&self.denials, of_denial, |count| count);
        let metric = |name, unit, data| Metric { name, unit, data };
        vec![
            metric(
                "http.server.request.duration",
                "s",
                Data::Histogram(requests),
            ),
            metric(
                "http.server.active_requests",
                "{request}",
                Data::Level(vec![active]),
            ),
            metric("http.client.request.duration", "s", Data::Histogram(calls)),
            metric("runner.denials", "{call}", Data::Count(denials)),
        ]
    }
}

impl Durations {
    fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())] += 1;
        self.seconds += seconds;
    }

    fn told(self) -> Distribution {
        Distribution {
            bounds: &BOUNDS,
            buckets: self.buckets.to_vec(),
            sum: self.seconds,
        }
    }
}

fn points<K: Clone + Eq + Hash, V: Clone + Default, T>(
    series: &Series<K, V>,
    of: impl Fn(K) -> Vec<KeyValue>,
    told: impl Fn(V) -> T,
) -> Vec<Point<T>> {
    let all = series.all().into_iter();
    all.map(|(key, value)| Point {
        attributes: attributes(key, &of),
        value: told(value),
    })
    .collect()
}

/// Those of a key, or the one of all that had no room.
fn attributes<K>(key: Option<K>, of: impl FnOnce(K) -> Vec<KeyValue>) -> Vec<KeyValue> {
    key.map_or_else(|| vec![yes("otel.metric.overflow")], of)
}

fn of_request(key: OfRequest) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("http.request.method", key.method),
        int("http.response.status_code", key.status),
    ];
    attributes.extend(app(key.app.as_ref()));
    attributes.extend(key.scheme.map(|scheme| text("url.scheme", scheme)));
    attributes.extend(key.route.map(|route| text("http.route", route)));
    attributes.extend(key.component.into_iter().flat_map(of_component));
    attributes.extend(key.error.map(|error| text("error.type", error)));
    attributes
}

fn of_call(key: OfCall) -> Vec<KeyValue> {
    let mut attributes = vec![text("http.request.method", key.method)];
    attributes.extend(app(key.app.as_ref()));
    attributes.extend(of_component(key.component));
    let status = key.status;
    attributes.extend(status.map(|status| int("http.response.status_code", status)));
    attributes.extend(key.error.map(|error| text("error.type", error)));
    attributes
}

fn of_denial(key: OfDenial) -> Vec<KeyValue> {
    let mut attributes = of_component(key.component);
    attributes.extend(app(key.app.as_ref()));
    attributes
}

fn of_component(id: ComponentId) -> Vec<KeyValue> {
    vec![text("runner.component", id.as_str())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_series_are_bounded_and_none_is_lost() {
        let series = Series::<usize, u64>::new();
        for key in 0..2 * SERIES {
            series.add(key, |count| *count += 1);
            series.add(0, |count| *count += 1);
        }
        let all = series.all();
        assert_eq!(all.len(), SERIES + 1);
        let count = |key| all.iter().find(|(found, _)| *found == key).map(|(_, n)| *n);
        assert_eq!(count(Some(0)), Some(1 + 2 * SERIES as u64));
        assert_eq!(count(None), Some(SERIES as u64));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut durations = Durations::default();
        for milliseconds in [0, 5, 6, 10_000, 10_001] {
            durations.add(Duration::from_millis(milliseconds));
        }
        let mut expected = [0; BOUNDS.len() + 1];
        (expected[0], expected[1], expected[13], expected[14]) = (2, 1, 1, 1);
        assert_eq!(durations.buckets, expected);
        assert!((durations.seconds - 20.012).abs() < 1e-9);
    }
}
