//! One connection, from its first byte to its last: TLS, the choice of protocol, keep-alive, its end.
//!
//! **A client that goes away.** Its guest must be dropped, and a client that only sends FIN may be a half-close
//! (`nc -N`) that still waits for its response. hyper can have one of the two: without `half_close` it reads ahead
//! while a response is made and takes FIN for the end; with it, it reads nothing, so that it does not even see a
//! reset. Here `half_close` is on, and [`Socket::reset`] watches the socket itself for as long as the connection
//! lives: a reset ends it at once, whatever the guest is waiting for, also when unread bytes of a request body are
//! in the way. A FIN before the end of a request body ends it too, for that request can never be complete. A client that
//! closes after a whole request and without a reset is found out by the first write it answers with a reset; until
//! then its guest runs, to its limits. HTTP/2 knows no half-close: there FIN ends the connection, and
//! RST_STREAM one request.
//!
//! **The end.** A request in progress finishes. HTTP/1 then waits [`Settings::idle_window`] for a request that may be
//! on its way, answers it with `connection: close`, and closes what stays idle; bytes of a next request that have
//! been read already are never thrown away. HTTP/2 sends GOAWAY and finishes its streams.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::drain::{Drain, InProgress, Progress, Requests};
use crate::streams::Streams;
use crate::tls::HTTP2;
use crate::transport::{Socket, Transport};

/// What a client that knows that the server speaks HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Enough for the head of a usual request, so that it is read in one go.
const FIRST_READ: usize = 2 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who is at the other end, and where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) scheme: &'static str,
}

/// What all connections of a server go by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long a TLS handshake may take.
    pub(crate) handshake_timeout: Duration,
    /// How long an idle HTTP/1 connection stays open for one more request after draining has begun.
    pub(crate) idle_window: Duration,
    /// The largest request head of HTTP/1 in bytes.
    pub(crate) max_head: usize,
    /// How many streams of one HTTP/2 connection may be open at a time.
    pub(crate) max_streams: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            // Three round trips to the other side of the world and a lost packet fit in a tenth of it.
            handshake_timeout: Duration::from_secs(10),
            // Longer than a round trip: a request sent just before our FIN arrives is still answered.
            idle_window: Duration::from_secs(1),
            // Four times nginx's 8 KiB: a signed cookie plus a trace header pass, a flood does not.
            max_head: 32 * 1024,
            // The least that the HTTP/2 specification recommends; each stream may hold a guest.
            max_streams: 100,
        }
    }
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
    pub(crate) settings: Settings,
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl<F, A, B> Connections<F>
where
    F: Fn(Request<Incoming>, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves one connection until either side has had enough.
    pub(crate) async fn serve(self, stream: TcpStream, address: SocketAddr) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let socket = Socket::new(stream);
        tokio::select! {
            biased;
            () = self.speak(socket.clone(), Peer { address, local, scheme }) => {}
            () = socket.reset() => tracing::debug!(client = %address, "the client has reset the connection"),
        }
    }

    async fn speak(self, socket: Socket, peer: Peer) {
        let Some(tls) = self.tls.clone() else {
            return self.converse(socket, peer, None).await;
        };
        match timeout(self.settings.handshake_timeout, tls.accept(socket)).await {
            Ok(Ok(stream)) => {
                let agreed =
                    (stream.get_ref().1.alpn_protocol() == Some(HTTP2)).then_some(Protocol::Http2);
                self.converse(stream, peer, agreed).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(client = %peer.address, %error, "the TLS handshake failed")
            }
            Err(_) => tracing::debug!(client = %peer.address, "the TLS handshake took too long"),
        }
    }

    async fn converse<S>(self, mut stream: S, peer: Peer, agreed: Option<Protocol>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((prefix, protocol)) =
            first_bytes(&mut stream, agreed, &self.drain, self.settings.idle_window).await
        else {
            return;
        };
        let progress = Progress::new(self.requests.clone());
        let transport = Transport::new(prefix, stream, progress.clone());
        match protocol {
            Protocol::Http1 => self.http1(transport, peer, progress).await,
            Protocol::Http2 => self.http2(transport, peer, progress).await,
        }
    }

    async fn http1<S>(self, transport: Transport<S>, peer: Peer, progress: Arc<Progress>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(self.settings.max_head);
        let service = service(
            self.answer,
            peer,
            progress.clone(),
            Some(self.drain.clone()),
        );
        let mut connection = builder.serve_connection(TokioIo::new(transport), service);
        tokio::select! {
            biased;
            () = run(&mut connection, &progress) => return,
            () = self.drain.begun() => {}
        }
        let End::Idle = run_until_idle(&mut connection, &progress, self.settings.idle_window).await
        else {
            return;
        };
        // Nothing is being answered or left to send. What hyper may still hold is the beginning of a request.
        let parts = connection.into_parts();
        let mut transport = parts.io.into_inner();
        if parts
            .read_buf
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n'))
        {
            let _ = transport.shutdown().await;
            return;
        }
        let transport = TokioIo::new(transport.rewind(parts.read_buf));
        run(
            &mut builder.serve_connection(transport, parts.service),
            &progress,
        )
        .await;
    }

    async fn http2<S>(self, transport: Transport<S>, peer: Peer, progress: Arc<Progress>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let streams = Streams::default();
        let mut builder = http2::Builder::new(streams.spawner());
        builder.max_concurrent_streams(self.settings.max_streams);
        let service = service(self.answer, peer, progress, None);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(transport), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = self.drain.begun() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log_end(ended);
    }
}

/// Reads until it is clear which protocol this is. `None`: the client left, or draining found it silent.
async fn first_bytes<S>(
    stream: &mut S,
    agreed: Option<Protocol>,
    drain: &Drain,
    idle_window: Duration,
) -> Option<(Bytes, Protocol)>
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
            count = stream.read_buf(&mut read) => count.ok()?,
            () = closing.as_mut(), if read.is_empty() => return None,
        };
        if count == 0 && read.is_empty() {
            return None;
        }
        let protocol = match agreed {
            Some(_) => agreed,
            // Half a preface and the end of it: HTTP/1 knows how to refuse that.
            None if count == 0 => Some(Protocol::Http1),
            None => recognise(&read),
        };
        if let Some(protocol) = protocol {
            return Some((read.freeze(), protocol));
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

/// Answers, counts what is in progress, and (HTTP/1 only) says `connection: close` once `closing` has begun.
fn service<F, A, B>(
    answer: F,
    peer: Peer,
    progress: Arc<Progress>,
    closing: Option<Drain>,
) -> impl HttpService<Incoming, ResBody = Tracked<B>, Error = Infallible, Future: Send + 'static>
where
    F: Fn(Request<Incoming>, Peer) -> A,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    service_fn(move |request| {
        let in_progress = progress.begin();
        let closing = closing.clone();
        let reply = answer(request, peer);
        async move {
            let mut response = reply.await;
            if closing.is_some_and(|drain| drain.has_begun()) {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Tracked {
                body,
                _in_progress: in_progress,
            }))
        }
    })
}

/// How an HTTP/1 connection came to rest.
enum End {
    Closed,
    Idle,
}

/// Runs an HTTP/1 connection to its end.
async fn run<C>(connection: &mut C, progress: &Progress)
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| poll(connection, progress, cx)).await;
}

/// All of a connection's requests are polled from here, so what this call did not change has not changed.
fn poll<C>(connection: &mut C, progress: &Progress, cx: &mut Context<'_>) -> Poll<()>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    match Pin::new(connection).poll(cx) {
        Poll::Ready(ended) => {
            log_end(ended);
            Poll::Ready(())
        }
        Poll::Pending if progress.was_cut_short() => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    }
}

/// Runs until the connection has owed nothing to its client for as long as `window`.
async fn run_until_idle<C>(connection: &mut C, progress: &Progress, window: Duration) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut closing = None;
    poll_fn(|cx| {
        if poll(connection, progress, cx).is_ready() {
            return Poll::Ready(End::Closed);
        }
        if progress.is_busy() {
            closing = None;
            return Poll::Pending;
        }
        let closing = closing.get_or_insert_with(|| Box::pin(sleep(window)));
        closing.as_mut().poll(cx).map(|()| End::Idle)
    })
    .await
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a connection ended early"
        );
    }
}

/// A response's body; as long as it lives, its request is in progress.
struct Tracked<B> {
    body: B,
    _in_progress: InProgress,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
