//! Whether more is asked of this process than it can do.
//!
//! Requests that are ready to run wait for their turn in the runtime's queues, which nobody sees. So a task of ours waits
//! there too, again and again while there are requests. While it is overdue, whoever comes now would wait for longer still,
//! and is told to come back.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::caps;

/// The length of the runtime's queues, as far as it matters.
pub(crate) struct Pressure {
    pulse: Arc<Pulse>,
    /// The task that waits in the queue, from the first request on.
    task: OnceLock<AbortHandle>,
}

struct Pulse {
    born: Instant,
    /// Since when the task waits for its turn, in milliseconds; [`NOT`] while it does not.
    waits: AtomicU64,
    /// When it had its last turn.
    turn: AtomicU64,
    /// Requests since then.
    requests: AtomicU32,
    wake: Notify,
}

/// In place of a time: it does not wait.
const NOT: u64 = u64::MAX;

impl Pressure {
    pub(crate) fn new() -> Pressure {
        Pressure::born(Instant::now())
    }

    fn born(born: Instant) -> Pressure {
        Pressure {
            pulse: Arc::new(Pulse {
                born,
                waits: AtomicU64::new(NOT),
                turn: AtomicU64::new(0),
                requests: AtomicU32::new(0),
                wake: Notify::new(),
            }),
            task: OnceLock::new(),
        }
    }

    /// Counts a request, and says whether it comes too much.
    ///
    /// A few requests say nothing: after the process was stopped for a while, everything is overdue.
    pub(crate) fn is_too_high(&self) -> bool {
        self.task
            .get_or_init(|| tokio::spawn(take_turns(self.pulse.clone())).abort_handle());
        let before = self.pulse.requests.fetch_add(1, Ordering::Relaxed);
        before >= caps::BURST && self.pulse.is_overdue()
    }

    /// Has the task wait for its turn, if it has not been asked of late. To be called now and then, from a thread that is not
    /// the runtime's: what such a thread wakes waits behind all else.
    pub(crate) fn beat(&self) {
        let pulse = &*self.pulse;
        let turn = pulse.turn.load(Ordering::Relaxed);
        let since = pulse.now().saturating_sub(turn);
        let is_wanted = pulse.requests.load(Ordering::Relaxed) > 0
            && pulse.waits.load(Ordering::Relaxed) == NOT
            && since >= caps::PULSE.as_millis() as u64;
        if is_wanted {
            pulse.waits.store(pulse.now(), Ordering::Relaxed);
            pulse.wake.notify_one();
        }
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.task.get().inspect(|task| task.abort());
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    fn is_overdue(&self) -> bool {
        let waits = self.waits.load(Ordering::Relaxed);
        self.now().saturating_sub(waits) > caps::QUEUE_DELAY.as_millis() as u64
    }
}

async fn take_turns(pulse: Arc<Pulse>) {
    loop {
        pulse.wake.notified().await;
        pulse.requests.store(0, Ordering::Relaxed);
        pulse.turn.store(pulse.now(), Ordering::Relaxed);
        pulse.waits.store(NOT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is old enough for anything to be overdue.
    fn old() -> Pressure {
        let long_ago = Instant::now().checked_sub(caps::QUEUE_DELAY * 10);
        Pressure::born(long_ago.unwrap())
    }

    #[tokio::test]
    async fn more_requests_than_turns_are_too_many() {
        let pressure = old();
        assert!((0..caps::BURST).all(|_| !pressure.is_too_high()));
        assert!(!pressure.is_too_high(), "nobody waits");
        pressure.beat();
        assert!(!pressure.is_too_high(), "it has just begun to wait");
        pressure.pulse.waits.store(0, Ordering::Relaxed);
        assert!(pressure.is_too_high());
        while pressure.pulse.waits.load(Ordering::Relaxed) != NOT {
            tokio::task::yield_now().await;
        }
        assert!(!pressure.is_too_high(), "its task had its turn");
    }

    #[tokio::test]
    async fn a_few_requests_are_not_too_many_whatever_is_overdue() {
        let pressure = old();
        pressure.pulse.waits.store(0, Ordering::Relaxed);
        assert!(!pressure.is_too_high());
        assert!(pressure.pulse.is_overdue());
    }

    #[tokio::test]
    async fn without_requests_nobody_waits() {
        let pressure = old();
        pressure.beat();
        assert_eq!(pressure.pulse.waits.load(Ordering::Relaxed), NOT);
        assert!(!pressure.is_too_high());
        pressure.beat();
        assert_ne!(pressure.pulse.waits.load(Ordering::Relaxed), NOT);
    }
}
