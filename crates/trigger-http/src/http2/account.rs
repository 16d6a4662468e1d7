//! What one HTTP/2 connection owes its client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::drain::{InProgress, Requests};
use crate::stats::{Seat, State};

/// Counts the requests of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Account(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    requests: Requests,
    seat: Arc<Seat>,
    owed: Mutex<Owed>,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    begun: u64,
    count: usize,
    since: Instant,
}

impl Account {
    pub(crate) fn new(requests: Requests, seat: Arc<Seat>) -> Account {
        let since = Instant::now();
        seat.enter(State::Idle);
        Account(Arc::new(Shared {
            requests,
            seat,
            owed: Mutex::new(Owed {
                begun: 0,
                count: 0,
                since,
            }),
        }))
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(&self) -> Begun {
        let mut owed = self.owed();
        owed.begun += 1;
        owed.count += 1;
        self.0.seat.enter(State::Active);
        Begun {
            account: self.clone(),
            _in_progress: self.0.requests.begin(),
        }
    }

    /// How many are owed now.
    pub(crate) fn count(&self) -> usize {
        self.owed().count
    }

    /// How many requests there have been.
    pub(crate) fn begun(&self) -> u64 {
        self.owed().begun
    }

    /// Since when nothing has been owed; `None` while something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let owed = *self.owed();
        (owed.count == 0).then_some(owed.since)
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        let owed = self.0.owed.lock();
        owed.unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, from its head to the end of its response's body or to its cancellation.
#[derive(Debug)]
pub(crate) struct Begun {
    account: Account,
    _in_progress: InProgress,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut owed = self.account.owed();
        owed.count -= 1;
        owed.since = Instant::now();
        if owed.count == 0 {
            self.account.0.seat.enter(State::Idle);
        }
    }
}
