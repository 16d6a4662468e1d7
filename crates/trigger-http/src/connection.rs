//! One connection, from its first byte to its last: TLS, the choice of protocol, keep-alive, its end.
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
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::drain::{Drain, Requests};
use crate::limits::Limits;
use crate::received::Asked;
use crate::stats::{Closed, Seat, Stats};
use crate::tls::HTTP2;
use crate::transport::Socket;

/// What a client that knows that the server speaks HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Enough for the head of a usual request, so that it is read in one go.
const FIRST_READ: usize = 2 * 1024;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who is at the other end, and where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) scheme: &'static str,
}

/// Serves connections, each with the same function from a request to its response.
///
/// A copy of it belongs to each connection; `answer` is called once for each request.
#[derive(Clone)]
pub(crate) struct Connections<F> {
    pub(crate) answer: F,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) drain: Drain,
    pub(crate) requests: Requests,
    pub(crate) limits: Limits,
    pub(crate) stats: Stats,
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
    /// Serves one connection until either side has had enough.
    pub(crate) async fn serve(self, stream: TcpStream, address: SocketAddr) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let seat = self.stats.open();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let socket = Socket::new(stream);
        let peer = Peer {
            address,
            local,
            scheme,
        };
        tokio::select! {
            biased;
            () = self.speak(socket.clone(), peer, seat.clone()) => {}
            () = socket.reset() => {
                seat.ends(Closed::ClientGone);
                tracing::debug!(client = %address, "the client has reset the connection");
            }
        }
    }

    async fn speak(self, socket: Socket, peer: Peer, seat: Arc<Seat>) {
        let Some(tls) = self.tls.clone() else {
            return self
                .converse(socket.clone(), socket, peer, None, seat)
                .await;
        };
        match timeout(self.limits.handshake, tls.accept(socket.clone())).await {
            Ok(Ok(stream)) => {
                let agreed =
                    (stream.get_ref().1.alpn_protocol() == Some(HTTP2)).then_some(Protocol::Http2);
                self.converse(stream, socket, peer, agreed, seat).await;
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

    async fn converse<S>(
        self,
        mut stream: S,
        socket: Socket,
        peer: Peer,
        agreed: Option<Protocol>,
        seat: Arc<Seat>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let first = timeout(
            self.limits.first_byte,
            first_bytes(&mut stream, agreed, &self.drain, self.limits.idle_window),
        );
        match first.await {
            Ok(Ok((read, Protocol::Http1))) => self.http1(read, stream, socket, peer, seat).await,
            Ok(Ok((read, Protocol::Http2))) => self.http2(read.freeze(), stream, peer, seat).await,
            Ok(Err(reason)) => seat.ends(reason),
            Err(_) => seat.ends(Closed::NothingSent),
        }
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
