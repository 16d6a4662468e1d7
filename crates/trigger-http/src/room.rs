//! How many connections there may be, and which of them makes room for another.
//!
//! A connection takes a [`Place`] when it is accepted and gives it back when it is dropped. Until it has sent something
//! it may be asked to leave: at the limit the oldest of these makes room, so that connections that say nothing cannot
//! keep out those that do. One whose bytes have arrived, and only wait to be read, is not silent. What each of these
//! steps costs does not grow with what a client does, only with the logarithm of how many are silent.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::Limits;
use crate::transport::Socket;

/// What of an IPv6 address names a network: whoever has one address of it has all of them.
const NETWORK: u128 = !0 << 64;

/// So many of the oldest are looked at for one that is silent: more whose bytes wait are more than we can serve.
const LOOKED_AT: usize = 8;

/// The places of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    limit_per_client: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Connections that were not asked to leave.
    open: usize,
    next: u64,
    /// Those that have sent nothing, the oldest first.
    silent: BTreeMap<u64, Silent>,
    by_client: HashMap<IpAddr, usize>,
}

/// A connection that has sent nothing, as far as it has been read.
#[derive(Debug)]
struct Silent {
    leave: Arc<Notify>,
    socket: Socket,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken by connections that have sent something.
    All,
    /// This client has as many as one client may have.
    OneClient,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Place {
    room: Room,
    number: u64,
    client: Option<IpAddr>,
    leave: Arc<Notify>,
    silent: bool,
}

impl Room {
    pub(crate) fn new(limits: &Limits) -> Room {
        Room(Arc::new(Shared {
            limit: limits.connections,
            limit_per_client: limits.connections_per_ip,
            taken: Mutex::default(),
        }))
    }

    /// Takes a place. `client` is whom it counts for; none for one who comes for many.
    pub(crate) fn enter(&self, socket: &Socket, client: Option<IpAddr>) -> Result<Place, Full> {
        let client = client
            .filter(|_| self.0.limit_per_client.is_some())
            .map(network);
        let mut taken = self.taken();
        let of_client = client.and_then(|client| taken.by_client.get(&client).copied());
        if self
            .0
            .limit_per_client
            .is_some_and(|limit| client.is_some() && limit <= of_client.unwrap_or(0))
        {
            return Err(Full::OneClient);
        }
        if self.0.limit <= taken.open && !taken.ask_oldest_to_leave() {
            return Err(Full::All);
        }
        if let Some(client) = client {
            *taken.by_client.entry(client).or_default() += 1;
        }
        taken.open += 1;
        taken.next += 1;
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        let silent = Silent {
            leave: leave.clone(),
            socket: socket.clone(),
        };
        taken.silent.insert(number, silent);
        Ok(Place {
            room: self.clone(),
            number,
            client,
            leave,
            silent: true,
        })
    }

    /// Asks the oldest connection that has sent nothing to leave. Says whether there was one.
    pub(crate) fn make(&self) -> bool {
        self.taken().ask_oldest_to_leave()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn ask_oldest_to_leave(&mut self) -> bool {
        let mut oldest = self.silent.iter().take(LOOKED_AT);
        let Some((&number, _)) = oldest.find(|(_, silent)| !silent.socket.has_unread()) else {
            return false;
        };
        // Its place is free from now on, though it has yet to hear of it.
        let silent = self.silent.remove(&number).expect("found above");
        self.open -= 1;
        silent.leave.notify_one();
        true
    }

    fn forget(&mut self, client: IpAddr) {
        if let Some(count) = self.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Place {
    /// What tells this connection to leave.
    pub(crate) fn leave(&self) -> Arc<Notify> {
        self.leave.clone()
    }

    /// It has sent something, and may stay. Not if it was asked to leave before.
    pub(crate) fn stay(&mut self) -> bool {
        let may_stay = self.room.taken().silent.remove(&self.number).is_some();
        self.silent = !may_stay;
        may_stay
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        if !self.silent || taken.silent.remove(&self.number).is_some() {
            taken.open -= 1;
        }
        if let Some(client) = self.client {
            taken.forget(client);
        }
    }
}

/// Whom an address stands for.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    fn room(connections: usize, connections_per_ip: Option<usize>) -> Room {
        Room::new(&Limits {
            connections,
            connections_per_ip,
            ..Limits::default()
        })
    }

    async fn asked_to_leave(place: &Place) -> bool {
        let leave = place.leave();
        tokio::select! {
            biased;
            () = leave.notified() => true,
            () = std::future::ready(()) => false,
        }
    }

    /// A connection, and the client at its other end.
    #[expect(clippy::disallowed_methods, reason = "a test is a client")]
    async fn connection() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::new(accepted.unwrap().0), client.unwrap())
    }

    #[tokio::test]
    async fn d22_the_oldest_that_has_sent_nothing_makes_room() {
        let room = room(3, None);
        let (socket, _client) = connection().await;
        let enter = || room.enter(&socket, None);
        let mut places: Vec<_> = (0..3).map(|_| enter().unwrap()).collect();
        assert!(places[0].stay());
        let new = enter().unwrap();
        let asked = [
            asked_to_leave(&places[0]).await,
            asked_to_leave(&places[1]).await,
            asked_to_leave(&places[2]).await,
            asked_to_leave(&new).await,
        ];
        assert_eq!(asked, [false, true, false, false]);
        assert!(!places[1].stay(), "it was asked to leave before it spoke");
        assert!(places[2].stay());
        // It has left its place already, so that its end gives nothing back.
        drop(places.remove(1));
        drop(new);
        let mut last = enter().unwrap();
        assert!(last.stay());
        assert_eq!(enter().unwrap_err(), Full::All);
        assert!(!room.make());
        drop(places);
        drop(last);
        assert_eq!(room.taken().open, 0);
        assert!(room.taken().silent.is_empty());
    }

    #[tokio::test]
    async fn d22_one_whose_bytes_wait_to_be_read_is_not_silent() {
        let room = room(2, None);
        let (spoke, mut client) = connection().await;
        let (silent, _other) = connection().await;
        client.write_all(b"G").await.unwrap();
        while !spoke.has_unread() {
            tokio::task::yield_now().await;
        }
        let mut first = room.enter(&spoke, None).unwrap();
        let second = room.enter(&silent, None).unwrap();
        let third = room.enter(&spoke, None).unwrap();
        assert!(asked_to_leave(&second).await);
        assert_eq!(room.enter(&silent, None).unwrap_err(), Full::All);
        assert!(first.stay());
        drop((first, third));
        assert!(room.enter(&silent, None).is_ok());
    }

    #[tokio::test]
    async fn d23_one_client_has_so_many_and_a_network_of_ipv6_is_one_client() {
        let room = room(100, Some(2));
        let (socket, _client) = connection().await;
        let enter = |client: &str| room.enter(&socket, Some(client.parse().unwrap()));
        for (client, twin, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:0:0:9", "2001:db8:0:1::1"),
        ] {
            let one = enter(client).unwrap();
            let _two = enter(twin).unwrap();
            assert_eq!(enter(client).unwrap_err(), Full::OneClient, "{client}");
            assert!(enter(other).is_ok(), "{other}");
            drop(one);
            assert!(enter(client).is_ok(), "{client}");
        }
        assert!(room.taken().by_client.is_empty());
        let many: Vec<_> = (0..9).map(|_| room.enter(&socket, None)).collect();
        assert!(many.iter().all(Result::is_ok), "a proxy comes for many");
    }
}
