//! HTTP/2: hyper and h2 read and write the frames; what they leave open is closed here.
//!
//! | what | how it ends |
//! |---|---|
//! | frames that ask for nothing | [`wire`]: a budget; GOAWAY `ENHANCE_YOUR_CALM` |
//! | a frame or a header block that stops half way | closed after [`Limits::head`] |
//! | a client that takes nothing from its socket | closed after [`Limits::write_stall`] |
//! | a client that opens no window for one response | [`flow`]: that stream is reset after [`Limits::write_stall`] |
//! | a request's body that is too slow | its guest reads an error; 408 if no response has begun |
//! | nothing asked for [`Limits::keep_alive`] | GOAWAY, and closed [`Limits::idle_window`] later |
//! | no answer to a ping | closed after twice [`Limits::ping`] |
//!
//! All but the streams happens in one task, which runs hyper's connection and looks at the wire after each turn. Each
//! stream has a task of its own, which runs its guest; they are aborted when the connection ends.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use crate::connection::{BoxError, Connections, Peer};
use crate::drain::Drain;
use crate::http2::account::{Account, Begun};
use crate::http2::flow::Flow;
use crate::http2::turns::Turns;
use crate::http2::wire::{Report, Wire};
use crate::limits::Limits;
use crate::received::{Asked, Received, Unreadable};
use crate::refusal::Refusal;
use crate::stats::{Closed, Seat, State};
use crate::streams::{Next, Spawner, Streams};

mod account;
mod budget;
pub(crate) mod flow;
mod frames;
#[cfg(test)]
mod tests;
mod turns;
mod wire;

/// A response is handed over in parts of this size, a frame's own, so that a slow client is told from a stalled one.
const PART: usize = 16 * 1024;

/// How soon a connection that is to end is looked at again while its last request is in progress.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl<F, A, B> Connections<F>
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// `finish` sends FIN, once nothing more is written to `stream`.
    pub(crate) async fn http2<S>(
        self,
        prefix: Bytes,
        stream: S,
        finish: impl FnOnce(),
        peer: Peer,
        seat: Arc<Seat>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = Arc::new(self.limits);
        let mut wire = Wire::new(prefix, stream, &limits);
        let ended = {
            let streams = Streams::new(limits.write_stall);
            let watch = Watch {
                wire: wire.clone(),
                account: Account::new(self.requests, seat.clone()),
                turns: Turns::default(),
                limits: limits.clone(),
                opened: Instant::now(),
            };
            let service = Streaming {
                answer: self.answer,
                peer,
                limits: limits.clone(),
                account: watch.account.clone(),
                turns: watch.turns.clone(),
                next: streams.next(),
            };
            let connection = builder(&limits, streams.spawner())
                .serve_connection(TokioIo::new(wire.clone()), service.into_service());
            watch
                .run(connection, |open| open.graceful_shutdown(), &self.drain)
                .await
        };
        seat.enter(State::Closing);
        let lingers = match ended {
            Ended::Closed(reason) => {
                seat.ends(reason);
                tracing::debug!(client = %peer.address, reason = reason.as_str(), "a connection is closed");
                wire.say(code(reason), limits.linger).await;
                true
            }
            Ended::Hyper(reason, ended) => {
                seat.ends(reason);
                let failed = ended.is_err();
                log_end(ended);
                failed
            }
        };
        if lingers {
            wire.close(limits.linger).await;
            finish();
            wire.linger(limits.linger, limits.connection_window).await;
        }
    }
}

/// What GOAWAY says.
fn code(reason: Closed) -> u32 {
    if reason == Closed::Http2 {
        frames::ENHANCE_YOUR_CALM
    } else {
        frames::NO_ERROR
    }
}

fn builder(limits: &Limits, spawner: Spawner) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(spawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .adaptive_window(false)
        .max_send_buf_size(limits.send_buffer)
        // Larger than what is accepted, so that what is refused gets an answer and a line in the log like everything else.
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        // As many as a client may have open: it may take all of them back at once.
        .max_pending_accept_reset_streams(limits.streams as usize)
        .max_local_error_reset_streams(limits.failed_streams)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping);
    builder
}

/// How a connection ended.
enum Ended {
    /// hyper is done with it.
    Hyper(Closed, hyper::Result<()>),
    /// We are.
    Closed(Closed),
}

/// Runs a connection, and knows when it must end.
struct Watch<S> {
    wire: Wire<S>,
    account: Account,
    turns: Turns,
    limits: Arc<Limits>,
    opened: Instant,
}

impl<S> Watch<S> {
    async fn run<C>(self, connection: C, say_go_away: impl Fn(Pin<&mut C>), drain: &Drain) -> Ended
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let mut draining = pin!(drain.begun());
        let mut alarm = pin!(sleep(self.limits.head));
        let mut leaving = None;
        std::future::poll_fn(|cx| {
            loop {
                if leaving.is_none() && draining.as_mut().poll(cx).is_ready() {
                    leaving = Some((Closed::Drained, Instant::now()));
                    say_go_away(connection.as_mut());
                }
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(self.hyper_ended(ended, leaving));
                }
                let report = self.wire.report();
                self.turns.ran(cx, report.blocked.is_none());
                if report.exhausted {
                    return Poll::Ready(Ended::Closed(Closed::Http2));
                }
                let (due, reason) = self.due(report, leaving);
                if due <= Instant::now() {
                    if reason != Closed::Idle || leaving.is_some() {
                        return Poll::Ready(Ended::Closed(reason));
                    }
                    leaving = Some((Closed::Idle, Instant::now()));
                    say_go_away(connection.as_mut());
                    continue;
                }
                if due < alarm.deadline() {
                    alarm.as_mut().reset(due);
                }
                // One that rings early has been set before something happened.
                while alarm.as_mut().poll(cx).is_ready() {
                    alarm.as_mut().reset(due);
                }
                return Poll::Pending;
            }
        })
        .await
    }

    /// What ends the connection next, unless something happens before. `leaving` says why it is to end, and since when.
    fn due(&self, report: Report, leaving: Option<(Closed, Instant)>) -> (Instant, Closed) {
        let limits = &self.limits;
        let (window, reason, from) = match leaving {
            Some((reason, since)) => (limits.idle_window, reason, since),
            None => (limits.keep_alive, Closed::Idle, self.opened),
        };
        let idle = match self.account.idle_since() {
            Some(since) => since.max(from) + window,
            // Nothing is due; but somebody must look again.
            None => Instant::now() + window.max(LOOK_AGAIN),
        };
        let idle = (idle, reason);
        let unfinished = report
            .unfinished
            .map(|since| (since + limits.head, Closed::SlowHead));
        let blocked = report
            .blocked
            .map(|since| (since + limits.write_stall, Closed::WriteStall));
        [unfinished, blocked]
            .into_iter()
            .flatten()
            .fold(
                idle,
                |first, other| if other.0 < first.0 { other } else { first },
            )
    }

    fn hyper_ended(&self, ended: hyper::Result<()>, leaving: Option<(Closed, Instant)>) -> Ended {
        let is_owed = self.account.idle_since().is_none();
        let reason = match (&ended, leaving) {
            (Err(error), _) if !is_of_client(error) => Closed::Http2,
            (Err(_), _) => Closed::ClientGone,
            (Ok(()), _) if is_owed => Closed::ClientGone,
            (Ok(()), Some((reason, _))) => reason,
            (Ok(()), None) => Closed::Client,
        };
        Ended::Hyper(reason, ended)
    }
}

/// Whether the client is gone, or does not answer; otherwise it has said what no client may.
fn is_of_client(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_timeout() || source.is_some_and(|source| source.is::<std::io::Error>())
}

/// Answers the requests of one connection.
struct Streaming<F> {
    answer: F,
    peer: Peer,
    limits: Arc<Limits>,
    account: Account,
    turns: Turns,
    next: Next,
}

impl<F, A, B> Streaming<F>
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn into_service(
        self,
    ) -> impl HttpService<Incoming, ResBody = Sent<B>, Error = Infallible, Future: Send + 'static>
    {
        service_fn(move |request: Request<Incoming>| {
            let begun = self.account.begin();
            let flow = Arc::new(Flow::default());
            self.next.is(flow.clone());
            let turns = self.turns.clone();
            let reply = self.reply(request, flow.clone());
            async move {
                Ok(reply.await.map(|body| Sent {
                    body,
                    rest: Bytes::new(),
                    broken: None,
                    flow,
                    turns,
                    _begun: begun,
                }))
            }
        })
    }

    /// Asks the app; and once more, to refuse the request, when its body turns out to be too slow.
    fn reply(
        &self,
        request: Request<Incoming>,
        flow: Arc<Flow>,
    ) -> impl Future<Output = Response<B>> + Send + use<F, A, B> {
        let (answer, peer) = (self.answer.clone(), self.peer);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let max_path = self.limits.target_bytes;
        let unreadable = move |refusal| Unreadable {
            refusal,
            method,
            path: uri.path().chars().take(max_path).collect(),
        };
        let refusal = oversized(&request, &self.limits);
        let request = request.map(|body| Received::http2(body, self.limits.clone(), flow.clone()));
        async move {
            if let Some(refusal) = refusal {
                return answer(Err(unreadable(refusal)), peer).await;
            }
            // What is not taken here is dropped here, and with it the guest.
            let reply = tokio::select! {
                biased;
                reply = answer(Ok(request), peer) => Some(reply),
                () = flow.too_slow() => None,
            };
            match reply {
                Some(reply) if !flow.was_too_slow() => reply,
                _ => answer(Err(unreadable(Refusal::SlowBody)), peer).await,
            }
        }
    }
}

/// What of a head is more than may be, as HTTP/1 has it.
fn oversized<T>(request: &Request<T>, limits: &Limits) -> Option<Refusal> {
    let target = request.uri().path_and_query();
    let fields = request.headers();
    let bytes: usize = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    if target.is_some_and(|target| target.as_str().len() > limits.target_bytes) {
        Some(Refusal::LongTarget)
    } else if fields.len() > limits.fields {
        Some(Refusal::ManyFields)
    } else if bytes > limits.header_list {
        Some(Refusal::LargeHead)
    } else {
        None
    }
}

/// A response's body on its way to hyper; as long as it lives, its request is in progress.
struct Sent<B> {
    body: B,
    /// What is left of a part that was too large to be handed over at once.
    rest: Bytes,
    /// How it broke off, while what came before is written: h2 throws away what it has when a stream is reset.
    broken: Option<(BoxError, Option<u64>)>,
    flow: Arc<Flow>,
    turns: Turns,
    _begun: Begun,
}

impl<B> Sent<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some((_, from)) = &mut self.broken {
            ready!(self.turns.poll_next(cx, from));
            return Poll::Ready(self.broken.take().map(|(error, _)| Err(error)));
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.part()))));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Frame::data(self.part())
                }
                Err(trailers) => trailers,
            }))),
            Some(Err(error)) => {
                self.broken = Some((error.into(), None));
                self.poll_body(cx)
            }
            None => Poll::Ready(None),
        }
    }

    fn part(&mut self) -> Bytes {
        self.rest.split_to(self.rest.len().min(PART))
    }
}

impl<B> Body for Sent<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.poll_body(cx);
        match &frame {
            Poll::Ready(_) => self.flow.handed_over(),
            Poll::Pending => self.flow.waits_for_guest(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a connection ended early"
        );
    }
}
