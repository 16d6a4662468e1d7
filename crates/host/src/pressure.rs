//! Whether more is asked of this process than it can do.
//!
//! Requests that are ready to run wait for their turn in the runtime's queues, which nobody sees. So a task of ours waits
//! there too, again and again while there are requests. While it is overdue, whoever comes now would wait for longer still,
//! and is told to come back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::caps;
use crate::quota::Quota;

/// The length of the runtime's queues, as far as it matters.
pub(crate) struct Pressure {
    pulse: Arc<Pulse>,
    /// The task that waits in the queue, from the first request on.
    task: Mutex<Option<AbortHandle>>,
}

struct Pulse {
    born: Instant,
    /// Since when the task waits for its turn, in milliseconds; [`NOT`] while it does not.
    waits: AtomicU64,
    /// When it had its last turn.
    turn: AtomicU64,
    /// Whether there were requests since then.
    asked: AtomicBool,
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
                asked: AtomicBool::new(false),
                wake: Notify::new(),
            }),
            task: Mutex::default(),
        }
    }

    /// A request has come. To be called on the runtime that connections are served on: its queue is the one that matters.
    pub(crate) fn asked(&self) {
        if caps::LIMITED && !self.pulse.asked.load(Ordering::Relaxed) {
            self.pulse.asked.store(true, Ordering::Relaxed);
            self.keep_task();
        }
    }

    /// Counts a request of a tenant, and says whether it comes too much.
    ///
    /// A few requests say nothing: after the process was stopped for a while, everything is overdue. And who asks for
    /// little is served, whatever others ask for.
    pub(crate) fn is_too_high(&self, quota: &Quota) -> bool {
        if !caps::LIMITED {
            return false;
        }
        let pulse = &*self.pulse;
        let before = quota.count_request(pulse.turn.load(Ordering::Relaxed));
        before >= quota.burst() && pulse.is_overdue() && !self.has_lost_its_task()
    }

    /// Its task ends with the runtime that it was spawned on, and is spawned again with the next request.
    fn has_lost_its_task(&self) -> bool {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = task.as_ref().is_none_or(AbortHandle::is_finished);
        if is_lost {
            self.pulse.asked.store(false, Ordering::Relaxed);
        }
        is_lost
    }

    /// Spawns the task where there is none any more: a program that embeds this may have another runtime by now.
    fn keep_task(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            self.pulse.waits.store(NOT, Ordering::Relaxed);
            *task = Some(tokio::spawn(take_turns(self.pulse.clone())).abort_handle());
        }
    }

    /// Has the task wait for its turn, if it has not been asked of late. To be called now and then, from a thread that is not
    /// the runtime's: what such a thread wakes waits behind all else.
    pub(crate) fn beat(&self) {
        let pulse = &*self.pulse;
        let turn = pulse.turn.load(Ordering::Relaxed);
        let since = pulse.now().saturating_sub(turn);
        let is_wanted = pulse.asked.load(Ordering::Relaxed)
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
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        task.as_ref().inspect(|task| task.abort());
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
        pulse.asked.store(false, Ordering::Relaxed);
        pulse.turn.store(pulse.now(), Ordering::Relaxed);
        pulse.waits.store(NOT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Commons;
    use crate::tenant::TenantId;

    /// One that is old enough for anything to be overdue.
    fn old() -> Pressure {
        let long_ago = Instant::now().checked_sub(caps::QUEUE_DELAY * 10);
        Pressure::born(long_ago.unwrap())
    }

    /// Of a request that comes now.
    fn is_too_high(pressure: &Pressure, quota: &Quota) -> bool {
        pressure.asked();
        pressure.is_too_high(quota)
    }

    fn quota() -> Arc<Quota> {
        Commons::new(1, 0).quota(TenantId(1))
    }

    #[tokio::test]
    async fn more_requests_than_turns_are_too_many() {
        let (pressure, quota, modest) = (old(), quota(), quota());
        assert!((0..caps::BURST).all(|_| !is_too_high(&pressure, &quota)));
        assert!(!is_too_high(&pressure, &quota), "nobody waits");
        pressure.beat();
        assert!(!is_too_high(&pressure, &quota), "it has just begun to wait");
        pressure.pulse.waits.store(0, Ordering::Relaxed);
        assert!(is_too_high(&pressure, &quota));
        assert!(!is_too_high(&pressure, &modest), "it has asked for nothing");
        while pressure.pulse.waits.load(Ordering::Relaxed) != NOT {
            tokio::task::yield_now().await;
        }
        assert!(!is_too_high(&pressure, &quota), "its task had its turn");
    }

    #[tokio::test]
    async fn a_few_requests_are_not_too_many_whatever_is_overdue() {
        let pressure = old();
        pressure.pulse.waits.store(0, Ordering::Relaxed);
        assert!(!is_too_high(&pressure, &quota()));
    }

    #[tokio::test]
    async fn without_requests_nobody_waits() {
        let pressure = old();
        pressure.beat();
        assert_eq!(pressure.pulse.waits.load(Ordering::Relaxed), NOT);
        assert!(!is_too_high(&pressure, &quota()));
        pressure.beat();
        assert_ne!(pressure.pulse.waits.load(Ordering::Relaxed), NOT);
    }

    #[test]
    fn its_task_does_not_end_with_a_runtime() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let (pressure, quota) = (old(), quota());
        runtime().block_on(async { is_too_high(&pressure, &quota) });
        pressure.beat();
        pressure.pulse.waits.store(0, Ordering::Relaxed);
        runtime().block_on(async {
            assert!((0..=caps::BURST + 1).all(|_| !is_too_high(&pressure, &quota)));
            let task = pressure.task.lock().unwrap();
            assert!(task.as_ref().is_some_and(|task| !task.is_finished()));
        });
    }
}
