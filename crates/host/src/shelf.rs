//! The instances of a component that wait for its next request, where its manifest lets one serve several.
//!
//! They belong to one load of one app: what another app, another component or a reload asks for is never served by them.
//! The one that was used last is used first, so that the others go when there is less to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::caps;
use crate::instance::Instance;

/// The idle instances of one component.
pub(crate) struct Shelf {
    inner: Mutex<Inner>,
    /// Places of this component.
    own: Arc<Semaphore>,
    /// Places of all components of the engine.
    of_all: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    /// The longest idle one first.
    idle: Vec<Idle>,
    /// Whether a task looks after those that nobody needs.
    is_swept: bool,
}

struct Idle {
    instance: Box<Instance>,
    until: Instant,
    _place: Place,
}

/// A place on a shelf.
struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// An instance that has served, and may serve again once its response has ended well. Dropping it ends it.
///
/// It has its place on the shelf from the start: a client that reads slowly holds no instance beyond those.
#[derive(Default)]
pub(crate) struct Spare(Option<(Box<Instance>, Place, Arc<Shelf>)>);

impl Spare {
    /// Its response has ended well.
    pub(crate) fn keep(self) {
        if let Some((instance, place, shelf)) = self.0 {
            shelf.put(instance, place);
        }
    }
}

impl Shelf {
    /// One with `of_all` places together with all others.
    pub(crate) fn new(of_all: Arc<Semaphore>) -> Arc<Shelf> {
        Arc::new(Shelf {
            inner: Mutex::default(),
            own: Arc::new(Semaphore::new(caps::IDLE_PER_COMPONENT)),
            of_all,
        })
    }

    /// The instance that was used last, if one waits.
    pub(crate) fn take(&self) -> Option<Box<Instance>> {
        let last = self.lock().idle.pop()?;
        // The task that drops it may be late.
        (Instant::now() < last.until).then_some(last.instance)
    }

    /// An instance that has served, as far as there is a place for it.
    pub(crate) fn spare(self: Arc<Shelf>, instance: Box<Instance>) -> Spare {
        match self.place() {
            Some(place) => Spare(Some((instance, place, self))),
            None => Spare::default(),
        }
    }

    fn place(&self) -> Option<Place> {
        Some(Place {
            _own: self.own.clone().try_acquire_owned().ok()?,
            _of_all: self.of_all.clone().try_acquire_owned().ok()?,
        })
    }

    fn put(self: &Arc<Shelf>, instance: Box<Instance>, place: Place) {
        // Without a runtime nobody would drop it in time.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let until = Instant::now() + caps::IDLE;
        let mut inner = self.lock();
        inner.idle.push(Idle {
            instance,
            until,
            _place: place,
        });
        let is_swept = std::mem::replace(&mut inner.is_swept, true);
        drop(inner);
        if !is_swept {
            runtime.spawn(sweep(Arc::downgrade(self), until));
        }
    }

    /// Drops those whose time is up. Says when to look again; never where none is left.
    fn drop_old(&self) -> Option<Instant> {
        let mut inner = self.lock();
        let now = Instant::now();
        let old = inner.idle.iter().take_while(|idle| idle.until <= now);
        let old = old.count();
        let old: Vec<Idle> = inner.idle.drain(..old).collect();
        let next = inner.idle.first().map(|idle| idle.until);
        inner.is_swept = next.is_some();
        drop(inner);
        // What an instance leaves behind when it is dropped is not for others to wait for.
        drop(old);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after a shelf until it is empty or gone.
async fn sweep(shelf: Weak<Shelf>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        match shelf.upgrade().and_then(|shelf| shelf.drop_old()) {
            Some(later) => next = later,
            None => return,
        }
    }
}
