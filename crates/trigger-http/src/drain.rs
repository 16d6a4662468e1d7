//! How a server ends: who is told to finish, and what is still being done.
//!
//! [`Drain`] tells every connection; [`Requests`] counts what they still owe their clients.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Context;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Stopping,
}

/// Tells the accept loop and every connection to finish, then to stop.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    phase: watch::Sender<Phase>,
    /// What `phase` says too: each request asks for it, and a lock would pass from core to core.
    has_begun: Arc<AtomicBool>,
}

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain {
            phase: watch::Sender::new(Phase::Serving),
            has_begun: Arc::default(),
        }
    }

    /// The first call lets requests in progress finish, the second stops at once.
    pub(crate) fn advance(&self) {
        self.has_begun.store(true, Ordering::Release);
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Serving => Phase::Draining,
                Phase::Draining | Phase::Stopping => Phase::Stopping,
            }
        });
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// What wakes a task once draining has begun.
    pub(crate) fn alarm(&self) -> Alarm {
        let drain = self.clone();
        Alarm {
            rings: Box::pin(async move { drain.begun().await }),
            is_set: false,
        }
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
        let mut phase = self.phase.subscribe();
        phase
            .wait_for(|phase| *phase >= goal)
            .await
            .expect("`self` holds the sender");
    }
}

/// Wakes one task, when [`Drain::has_begun`] is true for the first time.
pub(crate) struct Alarm {
    rings: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_set: bool,
}

impl Alarm {
    /// For the task of `cx`, which has to be the same each time: setting it again costs nothing.
    pub(crate) fn set(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.is_set, true) {
            // Where it has begun already, whoever sets it sees that next.
            let _ = self.rings.as_mut().poll(cx);
        }
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
