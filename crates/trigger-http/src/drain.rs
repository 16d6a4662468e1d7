//! How a server ends: who is told to finish, and what is still being done.
//!
//! [`Drain`] tells every connection; [`Requests`] counts what they still owe their clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Stopping,
}

/// Tells the accept loop and every connection to finish, then to stop.
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Sender<Phase>);

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain(watch::Sender::new(Phase::Serving))
    }

    /// The first call lets requests in progress finish, the second stops at once.
    pub(crate) fn advance(&self) {
        self.0.send_modify(|phase| {
            *phase = match phase {
                Phase::Serving => Phase::Draining,
                Phase::Draining | Phase::Stopping => Phase::Stopping,
            }
        });
    }

    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow() >= Phase::Draining
    }

    /// Returns once requests in progress are all that is left to do.
    pub(crate) async fn begun(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Returns once nothing is left to wait for.
    pub(crate) async fn stopped(&self) {
        self.reached(Phase::Stopping).await;
    }

    async fn reached(&self, goal: Phase) {
        let mut phase = self.0.subscribe();
        phase
            .wait_for(|phase| *phase >= goal)
            .await
            .expect("`self` holds the sender");
    }
}

/// How many requests a server has not answered in full, and how many there were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Counts>);

/// Side by side: who changes one changes the other.
#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    started: AtomicU64,
}

impl Requests {
    pub(crate) fn count(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    /// Since the server started.
    pub(crate) fn started(&self) -> u64 {
        self.0.started.load(Ordering::Relaxed)
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(&self) -> InProgress {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        self.0.started.fetch_add(1, Ordering::Relaxed);
        InProgress(self.clone())
    }
}

/// One request, from its head to the end of its response's body or to its cancellation.
#[derive(Debug)]
pub(crate) struct InProgress(Requests);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
