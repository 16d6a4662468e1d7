//! How long a guest has computed: its thread's own time, and only while it is polled.
//!
//! Waiting is never charged, however long: nobody polls who waits. Nor is what other threads, or other tasks of the same
//! thread, do meanwhile. It costs two readings of a clock for each poll.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::caps;

/// The account of one guest. It is polled by one thread at a time, so nothing here orders anything.
pub(crate) struct Meter {
    budget: Duration,
    /// Nanoseconds of all polls that have ended.
    charged: AtomicU64,
    /// What the thread's clock showed when this poll began, or when what was computed before was not counted any more.
    began: AtomicU64,
    /// The same, when this poll began.
    polled: AtomicU64,
    /// Nanoseconds that count as its slice, of all polls that have ended.
    sliced: AtomicU64,
    /// Whether it has begun anew in this poll.
    is_anew: AtomicBool,
    gave_way: AtomicBool,
}

impl Meter {
    pub(crate) fn new(budget: Duration) -> Meter {
        Meter {
            budget,
            charged: AtomicU64::new(0),
            began: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            sliced: AtomicU64::new(0),
            is_anew: AtomicBool::new(false),
            gave_way: AtomicBool::new(false),
        }
    }

    /// A poll begins.
    pub(crate) fn begin(&self) {
        let now = thread_time();
        self.began.store(now, Ordering::Relaxed);
        self.polled.store(now, Ordering::Relaxed);
    }

    /// What was computed until now is no part of the budget any more. To be called within a poll.
    pub(crate) fn begin_anew(&self) {
        self.charged.store(0, Ordering::Relaxed);
        self.began.store(thread_time(), Ordering::Relaxed);
        self.is_anew.store(true, Ordering::Relaxed);
    }

    /// It has ended, on the same thread, after so long.
    pub(crate) fn end(&self) -> Duration {
        let order = Ordering::Relaxed;
        let now = thread_time();
        let since = |began: &AtomicU64| now.saturating_sub(began.load(order));
        let charged = self.charged.load(order).saturating_add(since(&self.began));
        self.charged.store(charged, order);
        let poll = since(&self.polled);
        let sliced = match self.is_anew.load(order) {
            true => charged,
            false => self.sliced.load(order).saturating_add(poll),
        };
        self.is_anew.store(false, order);
        self.sliced.store(sliced, order);
        Duration::from_nanos(poll)
    }

    /// This poll ends because its time is up, and not because the guest waits.
    pub(crate) fn give_way(&self) {
        self.gave_way.store(true, Ordering::Relaxed);
    }

    /// Whether the last poll ended so; asked once.
    pub(crate) fn gave_way(&self) -> bool {
        let gave_way = self.gave_way.load(Ordering::Relaxed);
        if gave_way {
            self.gave_way.store(false, Ordering::Relaxed);
        }
        gave_way
    }

    /// What it was given.
    pub(crate) fn budget(&self) -> Duration {
        self.budget
    }

    /// Whether it has used up what it was given, this poll included. To be asked within one.
    pub(crate) fn is_spent(&self) -> bool {
        Duration::from_nanos(self.until_now()) >= self.budget
    }

    /// Whether it has computed for longer than anybody may who holds no place, this poll included.
    pub(crate) fn is_past_its_slice(&self) -> bool {
        let poll = thread_time().saturating_sub(self.polled.load(Ordering::Relaxed));
        let sliced = self.sliced.load(Ordering::Relaxed).saturating_add(poll);
        Duration::from_nanos(sliced) >= caps::SLICE
    }

    /// The same, of the polls that have ended.
    pub(crate) fn was_past_its_slice(&self) -> bool {
        Duration::from_nanos(self.sliced.load(Ordering::Relaxed)) >= caps::SLICE
    }

    fn until_now(&self) -> u64 {
        let this = thread_time().saturating_sub(self.began.load(Ordering::Relaxed));
        self.charged.load(Ordering::Relaxed).saturating_add(this)
    }
}

/// Nanoseconds that this thread has spent on a processor.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until the thread's clock has gone on by so much.
    fn compute(nanoseconds: u64) {
        let since = thread_time();
        while thread_time() - since < nanoseconds {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn computing_is_charged_and_waiting_is_not() {
        let meter = Meter::new(Duration::from_millis(30));
        meter.begin();
        compute(6_000_000);
        assert!(!meter.is_spent(), "so it was 30 ms already");
        assert!(meter.end() >= Duration::from_millis(6));
        assert!(meter.was_past_its_slice());
        // Nobody polls it: neither another thread's work nor this one's counts.
        compute(25_000_000);
        meter.begin();
        assert!(!meter.is_spent());
        compute(25_000_000);
        assert!(meter.is_spent());
    }

    #[test]
    fn who_begins_anew_has_its_budget_again_and_owes_what_it_computed() {
        let meter = Meter::new(Duration::from_millis(30));
        meter.begin();
        compute(20_000_000);
        meter.begin_anew();
        compute(6_000_000);
        assert!(!meter.is_spent() && meter.is_past_its_slice());
        assert!(meter.end() >= Duration::from_millis(26));
        assert!(meter.was_past_its_slice());
        meter.begin();
        meter.begin_anew();
        assert!(meter.end() < Duration::from_millis(5));
        assert!(!meter.was_past_its_slice());
    }

    #[test]
    fn a_short_poll_leaves_its_slice() {
        let meter = Meter::new(Duration::from_secs(1));
        meter.begin();
        assert!(!meter.is_past_its_slice());
        meter.end();
        assert!(!meter.was_past_its_slice());
    }
}
