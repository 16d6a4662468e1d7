//! Connections that wait for their next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::rt::Executor;
use runner_manifest::{ComponentId, Origin};
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, Tasks};
use crate::{Options, Permit};

/// Who may use a connection again. A component never meets another's, nor one that older grants opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    origin: Origin,
    component: ComponentId,
    generation: u64,
}

impl Key {
    pub(crate) fn new(permit: &Permit) -> Key {
        Key {
            origin: permit.origin().clone(),
            component: permit.component().clone(),
            generation: permit.grants().generation,
        }
    }
}

/// Idle HTTP/1 connections and all HTTP/2 ones, by key.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

/// A connection in use, which may return to its pool. Dropping it closes an HTTP/1 connection.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    key: Key,
    pool: Weak<Shared>,
}

struct Shared {
    limits: Limits,
    idle: Mutex<Idle>,
}

struct Limits {
    idle: Duration,
    per_key: usize,
    total: usize,
}

#[derive(Default)]
struct Idle {
    entries: HashMap<Key, Vec<Entry>>,
    reaper: Option<Tasks>,
}

struct Entry {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(options: &Options) -> Pool {
        let limits = Limits {
            idle: options.idle,
            per_key: options.idle_per_key,
            total: options.idle_total,
        };
        let idle = Mutex::default();
        Pool {
            shared: Arc::new(Shared { limits, idle }),
        }
    }

    /// A connection that is ready now.
    pub(crate) fn take(&self, key: &Key) -> Option<Lease> {
        let connection = self.shared.take(key)?;
        Some(self.lease(key.clone(), connection))
    }

    /// Takes care of a new connection. One that can be shared is shared from the start.
    pub(crate) fn adopt(&self, key: Key, connection: Connection) -> Lease {
        if let Some(shared) = connection.share() {
            self.shared.put(key.clone(), shared);
        }
        self.lease(key, connection)
    }

    fn lease(&self, key: Key, connection: Connection) -> Lease {
        Lease {
            connection,
            key,
            pool: Arc::downgrade(&self.shared),
        }
    }
}

impl Lease {
    /// The response ended cleanly: the connection may serve again.
    pub(crate) fn give_back(self) {
        // A shared one never left the pool.
        if self.connection.share().is_some() {
            return;
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.key, self.connection);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, key: &Key) -> Option<Connection> {
        let mut idle = self.lock();
        let entries = idle.entries.get_mut(key)?;
        entries.retain(|entry| entry.is_alive(self.limits.idle));
        // The newest first: the others may then grow old. One that still uploads is not ready.
        let at = entries
            .iter()
            .rposition(|entry| entry.connection.is_ready());
        let found = at.map(|at| match entries[at].use_again() {
            Some(shared) => shared,
            None => entries.remove(at).connection,
        });
        if entries.is_empty() {
            idle.entries.remove(key);
        }
        found
    }

    fn put(self: &Arc<Shared>, key: Key, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= self.limits.total {
            return;
        }
        idle.reaper.get_or_insert_with(|| self.start_reaper());
        let entries = idle.entries.entry(key).or_default();
        if entries.len() < self.limits.per_key {
            let since = Instant::now();
            entries.push(Entry { connection, since });
        }
    }

    /// Closes what nobody asked for in time. Ends with the pool.
    fn start_reaper(self: &Arc<Shared>) -> Tasks {
        let (pool, every) = (Arc::downgrade(self), self.limits.idle / 2);
        let tasks = Tasks::default();
        tasks.spawner().execute(async move {
            loop {
                sleep(every).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.lock().reap(pool.limits.idle);
            }
        });
        tasks
    }
}

impl Idle {
    fn len(&self) -> usize {
        self.entries.values().map(Vec::len).sum()
    }

    fn reap(&mut self, limit: Duration) {
        self.entries.retain(|_, entries| {
            entries.retain(|entry| entry.is_alive(limit));
            !entries.is_empty()
        });
    }
}

impl Entry {
    fn is_alive(&self, limit: Duration) -> bool {
        let wanted = self.connection.is_shared() || self.since.elapsed() < limit;
        wanted && !self.connection.is_closed()
    }

    fn use_again(&mut self) -> Option<Connection> {
        self.since = Instant::now();
        self.connection.share()
    }
}
