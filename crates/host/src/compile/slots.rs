//! How many components are compiled at once: each can take all cores, and all the memory that it may.

use std::sync::{Condvar, Mutex, PoisonError};

/// Places for those that compile.
pub(crate) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place that is taken.
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(many: usize) -> Slots {
        Slots {
            free: Mutex::new(many),
            freed: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(crate) fn take(&self) -> Slot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.freed.wait_while(free, |free| *free == 0);
        *waited.unwrap_or_else(PoisonError::into_inner) -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_than_so_many_compile_at_once_and_all_do() {
        let (slots, here, most) = (Slots::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let _slot = slots.take();
                    most.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    here.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
        assert_eq!(*slots.free.lock().unwrap(), 2);
    }
}
