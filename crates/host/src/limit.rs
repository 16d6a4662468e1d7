//! The limits that a component can hit while it runs: their names, and when a hit is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runner_manifest::ComponentId;
use tokio::time::Instant;

use crate::event::{Event, Events, RequestId};

/// Equal hits within this time of one that was told are counted, not told.
const WINDOW: Duration = Duration::from_secs(10);

/// A limit, by the key of the manifest that sets it, where one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests at a time, of a component or of its app, and those that wait.
    Concurrency,
    /// Bytes of a request's body.
    RequestBody,
    /// Bytes of a response's body.
    ResponseBody,
    /// Bytes of log.
    LogRate,
    /// Bytes of one line of log.
    LogLine,
    /// Outbound calls at a time, of one instance or of all of a component.
    OutboundConcurrency,
    /// Outbound calls in a time.
    OutboundRate,
    /// Files and folders that are open at a time, of one instance or of all of an app.
    OpenFiles,
}

impl Limit {
    /// Every one there is.
    pub const ALL: [Limit; 8] = [
        Limit::Concurrency,
        Limit::RequestBody,
        Limit::ResponseBody,
        Limit::LogRate,
        Limit::LogLine,
        Limit::OutboundConcurrency,
        Limit::OutboundRate,
        Limit::OpenFiles,
    ];

    /// Its name in logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Concurrency => "concurrency",
            Limit::RequestBody => "request_body",
            Limit::ResponseBody => "response_body",
            Limit::LogRate => "log_rate",
            Limit::LogLine => "log_line",
            Limit::OutboundConcurrency => "outbound_concurrency",
            Limit::OutboundRate => "outbound_rate",
            Limit::OpenFiles => "open_files",
        }
    }
}

/// The hits of one component: every one is an event, and one in [`WINDOW`] is to be told.
pub(crate) struct Hits {
    pub(crate) events: Events,
    pub(crate) component: ComponentId,
    start: Instant,
    folds: [Fold; Limit::ALL.len()],
}

/// Hits of one limit.
#[derive(Default)]
struct Fold {
    /// When the next may be told, in milliseconds.
    next: AtomicU64,
    folded: AtomicU64,
}

impl Hits {
    pub(crate) fn new(events: Events, component: ComponentId) -> Hits {
        Hits {
            events,
            component,
            start: Instant::now(),
            folds: Default::default(),
        }
    }

    /// A request of this component has hit a limit, which by itself ends nothing that would be told.
    pub(crate) fn hit(&self, limit: Limit, request_id: RequestId) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.events)(Event::Limit {
            component: &self.component,
            request_id,
            limit,
            folded: self.folds[limit as usize].at(now),
        });
    }
}

impl Fold {
    /// How many were folded since the last one told, where this one is to be told.
    fn at(&self, now: u64) -> Option<u64> {
        let order = Ordering::Relaxed;
        let next = self.next.load(order);
        let after = now.saturating_add(WINDOW.as_millis() as u64);
        // Of two that come at once, one is told.
        let is_told = now >= next
            && self
                .next
                .compare_exchange(next, after, order, order)
                .is_ok();
        if is_told {
            return Some(self.folded.swap(0, order));
        }
        self.folded.fetch_add(1, order);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_its_own_place_and_name() {
        for (at, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, at);
        }
        let names: std::collections::BTreeSet<_> = Limit::ALL.map(Limit::as_str).into();
        assert_eq!(names.len(), Limit::ALL.len());
    }

    #[test]
    fn one_hit_in_ten_seconds_is_told_with_the_number_of_the_others() {
        let fold = Fold::default();
        for (milliseconds, told) in [
            (0, Some(0)),
            (1, None),
            (9_999, None),
            (10_000, Some(2)),
            (10_001, None),
            (60_000, Some(1)),
            (70_000, Some(0)),
        ] {
            assert_eq!(fold.at(milliseconds), told, "{milliseconds}");
        }
    }
}
