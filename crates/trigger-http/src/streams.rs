//! The tasks of one HTTP/2 connection's streams: they end with it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::JoinSet;

use crate::http2::flow::{Flow, patiently};

/// Owns the tasks; dropping it aborts those that have not finished.
#[derive(Debug)]
pub(crate) struct Streams {
    tasks: Arc<Mutex<JoinSet<()>>>,
    next: Next,
    stall: Duration,
}

/// The flow of the request that hyper has just handed over: it spawns the task of that stream before it takes another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Next(Arc<Mutex<Option<Arc<Flow>>>>);

impl Next {
    pub(crate) fn is(&self, flow: Arc<Flow>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(flow);
    }

    fn take(&self) -> Arc<Flow> {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        next.take().unwrap_or_default()
    }
}

impl Streams {
    /// `stall`: how long a stream's client may leave no room for a response.
    pub(crate) fn new(stall: Duration) -> Streams {
        Streams {
            tasks: Arc::default(),
            next: Next::default(),
            stall,
        }
    }

    /// Where the flow of a stream is put before its task is spawned.
    pub(crate) fn next(&self) -> Next {
        self.next.clone()
    }

    /// What hyper spawns with.
    pub(crate) fn spawner(&self) -> Spawner {
        Spawner {
            tasks: Arc::downgrade(&self.tasks),
            next: self.next.clone(),
            stall: self.stall,
        }
    }
}

/// Weak, because hyper keeps a copy in every task: a strong one would keep the tasks alive in a circle.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    tasks: Weak<Mutex<JoinSet<()>>>,
    next: Next,
    stall: Duration,
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let flow = self.next.take();
        let Some(tasks) = self.tasks.upgrade() else {
            return;
        };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(patiently(stream, flow, self.stall));
    }
}
