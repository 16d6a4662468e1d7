//! What the two halves of one stream tell each other, and its task.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::deadline::Deadline;

/// One stream, as its request's body and its response's body see it.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    too_slow: AtomicBool,
    handed: AtomicU64,
    waits_for_client: AtomicBool,
}

impl Flow {
    /// The request's body has not come in time.
    pub(crate) fn is_too_slow(&self) {
        self.too_slow.store(true, Ordering::Release);
    }

    /// Whether [`Flow::is_too_slow`] was called.
    pub(crate) fn was_too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Acquire)
    }

    /// A part of the response was handed over, and waits for room in the client's window.
    pub(crate) fn handed_over(&self) {
        self.handed.fetch_add(1, Ordering::Relaxed);
        self.waits_for_client.store(true, Ordering::Relaxed);
    }

    /// There is nothing to hand over yet.
    pub(crate) fn waits_for_guest(&self) {
        self.waits_for_client.store(false, Ordering::Relaxed);
    }

    /// What the client is waited for with, if it is.
    fn waiting(&self) -> Option<u64> {
        let waits = self.waits_for_client.load(Ordering::Relaxed);
        waits.then(|| self.handed.load(Ordering::Relaxed))
    }
}

/// Runs the task of a stream. Ends early, which resets the stream and drops its guest, when the client has left no room
/// in its window for as long as a stall may last.
pub(crate) async fn patiently(task: impl Future<Output = ()>, flow: Arc<Flow>, stall: Duration) {
    let mut task = pin!(task);
    let mut stalled = Stalled::default();
    poll_fn(|cx| {
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let ended = stalled.poll(cx, flow.waiting(), stall);
        if ended.is_ready() {
            tracing::debug!("a client takes nothing of a response: its stream is reset");
        }
        ended
    })
    .await;
}

/// Since when a client is waited for, with the same part of a response.
#[derive(Default)]
struct Stalled(Option<(u64, Deadline)>);

impl Stalled {
    /// Ready when `part` has waited for too long.
    fn poll(&mut self, cx: &mut Context<'_>, part: Option<u64>, stall: Duration) -> Poll<()> {
        let before = self.0.as_ref().map(|(before, _)| *before);
        if before != part {
            self.0 = part.map(|part| (part, Deadline::new(stall)));
        }
        match &mut self.0 {
            Some((_, deadline)) => deadline.poll(cx),
            None => Poll::Pending,
        }
    }
}
