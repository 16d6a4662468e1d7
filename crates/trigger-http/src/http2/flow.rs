//! What the two halves of one stream tell each other, and its task.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// One stream, as its request's body and its response's body see it.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    too_slow: AtomicBool,
    told: Notify,
    handed: AtomicU64,
    waits_for_client: AtomicBool,
}

impl Flow {
    /// The request's body has not come in time.
    pub(crate) fn is_too_slow(&self) {
        self.too_slow.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Whether [`Flow::is_too_slow`] was called.
    pub(crate) fn was_too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Acquire)
    }

    /// Returns when [`Flow::is_too_slow`] was called.
    pub(crate) async fn too_slow(&self) {
        self.told.notified().await;
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

/// The task of a stream. It ends, which resets the stream and drops its guest, when the client has left no room in its
/// window for as long as a stall may last.
pub(crate) struct Patient<F> {
    task: F,
    flow: Arc<Flow>,
    stall: Duration,
    waiting: Option<(u64, Pin<Box<Sleep>>)>,
}

impl<F> Patient<F> {
    pub(crate) fn new(task: F, flow: Arc<Flow>, stall: Duration) -> Patient<F> {
        Patient {
            task,
            flow,
            stall,
            waiting: None,
        }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(part) = self.flow.waiting() else {
            self.waiting = None;
            return Poll::Pending;
        };
        if !matches!(&self.waiting, Some((before, _)) if *before == part) {
            self.waiting = Some((part, Box::pin(sleep(self.stall))));
        }
        match &mut self.waiting {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F: Future<Output = ()> + Unpin> Future for Patient<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.task).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_stall(cx).is_ready() {
            tracing::debug!("a client takes nothing of a response: its stream is reset");
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
