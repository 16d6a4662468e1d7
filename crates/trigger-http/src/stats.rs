//! What is counted of connections: how many there are in which state, why they ended, why requests were refused.
//!
//! Each enum is closed and small, so that whoever shows the counts has as many rows whatever clients send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use strum::VariantArray;

use crate::refusal::Refusal;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum State {
    /// Nothing was received yet, or the TLS handshake is not done.
    New,
    /// Between two requests.
    Idle,
    /// A request is being received or answered.
    Active,
    /// It has been answered for the last time, and is read until its client has seen that.
    Closing,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum Closed {
    /// Its client closed it between two requests, or asked for its end.
    Client,
    /// Its client closed or reset it while it was owed something.
    ClientGone,
    /// Nothing came in time.
    NothingSent,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake took too long.
    SlowHandshake,
    /// A request's head took too long.
    SlowHead,
    /// A request's body took too long.
    SlowBody,
    /// Its client took nothing of a response for too long.
    WriteStall,
    /// No request came on a kept connection.
    Idle,
    /// What it sent was no HTTP, or a request that is refused with the connection.
    Refused,
    /// It broke the rules of HTTP/2, or sent too many frames that ask for nothing.
    Http2,
    /// A response could not be completed, and the client must know that it is not whole.
    Broken,
    /// It had sent nothing, and made room for another.
    MadeRoom,
    /// There was no room for it.
    NoRoom,
    /// The server ended, and nothing was owed.
    Drained,
    /// The server ended before it was answered.
    Cut,
    /// A task panicked: a defect of ours.
    Panicked,
}

impl State {
    /// Every state.
    pub const ALL: &'static [State] = State::VARIANTS;

    /// Its name in a metric.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Closed {
    /// Every reason.
    pub const ALL: &'static [Closed] = Closed::VARIANTS;

    /// Its name in a log line and in a metric.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Counts of one server, since it started. Cheap to clone: all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    states: [AtomicUsize; State::ALL.len()],
    closed: [AtomicU64; Closed::ALL.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Stats {
    /// Connections that are in a state now.
    pub fn connections(&self, state: State) -> usize {
        self.0.states[state as usize].load(Ordering::Relaxed)
    }

    /// Connections that ended for a reason.
    pub fn closed(&self, reason: Closed) -> u64 {
        self.0.closed[reason as usize].load(Ordering::Relaxed)
    }

    /// Requests that were refused before the app saw them.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.0.refused[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count_refusal(&self, reason: Refusal) {
        self.0.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection, and its end when the returned value is dropped.
    pub(crate) fn open(&self) -> Arc<Seat> {
        self.0.states[State::New as usize].fetch_add(1, Ordering::Relaxed);
        Arc::new(Seat {
            stats: self.clone(),
            state: AtomicU8::new(State::New as u8),
            closed: AtomicU8::new(UNKNOWN),
        })
    }

    /// A connection that was closed before it had a seat.
    pub(crate) fn turned_away(&self, reason: Closed) {
        self.0.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// No reason was given yet.
const UNKNOWN: u8 = u8::MAX;

/// One connection's place in the counts.
#[derive(Debug)]
pub(crate) struct Seat {
    stats: Stats,
    state: AtomicU8,
    closed: AtomicU8,
}

impl Seat {
    pub(crate) fn enter(&self, state: State) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            let states = &self.stats.0.states;
            states[usize::from(before)].fetch_sub(1, Ordering::Relaxed);
            states[state as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says why it ends. The first reason counts.
    pub(crate) fn ends(&self, reason: Closed) {
        let _ = self.closed.compare_exchange(
            UNKNOWN,
            reason as u8,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let reason = match *self.closed.get_mut() {
            UNKNOWN if std::thread::panicking() => Closed::Panicked,
            // Its task was aborted before it could say: the server has ended.
            UNKNOWN => Closed::Cut,
            known => Closed::ALL[usize::from(known)],
        };
        let counts = &self.stats.0;
        counts.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
        counts.states[usize::from(*self.state.get_mut())].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_in_one_state_and_ends_for_its_first_reason() {
        let stats = Stats::default();
        let (seat, other) = (stats.open(), stats.open());
        seat.enter(State::Active);
        let now = || {
            State::ALL
                .iter()
                .map(|state| stats.connections(*state))
                .collect::<Vec<_>>()
        };
        assert_eq!(now(), [1, 0, 1, 0]);
        seat.ends(Closed::SlowHead);
        seat.ends(Closed::Client);
        drop((seat, other));
        assert_eq!(now(), [0; 4]);
        assert_eq!(stats.closed(Closed::SlowHead), 1);
        assert_eq!(stats.closed(Closed::Cut), 1);
        let all: u64 = Closed::ALL.iter().map(|reason| stats.closed(*reason)).sum();
        assert_eq!(all, 2);
    }
}
