//! Whether more is asked of this process than it can do.
//!
//! Requests that are ready to run wait for their turn in the runtime's queue, which nobody sees. So a task of ours waits
//! there too, every [`caps::PULSE`]. While it is overdue, whoever comes now would wait for longer still, and is told to
//! come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::caps;

/// The queue's length, as far as it matters.
pub(crate) struct Pressure {
    pulse: Arc<Pulse>,
    /// The task that waits in the queue, from the first request on.
    task: std::sync::OnceLock<AbortHandle>,
}

struct Pulse {
    born: Instant,
    /// When the task should have had its turn, in milliseconds; [`AT_REST`] while it rests.
    due: AtomicU64,
    /// Requests since its last turn.
    requests: AtomicU32,
    wanted: Notify,
}

/// In place of a time: nothing is due.
const AT_REST: u64 = u64::MAX;

impl Pressure {
    pub(crate) fn new() -> Pressure {
        Pressure::born(Instant::now())
    }

    fn born(born: Instant) -> Pressure {
        Pressure {
            pulse: Arc::new(Pulse {
                born,
                due: AtomicU64::new(AT_REST),
                requests: AtomicU32::new(0),
                wanted: Notify::new(),
            }),
            task: std::sync::OnceLock::new(),
        }
    }

    /// Counts a request, and says whether it comes too much.
    ///
    /// A few requests say nothing: after the process was stopped for a while, everything is overdue.
    pub(crate) fn is_too_high(&self) -> bool {
        let before = self.pulse.requests.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.wake();
        }
        before >= caps::BURST && self.pulse.is_overdue()
    }

    fn wake(&self) {
        if self.pulse.due.load(Ordering::Relaxed) != AT_REST {
            return;
        }
        self.pulse.expect();
        match self.task.get() {
            Some(_) => self.pulse.wanted.notify_one(),
            None => {
                let task = || tokio::spawn(beat(self.pulse.clone())).abort_handle();
                self.task.get_or_init(task);
            }
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

    fn expect(&self) {
        let due = self.now() + caps::PULSE.as_millis() as u64;
        self.due.store(due, Ordering::Relaxed);
    }

    fn is_overdue(&self) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        let overdue = self.now().saturating_sub(due);
        overdue > caps::QUEUE_DELAY.as_millis() as u64
    }
}

/// Has its turn again and again while there are requests, and rests when there are none.
async fn beat(pulse: Arc<Pulse>) {
    let mut idle = 0;
    loop {
        pulse.expect();
        sleep(caps::PULSE).await;
        idle = match pulse.requests.swap(0, Ordering::Relaxed) {
            0 => idle + 1,
            _ => 0,
        };
        if idle >= caps::PULSES_IDLE {
            pulse.due.store(AT_REST, Ordering::Relaxed);
            pulse.wanted.notified().await;
            idle = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_requests_than_turns_are_too_many() {
        let long_ago = Instant::now().checked_sub(caps::QUEUE_DELAY * 10);
        let pressure = Pressure::born(long_ago.unwrap());
        assert!((0..caps::BURST).all(|_| !pressure.is_too_high()));
        pressure.pulse.due.store(0, Ordering::Relaxed);
        assert!(pressure.is_too_high());
        sleep(caps::PULSE * 2).await;
        assert!(!pressure.is_too_high(), "its task had its turn");
    }

    #[tokio::test]
    async fn a_few_requests_are_not_too_many_whatever_is_overdue() {
        let pressure = overdue();
        assert!(!pressure.is_too_high());
        assert!(pressure.pulse.is_overdue());
    }

    /// One whose task should have had its turn long ago.
    fn overdue() -> Pressure {
        let long_ago = Instant::now().checked_sub(caps::QUEUE_DELAY * 10);
        let pressure = Pressure::born(long_ago.unwrap());
        pressure.pulse.due.store(0, Ordering::Relaxed);
        pressure
    }

    #[tokio::test(start_paused = true)]
    async fn without_requests_it_rests() {
        let pressure = Pressure::new();
        assert!(!pressure.is_too_high());
        sleep(caps::PULSE * caps::PULSES_IDLE * 2).await;
        assert_eq!(pressure.pulse.due.load(Ordering::Relaxed), AT_REST);
        assert!(!pressure.is_too_high());
        assert_ne!(pressure.pulse.due.load(Ordering::Relaxed), AT_REST);
        sleep(caps::PULSE * 2).await;
        assert_eq!(pressure.pulse.requests.load(Ordering::Relaxed), 0);
    }
}
