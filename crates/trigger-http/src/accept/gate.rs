//! Who may come in, and what becomes of those who may not.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{BACKLOG, accept_at_once};
use crate::connection::{Arrival, Connections};
use crate::proxies::Proxies;
use crate::room::{Full, Room};
use crate::stats::{Closed, Stats};
use crate::tally::Tally;
use crate::transport::Socket;

/// What a client of cleartext HTTP is told for whom there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 19\r\n\r\nService Unavailable";

/// How many of them are waited for until they have read it: a few descriptors beside those that are served.
const MOST_LINGERING: usize = 256;

/// What is read of a client that is turned away, before it has had long enough.
const MOST_DISCARDED: u64 = 64 * 1024;

/// Decides who may come in.
pub(super) struct Gate {
    room: Room,
    proxies: Arc<Proxies>,
    stats: Stats,
    speaks_tls: bool,
    linger: Duration,
    lingering: Arc<Semaphore>,
    told: Told,
}

/// What is told now and then, each with how often it was.
#[derive(Default)]
struct Told {
    full: Tally,
    one_client: Tally,
    no_proxy: Tally,
    failed: Tally,
}

impl Gate {
    pub(super) fn new<F>(connections: &Connections<F>) -> Gate {
        let limits = &connections.limits;
        // Where few may come in, few descriptors are left for the others.
        let lingering = MOST_LINGERING.min(limits.connections / 8 + 1);
        Gate {
            room: Room::new(limits),
            proxies: connections.proxies.clone(),
            stats: connections.stats.clone(),
            speaks_tls: connections.tls.is_some(),
            linger: limits.linger,
            lingering: Arc::new(Semaphore::new(lingering)),
            told: Told::default(),
        }
    }

    /// Lets a client in, or turns it away.
    pub(super) fn admit(
        &self,
        tasks: &mut JoinSet<()>,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Option<Arrival> {
        if !self.proxies.admits(address.ip()) {
            self.stats.turned_away(Closed::Refused);
            self.told.no_proxy.count().inspect(|count| no_proxy(*count));
            return None;
        }
        let client = (!self.proxies.trusts(address.ip())).then_some(address.ip());
        let socket = Socket::new(stream);
        match self.room.enter(&socket, client) {
            Ok(place) => Some(Arrival {
                socket,
                address,
                place,
                since: Instant::now(),
            }),
            Err(Full::All) => {
                self.stats.turned_away(Closed::NoRoom);
                self.told.full.count().inspect(|count| full(*count));
                self.say_no_room(tasks, socket);
                None
            }
            Err(Full::OneClient) => {
                self.stats.turned_away(Closed::NoRoom);
                self.told
                    .one_client
                    .count()
                    .inspect(|count| one_client(*count));
                None
            }
        }
    }

    /// Answers who is turned away, and gives it a moment to read that. Of TLS nothing is begun.
    fn say_no_room(&self, tasks: &mut JoinSet<()>, socket: Socket) {
        if self.speaks_tls {
            return;
        }
        socket.send_last(NO_ROOM);
        let Ok(slot) = self.lingering.clone().try_acquire_owned() else {
            return;
        };
        let linger = self.linger;
        tasks.spawn(async move {
            let _slot = slot;
            // A close with unread bytes would be a reset, which takes the answer back.
            let mut rest = socket.take(MOST_DISCARDED);
            let _ = timeout(linger, copy(&mut rest, &mut sink())).await;
        });
    }

    /// Asks the oldest connection that has sent nothing to leave, if there is one.
    pub(super) fn make_room(&self) -> bool {
        self.room.make()
    }

    /// Turns away all who wait while there is no descriptor for them, so that they do not wait for nothing.
    pub(super) fn shed(&self, reserve: &mut Reserve, listener: &TcpListener) {
        for _ in 0..BACKLOG {
            reserve.0 = None;
            let Some((stream, _)) = accept_at_once(listener) else {
                break;
            };
            self.stats.turned_away(Closed::NoRoom);
            self.told.full.count().inspect(|count| full(*count));
            if !self.speaks_tls {
                Socket::new(stream).send_last(NO_ROOM);
            }
        }
        reserve.fill();
    }

    pub(super) fn cannot_accept(&self, error: &io::Error) {
        if let Some(count) = self.told.failed.count() {
            tracing::warn!(%error, count, "cannot accept connections; trying again");
        }
    }

    /// Tells what has gathered.
    pub(super) fn tell(&self) {
        let told = &self.told;
        told.full.gathered().inspect(|count| full(*count));
        told.one_client
            .gathered()
            .inspect(|count| one_client(*count));
        told.no_proxy.gathered().inspect(|count| no_proxy(*count));
        if let Some(count) = told.failed.gathered() {
            tracing::warn!(count, "cannot accept connections; trying again");
        }
    }
}

fn full(count: u64) {
    tracing::warn!(
        count,
        "no room for more connections; see `--max-connections`"
    );
}

fn one_client(count: u64) {
    tracing::warn!(
        count,
        "a client has as many connections as one client may have; see `--max-connections-per-ip`"
    );
}

fn no_proxy(count: u64) {
    tracing::warn!(
        count,
        "somebody connected who is no trusted proxy; see `--proxy-protocol` and `--trusted-proxies`"
    );
}

/// A file descriptor that is held for the time when there is none, so that who waits can be turned away.
#[derive(Default)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    pub(super) fn fill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }
}
