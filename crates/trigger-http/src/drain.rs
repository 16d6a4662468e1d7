//! How a server ends: who is told to finish, and what is still being done.
//!
//! [`Drain`] tells every connection; [`Progress`] is one connection's account of what it still owes its client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

/// How many requests a server has not answered in full.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<AtomicUsize>);

impl Requests {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one connection still owes its client.
#[derive(Debug)]
pub(crate) struct Progress {
    all: Requests,
    here: AtomicUsize,
    unflushed: AtomicBool,
    cut_short: AtomicBool,
}

impl Progress {
    pub(crate) fn new(all: Requests) -> Arc<Progress> {
        Arc::new(Progress {
            all,
            here: AtomicUsize::new(0),
            unflushed: false.into(),
            cut_short: false.into(),
        })
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Progress>) -> InProgress {
        self.all.0.fetch_add(1, Ordering::Relaxed);
        self.here.fetch_add(1, Ordering::Relaxed);
        InProgress(self.clone())
    }

    /// Whether a response is being made, sent, or waits in a buffer of ours.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_answering() || self.unflushed.load(Ordering::Relaxed)
    }

    /// Whether the client left before its request was complete.
    pub(crate) fn was_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Relaxed)
    }

    pub(crate) fn wrote(&self) {
        self.unflushed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self) {
        self.unflushed.store(false, Ordering::Relaxed);
    }

    /// The client will send no more. While a response is being made, HTTP/1 reads for the request's body only.
    pub(crate) fn read_ended(&self) {
        if self.is_answering() {
            self.cut_short.store(true, Ordering::Relaxed);
        }
    }

    fn is_answering(&self) -> bool {
        self.here.load(Ordering::Relaxed) > 0
    }
}

/// One request, from its head to the end of its response's body or to its cancellation.
#[derive(Debug)]
pub(crate) struct InProgress(Arc<Progress>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.here.fetch_sub(1, Ordering::Relaxed);
        self.0.all.0.fetch_sub(1, Ordering::Relaxed);
    }
}
