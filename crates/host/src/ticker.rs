//! The clock of an engine: it beats while guests compute, and rests while none does.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle, Thread};

use crate::behind::Behind;
use crate::caps;
use crate::gate::Gate;
use crate::pressure::Pressure;
use crate::quota::Commons;

/// Somebody computed since the last beat.
const BUSY: u8 = 2;
/// Nobody did.
const QUIET: u8 = 1;
/// Nobody did for long: the clock beats slowly.
const AT_REST: u8 = 0;

/// Beats without a guest before the clock rests.
const QUIET_BEATS: u32 = 50;

/// What guests and the clock of their engine know of one another.
pub(crate) struct Pace {
    /// Who may compute for long.
    pub(crate) gate: Gate,
    /// The same, of those behind the others: they take no place from those in front.
    pub(crate) gate_behind: Gate,
    /// How much is asked of the process.
    pub(crate) pressure: Pressure,
    /// What tenants share.
    pub(crate) commons: Arc<Commons>,
    /// Where those are served that others go before.
    pub(crate) behind: Behind,
    state: AtomicU8,
    stopped: AtomicBool,
    clock: OnceLock<Thread>,
}

impl Pace {
    /// Of a machine with so many processors, and so much memory for guests.
    pub(crate) fn new(cores: usize, memory: u64) -> Pace {
        Pace {
            gate: Gate::new(cores),
            gate_behind: Gate::behind(cores),
            pressure: Pressure::new(),
            commons: Commons::new(cores, memory),
            behind: Behind::default(),
            state: AtomicU8::new(AT_REST),
            stopped: AtomicBool::new(false),
            clock: OnceLock::new(),
        }
    }

    /// A guest is about to compute. Once a beat this writes, else it only reads.
    pub(crate) fn keep(&self) {
        if self.state.load(Ordering::Relaxed) == BUSY {
            return;
        }
        if self.state.swap(BUSY, Ordering::AcqRel) == AT_REST
            && let Some(clock) = self.clock.get()
        {
            clock.unpark();
        }
    }
}

/// Advances the engine's epoch for as long as it lives.
pub(crate) struct Ticker {
    pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: wasmtime::EngineWeak, pace: Arc<Pace>) -> io::Result<Ticker> {
        let of_thread = pace.clone();
        let thread = thread::Builder::new()
            .name("runner-ticker".into())
            .spawn(move || beat(&engine, &of_thread))?;
        // Nobody else sets it.
        let _ = pace.clock.set(thread.thread().clone());
        Ok(Ticker {
            pace,
            thread: Some(thread),
        })
    }
}

fn beat(engine: &wasmtime::EngineWeak, pace: &Pace) {
    let mut quiet = QUIET_BEATS;
    loop {
        // At rest it beats too: a guest that is deep in one long copy for that time is stopped behind it.
        thread::park_timeout(if quiet < QUIET_BEATS {
            caps::TICK
        } else {
            caps::REST
        });
        if pace.stopped.load(Ordering::Acquire) {
            return;
        }
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        pace.commons.beat();
        pace.gate.beat();
        pace.gate_behind.beat();
        pace.pressure.beat();
        quiet = match pace.state.swap(QUIET, Ordering::AcqRel) {
            BUSY => 0,
            _ => rest(pace, quiet.saturating_add(1)),
        };
    }
}

/// After so many quiet beats the clock rests, unless somebody comes in that moment.
fn rest(pace: &Pace, quiet: u32) -> u32 {
    if quiet < QUIET_BEATS {
        return quiet;
    }
    let rests = pace
        .state
        .compare_exchange(QUIET, AT_REST, Ordering::AcqRel, Ordering::Acquire);
    match rests {
        Ok(_) => quiet,
        Err(_) => 0,
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.pace.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_after_many_quiet_beats_unless_somebody_comes() {
        for (state, quiet, expected) in [
            (QUIET, 1, (1, QUIET)),
            (QUIET, QUIET_BEATS - 1, (QUIET_BEATS - 1, QUIET)),
            (QUIET, QUIET_BEATS, (QUIET_BEATS, AT_REST)),
            (BUSY, QUIET_BEATS, (0, BUSY)),
        ] {
            let pace = Pace::new(1, 0);
            pace.state.store(state, Ordering::Relaxed);
            let quiet = rest(&pace, quiet);
            assert_eq!((quiet, pace.state.load(Ordering::Relaxed)), expected);
        }
    }

    #[test]
    fn a_guest_ends_the_rest() {
        let pace = Pace::new(1, 0);
        let _ = pace.clock.set(thread::current());
        pace.keep();
        // Returns at once: there is a token. A second guest leaves none.
        thread::park();
        pace.keep();
        assert_eq!(pace.state.load(Ordering::Relaxed), BUSY);
    }
}
