//! How many requests a component serves at once: a few more wait a moment, the rest are told at once to come later.
//!
//! Without it, more requests than can be served all become slow together, until none is answered in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Error, caps};

/// The door of one component.
pub(crate) struct Admission {
    running: Arc<Semaphore>,
    most: u32,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
}

/// A place among the requests that are served, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(
    #[expect(dead_code, reason = "dropped at the end")] OwnedSemaphorePermit,
);

impl Default for Admission {
    fn default() -> Admission {
        Admission::new(caps::CONCURRENCY, caps::QUEUE, caps::QUEUE_WAIT)
    }
}

impl Admission {
    fn new(most: u32, queue: usize, patience: Duration) -> Admission {
        Admission {
            running: Arc::new(Semaphore::new(most as usize)),
            most,
            waiting: AtomicUsize::new(0),
            queue,
            patience,
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Error::Capacity`] when as many wait already as may, or after [`caps::QUEUE_WAIT`].
    pub(crate) async fn admit(&self) -> Result<Admitted, Error> {
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(Admitted(permit));
        }
        let full = Error::Capacity(self.most);
        let Some(_place) = Place::take(&self.waiting, self.queue) else {
            return Err(full);
        };
        match timeout(self.patience, self.running.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Admitted(permit)),
            _ => Err(full),
        }
    }
}

/// A place in a queue, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    fn take(waiting: &AtomicUsize, most: usize) -> Option<Place<'_>> {
        let place = Place(waiting);
        // Whoever finds it full leaves again, by dropping the place.
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    #[tokio::test(start_paused = true)]
    async fn so_many_are_served_so_many_wait_a_moment_and_the_rest_come_later() {
        let admission = Admission::new(2, 1, Duration::from_secs(1));
        let first = admission.admit().await.unwrap();
        let _second = admission.admit().await.unwrap();
        let mut third = Box::pin(admission.admit());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert!(matches!(admission.admit().await, Err(Error::Capacity(2))));
        drop(first);
        let _third = third.await.unwrap();
        assert!(
            matches!(admission.admit().await, Err(Error::Capacity(2))),
            "after its second"
        );
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_leaves_the_queue_leaves_its_place() {
        let admission = Admission::new(0, 1, Duration::from_secs(3600));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let mut waiting = Box::pin(admission.admit());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
