//! Places that are taken and given back, of which there can be more or fewer at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// So many places. Who has one keeps it, also when there are fewer afterwards.
pub(crate) struct Places {
    free: Semaphore,
    most: AtomicU32,
    /// Places that are taken and not there any more: those who have them give nothing back.
    owed: AtomicUsize,
}

/// A place that is taken, until it is dropped.
pub(crate) struct Taken(Arc<Places>);

impl Places {
    pub(crate) fn new(most: u32) -> Places {
        Places {
            free: Semaphore::new(most as usize),
            most: AtomicU32::new(most),
            owed: AtomicUsize::new(0),
        }
    }

    /// How many there are.
    pub(crate) fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }

    /// From now on there are so many. To be called by one at a time.
    pub(crate) fn set_most(&self, most: u32) {
        let before = self.most.swap(most, Ordering::Relaxed);
        self.give_back(most.saturating_sub(before) as usize);
        let fewer = before.saturating_sub(most) as usize;
        let gone = self.free.forget_permits(fewer);
        self.owed.fetch_add(fewer - gone, Ordering::Relaxed);
    }

    /// Takes a place, if one is free and nobody waits for it.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Taken> {
        let permit = self.free.try_acquire().ok()?;
        permit.forget();
        Some(Taken(self.clone()))
    }

    /// Waits for a place, behind those who wait already.
    pub(crate) async fn take(self: &Arc<Self>) -> Taken {
        // It is never closed; else there would be as many places as are asked for.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        Taken(self.clone())
    }

    /// Pays what is owed first.
    fn give_back(&self, many: usize) {
        let order = Ordering::Relaxed;
        let pay = |owed: usize| (owed > 0).then(|| owed.saturating_sub(many));
        let owed = self.owed.fetch_update(order, order, pay).unwrap_or(0);
        let free = many.saturating_sub(owed);
        if free > 0 {
            self.free.add_permits(free);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many can be taken.
    fn free(places: &Arc<Places>) -> usize {
        std::iter::from_fn(|| places.try_take())
            .collect::<Vec<_>>()
            .len()
    }

    #[test]
    fn those_who_have_a_place_count_when_there_are_more_or_fewer() {
        for (before, taken, after, free_then, free_when_all_are_back) in [
            (2, 0, 2, 2, 2),
            (2, 1, 4, 3, 4),
            (2, 2, 1, 0, 1),
            (5, 1, 3, 2, 3),
            (5, 5, 0, 0, 0),
            (0, 0, 2, 2, 2),
        ] {
            let row = format!("{taken} of {before}, then {after}");
            let places = Arc::new(Places::new(before));
            let held: Vec<_> = (0..taken).map(|_| places.try_take().unwrap()).collect();
            places.set_most(after);
            assert_eq!(free(&places), free_then, "{row}");
            drop(held);
            assert_eq!(free(&places), free_when_all_are_back, "{row}");
            assert_eq!(places.most(), after, "{row}");
        }
    }

    #[test]
    fn there_can_be_as_many_as_a_number_says() {
        let places = Arc::new(Places::new(1));
        let _held = places.try_take().unwrap();
        for most in [u32::MAX, 0, u32::MAX, 1] {
            places.set_most(most);
            assert_eq!(places.try_take().is_some(), most > 1);
        }
    }

    #[test]
    fn what_is_owed_is_paid_before_there_are_more() {
        let places = Arc::new(Places::new(3));
        let held: Vec<_> = (0..3).map(|_| places.try_take().unwrap()).collect();
        places.set_most(1);
        places.set_most(4);
        assert_eq!(free(&places), 1);
        drop(held);
        assert_eq!(free(&places), 4);
    }
}
