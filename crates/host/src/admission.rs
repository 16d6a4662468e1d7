//! How many requests a component serves at once: a few more wait a moment, the rest are told at once to come later.
//!
//! Without it, more requests than can be served all become slow together, until none is answered in time. When all places
//! are taken, the guest goes that has waited most for its client: who is slow holds up nobody.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runner_manifest::Limits;
use slab::Slab;
use tokio::time::{Instant, timeout_at};

use crate::places::{self, Taken};
use crate::seat::Seat;
use crate::{Error, caps};

/// The door of one component, or of all components of an app together.
pub(crate) struct Admission {
    places: Arc<places::Places>,
    running: Mutex<Slab<Arc<Seat>>>,
    waiting: AtomicUsize,
    queue: AtomicUsize,
    patience: Duration,
}

/// A place among the requests that are served, until it is dropped.
pub(crate) struct Admitted(#[expect(dead_code, reason = "dropped at the end")] Option<Taken>);

/// What a request holds: a place of its component and, where there are fewer than its components have, of its app.
pub(crate) type Places = (Admitted, Option<Admitted>);

impl Admission {
    /// With so many places as these limits say, or else as there usually are.
    pub(crate) fn of(limits: &Limits) -> Admission {
        let most = limits.concurrency.unwrap_or(caps::CONCURRENCY);
        let queue = limits.queue.unwrap_or(caps::QUEUE);
        Admission::new(most, queue as usize, caps::QUEUE_WAIT)
    }

    /// From now on there are so many places, and those in the queue that these limits say.
    pub(crate) fn hold(&self, most: u32, limits: &Limits) {
        self.places.set_most(most);
        let queue = limits.queue.unwrap_or(caps::QUEUE) as usize;
        self.queue.store(queue, Ordering::Relaxed);
    }

    fn new(most: u32, queue: usize, patience: Duration) -> Admission {
        Admission {
            places: Arc::new(places::Places::new(most)),
            running: Mutex::default(),
            waiting: AtomicUsize::new(0),
            queue: AtomicUsize::new(queue),
            patience,
        }
    }

    /// How many requests may be served at once.
    pub(crate) fn most(&self) -> u32 {
        self.places.most()
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Error::Capacity`] when as many wait already as may, or after [`caps::QUEUE_WAIT`].
    pub(crate) async fn admit(&self) -> Result<Admitted, Error> {
        if !caps::LIMITED {
            return Ok(Admitted(None));
        }
        if let Some(place) = self.places.try_take() {
            return Ok(Admitted(Some(place)));
        }
        let full = Error::Capacity(self.most());
        let Some(_place) = Place::take(&self.waiting, self.queue.load(Ordering::Relaxed)) else {
            return Err(full);
        };
        let until = Instant::now() + self.patience;
        let mut turn = pin!(self.places.take());
        loop {
            self.make_room();
            let next = until.min(Instant::now() + caps::MAKE_ROOM_EVERY);
            match timeout_at(next, turn.as_mut()).await {
                Ok(place) => return Ok(Admitted(Some(place))),
                Err(_) if next < until => {}
                Err(_) => return Err(full),
            }
        }
    }

    /// Notes a guest that has a place.
    pub(crate) fn enter(&self, seat: Arc<Seat>) -> usize {
        if !caps::LIMITED {
            return 0;
        }
        self.running().insert(seat)
    }

    /// Forgets a guest.
    pub(crate) fn leave(&self, key: usize) {
        if caps::LIMITED {
            self.running().try_remove(key);
        }
    }

    /// Stops the guest that has waited most for its client, at once or in many pieces, if there is one that has for long.
    fn make_room(&self) {
        let running = self.running();
        let stalled = running.iter().filter_map(|(_, seat)| {
            let stalled = seat
                .stalled()
                .filter(|&stalled| stalled >= caps::SLOW_CLIENT);
            stalled.map(|stalled| (stalled, seat))
        });
        let slowest = stalled.max_by_key(|(stalled, _)| *stalled);
        let slowest = slowest.map(|(_, seat)| seat.clone());
        // What a guest leaves behind when it is dropped is not for others to wait for.
        drop(running);
        slowest.inspect(|seat| seat.give_up());
    }

    fn running(&self) -> MutexGuard<'_, Slab<Arc<Seat>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests an app may serve whose components may serve these, and whether they could be more together.
pub(crate) fn of_app(limits: &Limits, mosts: &[u32]) -> (u32, bool) {
    let own = limits.concurrency.unwrap_or(caps::CONCURRENCY);
    // A component that may serve more on its own raises the sum.
    let most = mosts.iter().copied().fold(own, u32::max);
    let sum: u64 = mosts.iter().copied().map(u64::from).sum();
    (most, sum > u64::from(most))
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
    use crate::guest::Guest;
    use crate::meter::Meter;
    use crate::quota::Commons;
    use crate::seat::Seated;
    use crate::tenant::TenantId;
    use crate::ticker::Pace;
    use std::future::Future;
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

    /// A guest that never ends, whose client is slow or not.
    fn guest(admission: &Arc<Admission>, admitted: Admitted, client: Client) -> Seated {
        let running = async {
            let _admitted = admitted;
            std::future::pending().await
        };
        let guest = Guest::new(
            running,
            Arc::new(Meter::new(Duration::MAX)),
            Arc::new(Pace::new(1, 0)),
            Commons::new(1, 0).quota(TenantId(1)),
        );
        let guest = Seated::new(Seat::new(), admission.clone(), None, guest);
        match client {
            Client::Slow => guest.hands_on(0),
            Client::Quick => {}
        }
        guest
    }

    enum Client {
        Slow,
        Quick,
    }

    #[tokio::test]
    async fn who_has_waited_longest_for_its_client_makes_room() {
        let admission = Arc::new(Admission::new(2, 1, Duration::from_secs(3600)));
        let quick = guest(&admission, admission.admit().await.unwrap(), Client::Quick);
        let slow = guest(&admission, admission.admit().await.unwrap(), Client::Slow);
        let _third = admission.admit().await.unwrap();
        assert!(matches!(slow.await, Err(Error::GaveUp(2))));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(std::pin::pin!(quick).poll(&mut cx).is_pending());
        assert!(admission.running().is_empty(), "both were dropped");
    }

    /// Its client takes these pieces, each after so many milliseconds; then the guest needs so many for the next.
    async fn takes(guest: &Seated, pieces: u32, bytes: u64, takes: u64, writes: u64) {
        for _ in 0..pieces {
            guest.hands_on(bytes);
            tokio::time::advance(Duration::from_millis(takes)).await;
            guest.goes_on();
            tokio::time::advance(Duration::from_millis(writes)).await;
        }
        guest.hands_on(bytes);
        tokio::time::advance(Duration::from_millis(takes)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_is_as_slow_as_who_stops() {
        for (name, pieces, bytes, per_piece, of_guest, is_slow) in [
            ("nothing is taken", 0, 16 * 1024, 500, 0, true),
            ("a moment", 0, 16 * 1024, 499, 0, false),
            ("a byte now and then", 1, 1, 400, 0, true),
            ("a byte now and then, of many", 1000, 1, 400, 0, true),
            ("a byte in no time", 1000, 1, 1, 0, true),
            ("a fast line", 1000, 16 * 1024, 1, 0, false),
            ("half a megabit", 1000, 16 * 1024, 250, 0, false),
            ("less than that", 1000, 16 * 1024, 300, 0, true),
            ("events that are taken at once", 1000, 100, 0, 400, false),
            ("events on a fast line", 1000, 100, 1, 400, false),
        ] {
            let admission = Arc::new(Admission::new(1, 1, Duration::from_secs(1)));
            let guest = guest(&admission, admission.admit().await.unwrap(), Client::Quick);
            takes(&guest, pieces, bytes, per_piece, of_guest).await;
            admission.make_room();
            assert_eq!(guest.gave_up().is_some(), is_slow, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_who_trickle_the_one_goes_that_was_waited_for_most() {
        let admission = Arc::new(Admission::new(2, 1, Duration::from_secs(1)));
        let first = guest(&admission, admission.admit().await.unwrap(), Client::Quick);
        takes(&first, 10, 1, 400, 0).await;
        let second = guest(&admission, admission.admit().await.unwrap(), Client::Quick);
        takes(&second, 5, 1, 400, 0).await;
        for (gone, goes_on) in [(&first, Some(&second)), (&second, None)] {
            assert!(goes_on.is_none_or(|guest| guest.gave_up().is_none()));
            admission.make_room();
            assert!(gone.gave_up().is_some());
            assert!(goes_on.is_none_or(|guest| guest.gave_up().is_none()));
        }
    }

    #[test]
    fn an_app_has_a_door_where_its_components_could_serve_more_than_it() {
        let limits = |concurrency| Limits {
            concurrency,
            ..Limits::default()
        };
        for (own, components, most) in [
            (None, &[256][..], None),
            (None, &[256, 1], Some(256)),
            (None, &[100, 100], None),
            (Some(2), &[2], None),
            (Some(2), &[2, 2], Some(2)),
            (Some(2), &[1, 300], Some(300)),
            (Some(2), &[], None),
            (Some(u32::MAX), &[u32::MAX, u32::MAX], Some(u32::MAX)),
        ] {
            let (got, is_narrow) = of_app(&limits(own), components);
            let got = is_narrow.then_some(got);
            assert_eq!(got, most, "{own:?} {components:?}");
        }
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
