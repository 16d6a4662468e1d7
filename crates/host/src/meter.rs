//! How long a guest has computed: its thread's own time, and only while it is polled.
//!
//! Waiting is never charged, however long: nobody polls who waits. Nor is what other threads, or other tasks of the same
//! thread, do meanwhile. The kernel is asked for a thread's time, which takes longer than many a poll. So it is asked at most
//! once in [`FRESH`], and of a poll that was shorter than that, the time that went by is charged. In between is known how much
//! a thread has computed since it was asked, and how much of that was charged: all polls of a thread together are charged no
//! less than they took, and each no more than by [`FRESH`] too much.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::caps;

/// How old what the kernel said of a thread's time may be, in nanoseconds.
const FRESH: u64 = 100_000;

/// The account of one guest. It is polled by one thread at a time, so nothing here orders anything.
pub(crate) struct Meter {
    budget: Duration,
    /// Nanoseconds of all polls that have ended.
    charged: AtomicU64,
    /// When this poll began.
    polled: AtomicU64,
    /// Nanoseconds of this poll that do not count any more.
    forgotten: AtomicU64,
    /// Nanoseconds that count as its slice, of all polls that have ended.
    sliced: AtomicU64,
    /// Whether it has begun anew in this poll.
    is_anew: AtomicBool,
    gave_way: AtomicBool,
}

/// What the kernel said of a thread, and when.
#[derive(Clone, Copy, Default)]
struct Known {
    at: u64,
    computed: u64,
    /// Nanoseconds since then that are on some account already.
    charged: u64,
}

thread_local! {
    static KNOWN: Cell<Known> = Cell::default();
}

impl Known {
    /// As of now.
    fn anew(at: u64) -> Known {
        Known {
            at,
            computed: now(ClockId::ThreadCPUTime),
            charged: 0,
        }
    }
}

impl Meter {
    pub(crate) fn new(budget: Duration) -> Meter {
        Meter {
            budget,
            charged: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            sliced: AtomicU64::new(0),
            is_anew: AtomicBool::new(false),
            gave_way: AtomicBool::new(false),
        }
    }

    /// A poll begins.
    pub(crate) fn begin(&self) {
        let at = now(ClockId::Monotonic);
        if at.saturating_sub(KNOWN.get().at) >= FRESH {
            KNOWN.set(Known::anew(at));
        }
        self.polled.store(at, Ordering::Relaxed);
    }

    /// What was computed until now is no part of the budget any more. To be called within a poll.
    pub(crate) fn begin_anew(&self) {
        self.charged.store(0, Ordering::Relaxed);
        self.forgotten.store(self.of_poll(), Ordering::Relaxed);
        self.is_anew.store(true, Ordering::Relaxed);
    }

    /// It has ended, on the same thread, after so long.
    pub(crate) fn end(&self) -> Duration {
        let order = Ordering::Relaxed;
        let poll = self.of_poll();
        let known = KNOWN.get();
        KNOWN.set(Known {
            charged: known.charged + poll,
            ..known
        });
        let counts = poll.saturating_sub(self.forgotten.load(order));
        let charged = self.charged.load(order).saturating_add(counts);
        self.charged.store(charged, order);
        self.forgotten.store(0, order);
        let sliced = match self.is_anew.load(order) {
            true => charged,
            false => self.sliced.load(order).saturating_add(poll),
        };
        self.is_anew.store(false, order);
        self.sliced.store(sliced, order);
        Duration::from_nanos(poll)
    }

    /// What was computed in this poll until now.
    fn of_poll(&self) -> u64 {
        let elapsed = now(ClockId::Monotonic).saturating_sub(self.polled.load(Ordering::Relaxed));
        if elapsed < FRESH {
            return elapsed;
        }
        let known = KNOWN.get();
        let since = now(ClockId::ThreadCPUTime).saturating_sub(known.computed);
        since.saturating_sub(known.charged).min(elapsed)
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
        let counts = self
            .of_poll()
            .saturating_sub(self.forgotten.load(Ordering::Relaxed));
        let charged = self.charged.load(Ordering::Relaxed);
        Duration::from_nanos(charged.saturating_add(counts)) >= self.budget
    }

    /// Whether it has computed for longer than anybody may who holds no place, this poll included.
    pub(crate) fn is_past_its_slice(&self) -> bool {
        let sliced = self.sliced.load(Ordering::Relaxed);
        Duration::from_nanos(sliced.saturating_add(self.of_poll())) >= caps::SLICE
    }

    /// The same, of the polls that have ended.
    pub(crate) fn was_past_its_slice(&self) -> bool {
        Duration::from_nanos(self.sliced.load(Ordering::Relaxed)) >= caps::SLICE
    }
}

/// Nanoseconds that a clock shows: of this thread's time on a processor, or of time itself.
fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until the thread's clock has gone on by so much.
    fn compute(nanoseconds: u64) {
        let since = now(ClockId::ThreadCPUTime);
        while now(ClockId::ThreadCPUTime) - since < nanoseconds {
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
    fn many_short_polls_are_charged_what_they_took_and_no_more_than_went_by() {
        let meter = Meter::new(Duration::from_secs(1));
        let (begun, mut charged) = (now(ClockId::Monotonic), Duration::ZERO);
        for _ in 0..2000 {
            meter.begin();
            compute(10_000);
            charged += meter.end();
            // Somebody else's.
            compute(10_000);
        }
        let elapsed = Duration::from_nanos(now(ClockId::Monotonic) - begun);
        assert!(charged >= Duration::from_millis(20), "{charged:?}");
        assert!(
            charged <= elapsed - Duration::from_millis(20),
            "{charged:?}"
        );
    }

    #[test]
    fn polls_of_any_length_are_charged_what_they_took_together() {
        let meter = Meter::new(Duration::from_secs(1));
        for pause in [0, 20_000, 90_000, 150_000] {
            meter.begin();
            compute(5_000);
            let mut took = meter.end();
            compute(pause);
            meter.begin();
            compute(200_000);
            took += meter.end();
            assert!(took >= Duration::from_micros(205), "{pause}: {took:?}");
        }
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
