//! One connection, from its first byte to its last: whom it is for, TLS, the choice of protocol, keep-alive, its end.
//!
//! How each protocol treats a client that goes away, and the end of the server, is told in `http1` and `http2`.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::deadline::LOOK_AGAIN;
use crate::drain::{Drain, Requests};
use crate::limits::Limits;
use crate::proxies::{Announced, Proxies};
use crate::proxy_protocol::{self, Announcement};
use crate::received::Asked;
use crate::room::Place;
use crate::stats::{Closed, Seat, Stats};
use crate::tls::{Acceptor, HTTP2};
use crate::transport::Socket;

/// What a client that knows that the server speaks HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Enough for the head of a usual request, so that it is read in one go.
const FIRST_READ: usize = 2 * 1024;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who is at the other end, and where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The client, as far as it is known: a trusted proxy may tell of the one behind it.
    pub(crate) address: SocketAddr,
    pub(crate) local: SocketAddr,
    /// What the listener speaks.
    pub(crate) scheme: &'static str,
    /// What the client speaks: another scheme than the listener's where a trusted proxy says so.
    pub(crate) client_scheme: &'static str,
    /// Whether it is a trusted proxy, whose headers about the client behind it are true.
    pub(crate) is_proxy: bool,
}

/// Serves connections, each with the same function from a request to its response.
///
/// A copy of it belongs to each connection; `answer` is called once for each request.
#[derive(Clone)]
pub(crate) struct Connections<F> {
    pub(crate) answer: F,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) drain: Drain,
    pub(crate) requests: Requests,
    pub(crate) limits: Limits,
    pub(crate) stats: Stats,
    pub(crate) proxies: Arc<Proxies>,
}

/// A connection that was just accepted.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: Socket,
    pub(crate) address: SocketAddr,
    pub(crate) place: Place,
    pub(crate) since: Instant,
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl<F, A, B> Connections<F>
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves one connection until either side has had enough, or it has to make room before it has sent anything.
    pub(crate) async fn serve(self, arrival: Arrival) {
        let seat = self.stats.open();
        let (leave, address) = (arrival.place.leave(), arrival.address);
        tokio::select! {
            biased;
            () = self.receive(arrival, seat.clone()) => {}
            () = leave.notified() => {
                seat.ends(Closed::MadeRoom);
                tracing::debug!(client = %address, "it had sent nothing and made room for another");
            }
        }
    }

    async fn receive(self, mut arrival: Arrival, seat: Arc<Seat>) {
        let Some(peer) = self.peer(&mut arrival, &seat).await else {
            return;
        };
        let Arrival {
            socket,
            place,
            since,
            ..
        } = arrival;
        tokio::select! {
            biased;
            () = self.speak(socket.clone(), peer, since, place, seat.clone()) => {}
            () = socket.reset() => {
                seat.ends(Closed::ClientGone);
                tracing::debug!(client = %peer.address, "the client has reset the connection");
            }
        }
    }

    /// Who is at the other end; none if that is not said as it has to be.
    async fn peer(&self, arrival: &mut Arrival, seat: &Seat) -> Option<Peer> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let peer = Peer {
            address: arrival.address,
            local: arrival.socket.local_addr().ok()?,
            scheme,
            client_scheme: scheme,
            is_proxy: self.proxies.trusts(arrival.address.ip()),
        };
        if self.proxies.announced == Announced::No {
            return Some(peer);
        }
        let deadline = arrival.since + self.limits.proxy_header;
        let reading = in_time(deadline, proxy_protocol::read(&mut arrival.socket));
        match reading.await {
            Ok(Ok(announcement)) => Some(self.announced(peer, announcement)),
            Ok(Err(error)) => {
                seat.ends(Closed::Refused);
                tracing::debug!(proxy = %peer.address, %error, "no client was announced");
                None
            }
            Err(_) => {
                seat.ends(Closed::NothingSent);
                tracing::debug!(proxy = %peer.address, "no client was announced in time");
                None
            }
        }
    }

    /// The bytes that follow are the client's own, so its headers are believed only if it is a trusted proxy too.
    fn announced(&self, proxy: Peer, announcement: Announcement) -> Peer {
        match announcement {
            Announcement::Client { from, to } => Peer {
                address: from,
                local: to,
                is_proxy: self.proxies.trusts(from.ip()),
                ..proxy
            },
            Announcement::Unknown | Announcement::Local => Peer {
                is_proxy: false,
                ..proxy
            },
        }
    }

    async fn speak(
        self,
        socket: Socket,
        peer: Peer,
        since: Instant,
        place: Place,
        seat: Arc<Seat>,
    ) {
        let Some(tls) = self.tls.as_ref().map(Acceptor::current) else {
            return self
                .converse(socket.clone(), socket, peer, None, place, seat)
                .await;
        };
        let shaking = in_time(since + self.limits.handshake, tls.accept(socket.clone()));
        let shaken = tokio::select! {
            biased;
            shaken = shaking => shaken,
            () = self.closing() => return seat.ends(Closed::Drained),
        };
        match shaken {
            Ok(Ok(stream)) => {
                let agreed =
                    (stream.get_ref().1.alpn_protocol() == Some(HTTP2)).then_some(Protocol::Http2);
                self.converse(stream, socket, peer, agreed, place, seat)
                    .await;
            }
            Ok(Err(error)) => {
                seat.ends(Closed::Handshake);
                tracing::debug!(client = %peer.address, %error, "the TLS handshake failed");
            }
            Err(_) => {
                seat.ends(Closed::SlowHandshake);
                tracing::debug!(client = %peer.address, "the TLS handshake took too long");
            }
        }
    }

    /// Returns when what has not begun yet is not waited for any more.
    async fn closing(&self) {
        self.drain.begun().await;
        sleep(self.limits.idle_window).await;
    }

    /// `place` is held until the end of the connection.
    async fn converse<S>(
        self,
        mut stream: S,
        socket: Socket,
        peer: Peer,
        agreed: Option<Protocol>,
        mut place: Place,
        seat: Arc<Seat>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.limits;
        let first = first_bytes(&mut stream, agreed, &self.drain, limits.idle_window);
        match in_time(Instant::now() + limits.first_byte, first).await {
            Ok(Ok(_)) if !place.stay() => seat.ends(Closed::MadeRoom),
            Ok(Ok((read, Protocol::Http1))) => self.http1(read, stream, socket, peer, seat).await,
            Ok(Ok((read, Protocol::Http2))) => {
                let finish = || socket.finish();
                self.http2(read.freeze(), stream, finish, peer, seat).await;
            }
            Ok(Err(reason)) => seat.ends(reason),
            Err(_) => seat.ends(Closed::NothingSent),
        }
    }
}

/// As [`timeout_at`], and fair to who has sent in time: see [`LOOK_AGAIN`].
async fn in_time<T>(at: Instant, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut future = pin!(future);
    match timeout_at(at, future.as_mut()).await {
        Ok(output) => Ok(output),
        Err(_) => timeout(LOOK_AGAIN, future).await,
    }
}

/// Reads until it is clear which protocol this is, or why the connection ends before that.
async fn first_bytes<S>(
    stream: &mut S,
    agreed: Option<Protocol>,
    drain: &Drain,
    idle_window: Duration,
) -> Result<(BytesMut, Protocol), Closed>
where
    S: AsyncRead + Unpin,
{
    let mut closing = pin!(async {
        drain.begun().await;
        sleep(idle_window).await;
    });
    let mut read = BytesMut::with_capacity(FIRST_READ);
    loop {
        let count = tokio::select! {
            biased;
            count = stream.read_buf(&mut read) => count.map_err(|_| Closed::ClientGone)?,
            () = closing.as_mut(), if read.is_empty() => return Err(Closed::Drained),
        };
        if count == 0 && read.is_empty() {
            return Err(Closed::Client);
        }
        let protocol = match agreed {
            Some(_) => agreed,
            // Half a preface and the end of it: HTTP/1 knows how to refuse that.
            None if count == 0 => Some(Protocol::Http1),
            None => recognise(&read),
        };
        if let Some(protocol) = protocol {
            return Ok((read, protocol));
        }
    }
}

fn recognise(read: &[u8]) -> Option<Protocol> {
    if read.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(read) {
        None
    } else {
        Some(Protocol::Http1)
    }
}
