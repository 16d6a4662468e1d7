//! When what was handed to hyper has been written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Counts how often a connection has written all that it could.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    count: u64,
    connection: Option<Waker>,
    waiting: Vec<Waker>,
}

impl Turns {
    /// The connection's task has run, and whether everything was written.
    pub(crate) fn ran(&self, cx: &mut Context<'_>, flushed: bool) {
        let mut turns = self.lock();
        if !matches!(&turns.connection, Some(waker) if waker.will_wake(cx.waker())) {
            turns.connection = Some(cx.waker().clone());
        }
        if flushed {
            turns.count += 1;
            turns.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// Ready when the connection has begun and ended a turn since `*from` was set, which this does when it is `None`.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>, from: &mut Option<u64>) -> Poll<()> {
        let mut turns = self.lock();
        let from = *from.get_or_insert(turns.count);
        // The first may have been half over.
        if turns.count >= from + 2 {
            return Poll::Ready(());
        }
        turns.waiting.push(cx.waker().clone());
        if let Some(connection) = &turns.connection {
            connection.wake_by_ref();
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
