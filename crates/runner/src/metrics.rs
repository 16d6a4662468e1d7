//! What `/metrics` shows, in the text format of Prometheus. `docs/operations.md` says what each is and how many series.
//!
//! It listens to the host's events on the way to the log. What it counts is there before a request comes: an event finds
//! its component's cells by one look-up and adds to a few numbers, and takes no lock. The first observation of its kind
//! (say, the first `PUT` that is a 404) allocates its histogram, once. Without `--admin` there is none of it.
//!
//! Every label has few values, whatever clients and guests send: components and rules are those of the manifest, apps are
//! those that the process was started with, a method
//! is a known one or `_OTHER`, a status is its class. A component that a reload has taken away is no longer shown, and
//! what ends after that is counted under `_OTHER`.
//!
//! No crate does it, because those that are kept well lock: `prometheus-client` has a mutex in each histogram and a
//! read-write lock in each family, and looks up all labels at each event.

mod cells;
mod exposition;
mod page;
mod process;
mod rules;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::StatusCode;
use runner_host::{
    App, CallOutcome, Decision, Engine, Event, Events, Outcome, Reason, Record, Verdict,
};
use runner_manifest::ComponentId;
use runner_trigger_http::Handle;

use self::cells::{Cells, add, class_name};
use self::rules::Rules;
use crate::telemetry::Dropped;

/// What has left the manifest, or was never in it.
const OTHER: &str = "_OTHER";

/// Counts for as long as the process lives; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    started: SystemTime,
    engine: Engine,
    dropped: Vec<(&'static str, Dropped)>,
    apps: Mutex<Vec<Counts>>,
}

/// What is counted of one app; cheap to clone.
#[derive(Clone)]
pub(crate) struct Counts(Arc<OfApp>);

struct OfApp {
    /// Its label, where several apps are served; `""` is for requests that are for none of them.
    name: Option<Box<str>>,
    components: ArcSwap<HashMap<ComponentId, Component>>,
    /// Requests that no component served.
    nobody: Cells,
    /// Components that are gone.
    others: Cells,
    reloads: [AtomicU64; 2],
}

/// One component of the manifest.
#[derive(Clone, Default)]
struct Component {
    cells: Arc<Cells>,
    rules: Rules,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reload {
    Done,
    Failed,
}

/// What is not counted but is, at the moment of a scrape.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    in_flight: usize,
    started: u64,
    stats: runner_trigger_http::Stats,
}

impl Gauges {
    /// Asks a running server.
    pub(crate) fn of(handle: &Handle) -> Gauges {
        Gauges {
            in_flight: handle.in_flight(),
            started: handle.started(),
            stats: handle.stats().clone(),
        }
    }
}

impl Metrics {
    /// `dropped` are the logs, and how many of their lines nobody will read.
    pub(crate) fn new(engine: Engine, dropped: Vec<(&'static str, Dropped)>) -> Metrics {
        Metrics(Arc::new(Inner {
            started: SystemTime::now(),
            engine,
            dropped,
            apps: Mutex::default(),
        }))
    }

    /// What is to be counted of one app more. Without a name there is no label for it: it is the only one.
    pub(crate) fn of_app(&self, name: Option<&str>) -> Counts {
        let counts = Counts(Arc::new(OfApp {
            name: name.map(Into::into),
            components: ArcSwap::default(),
            nobody: Cells::default(),
            others: Cells::default(),
            reloads: Default::default(),
        }));
        let mut apps = self.0.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.push(counts.clone());
        counts
    }
}

impl Counts {
    /// Counts every event on its way to `next`.
    pub(crate) fn listening(&self, next: Events) -> Events {
        let counts = self.clone();
        Arc::new(move |event| {
            counts.take(&event);
            next(event);
        })
    }

    /// Counts for the components of `app` from now on; those that were there before go on. To be called before it serves.
    pub(crate) fn follow(&self, app: &App) {
        let known = self.0.components.load();
        let components = app.components().keys().map(|id| {
            let before = known.get(id).cloned().unwrap_or_default();
            let rules = match app.grants(id) {
                Some(grants) => before.rules.follow(grants),
                None => Rules::default(),
            };
            let cells = before.cells;
            (id.clone(), Component { cells, rules })
        });
        let components = components.collect();
        self.0.components.store(Arc::new(components));
    }

    /// A reload has ended.
    pub(crate) fn reloaded(&self, how: Reload) {
        add(&self.0.reloads[how as usize]);
    }

    fn take(&self, event: &Event<'_>) {
        match event {
            Event::Request(record) => self.request(record),
            Event::Decision(decision) => self.decision(decision),
            // What stays inside the app is in the counts of who answered it.
            Event::Call(called) if called.is_inside() => {}
            Event::Call(called) => {
                self.called(called.component, called.outcome, called.duration);
            }
            // Each was a decision before, and those are never folded.
            Event::Denied { .. } => {}
            Event::Failed {
                component, error, ..
            } => {
                self.failed(component, error.reason());
                if let Some(limit) = error.limit() {
                    self.of(component, |cells| cells.hit(limit));
                }
            }
            Event::Limit {
                component, limit, ..
            } => self.of(component, |cells| cells.hit(*limit)),
            Event::LogDropped {
                component,
                bytes,
                limit,
                ..
            } => self.of(component, |cells| cells.dropped(*bytes, *limit)),
            Event::Line { .. } | Event::Loading { .. } | Event::Cache { .. } => {}
        }
    }

    fn of(&self, component: &ComponentId, count: impl FnOnce(&Cells)) {
        let components = self.0.components.load();
        let component = components.get(component);
        count(component.map_or(&self.0.others, |component| &component.cells));
    }

    fn request(&self, record: &Record) {
        let components = self.0.components.load();
        let cells = match &record.component {
            None => &self.0.nobody,
            Some(id) => components
                .get(id)
                .map_or(&self.0.others, |component| &component.cells),
        };
        match record.client {
            Some(_) => cells.request(&record.method, record.status, record.duration),
            None => cells.inside(record.status),
        }
        match record.outcome {
            Outcome::Complete => {}
            Outcome::ClientGone => add(&cells.client_gone),
            Outcome::GuestFailed => add(&cells.guest_failed),
        }
    }

    fn failed(&self, component: &ComponentId, reason: Reason) {
        let components = self.0.components.load();
        let component = components.get(component);
        let cells = component.map_or(&self.0.others, |component| &component.cells);
        cells.fault(reason);
    }

    /// A call out has ended.
    fn called(&self, component: &ComponentId, outcome: CallOutcome, duration: Duration) {
        let outcome = match outcome {
            CallOutcome::Status(status) => StatusCode::from_u16(status).map_or("other", class_name),
            CallOutcome::Denied => "denied",
            CallOutcome::Error(name) => name,
        };
        self.of(component, |cells| cells.calls.observe(outcome, duration));
    }

    fn decision(&self, decision: &Decision<'_>) {
        let components = self.0.components.load();
        let component = components.get(decision.component);
        let cells = component.map_or(&self.0.others, |component| &component.cells);
        match (decision.verdict, component) {
            (Verdict::Allow { .. }, _) => add(&cells.allowed),
            (Verdict::Deny(denied), Some(component)) => {
                component.rules.denied(decision.generation, denied);
            }
            (Verdict::Deny(_), None) => add(&cells.denied),
        }
    }
}

#[cfg(test)]
mod tests;
