//! The tasks of one HTTP/2 connection's streams: they end with it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// Owns the tasks; dropping it aborts those that have not finished.
#[derive(Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<JoinSet<()>>>);

impl Streams {
    /// What hyper spawns with.
    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }
}

/// Weak, because hyper keeps a copy in every task: a strong one would keep the tasks alive in a circle.
#[derive(Clone, Debug)]
pub(crate) struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let Some(tasks) = self.0.upgrade() else {
            return;
        };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream);
    }
}
