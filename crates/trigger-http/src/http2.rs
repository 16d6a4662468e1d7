//! HTTP/2: hyper and h2 read and write the frames; what they leave open is closed here.
//!
//! | what | how it ends |
//! |---|---|
//! | frames that ask for nothing | [`wire`]: a budget; GOAWAY `ENHANCE_YOUR_CALM` |
//! | a frame or a header block that stops half way | closed after [`Limits::head`] |
//! | a client that takes nothing from its socket | closed after [`Limits::write_stall`] |
//! | a client that opens no window for one response | [`flow`]: that stream is reset after [`Limits::write_stall`] |
//! | the same, for the end of one | [`unread`]: GOAWAY after twice that at most, and closed behind the other requests |
//! | a request's body that is too slow | its guest reads an error; 408 if no response has begun |
//! | nothing asked for [`Limits::keep_alive`] | GOAWAY, and closed [`Limits::idle_window`] later |
//! | no answer to a ping | closed after twice [`Limits::ping`] |
//!
//! All but the streams happens in one task, which runs hyper's connection and looks at the wire after each turn. Each
//! stream has a task of its own, which runs its guest; they are aborted when the connection ends.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
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
use crate::deadline;
use crate::drain::Drain;
use crate::http2::account::{Account, Begun};
use crate::http2::flow::Flow;
use crate::http2::turned_down::TurnedDown;
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
mod turned_down;
mod turns;
mod unread;
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
            let answer = self.answer.clone();
            let watch = Watch {
                wire: wire.clone(),
                account: Account::new(self.requests, seat.clone()),
                turns: Turns::default(),
                limits: limits.clone(),
                opened: Instant::now(),
                looks_at_ends: None,
                seen: TurnedDown::default(),
                told: 0,
                tell: move |refusal| tell(answer(Err(Unreadable::unseen(refusal)), peer)),
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

/// Has a refusal counted, and told in the log, that h2 has answered or that ends the connection: nobody sees the answer.
fn tell<B>(answer: impl Future<Output = Response<B>>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut cx = Context::from_waker(Waker::noop());
    if let Poll::Ready(response) = pin!(answer).poll(&mut cx) {
        let mut body = response.into_body();
        while let Poll::Ready(Some(Ok(_))) = Pin::new(&mut body).poll_frame(&mut cx) {}
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
        // Larger than what is accepted, so that what is refused gets an answer with an id in it, as everything else does.
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
struct Watch<S, T> {
    wire: Wire<S>,
    account: Account,
    turns: Turns,
    limits: Arc<Limits>,
    opened: Instant,
    /// When the ends of responses that their client has left no room for are looked for, if there may be any.
    looks_at_ends: Option<Instant>,
    /// What h2 had turned down when it was last looked at.
    seen: TurnedDown,
    /// How many of those were requests, and have a line in the log.
    told: u64,
    /// Tells that a request was refused, or what should have been one.
    tell: T,
}

impl<S, T: Fn(Refusal)> Watch<S, T> {
    async fn run<C>(
        mut self,
        connection: C,
        say_go_away: impl Fn(Pin<&mut C>),
        drain: &Drain,
    ) -> Ended
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let mut draining = pin!(drain.begun());
        let mut alarm = pin!(sleep(self.limits.head));
        let mut leaving = None;
        // What was due is not believed at once, as with `Deadline`.
        let (mut looked, mut looks_until) = (None, self.opened);
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
                if leaving.is_none() {
                    self.tell_of(report);
                }
                if report.exhausted {
                    (self.tell)(Refusal::Http2);
                    return Poll::Ready(Ended::Closed(Closed::Http2));
                }
                if leaving.is_none() && self.end_is_unread(report) {
                    leaving = Some((Closed::WriteStall, Instant::now()));
                    say_go_away(connection.as_mut());
                    continue;
                }
                let (mut due, reason) = self.due(report, leaving);
                if due <= Instant::now() && looked != Some(due) {
                    looked = Some(due);
                    looks_until = Instant::now() + deadline::LOOK_AGAIN;
                }
                if looked == Some(due) {
                    due = looks_until;
                }
                if due <= Instant::now() {
                    if reason == Closed::SlowHead {
                        (self.tell)(Refusal::SlowHead);
                    }
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
        // Where nothing is wrong with them, they are looked at again.
        let ends = self.looks_at_ends.filter(|_| leaving.is_none());
        let ends = ends.map(|at| (at, Closed::WriteStall));
        [unfinished, blocked, ends]
            .into_iter()
            .flatten()
            .fold(
                idle,
                |first, other| if other.0 < first.0 { other } else { first },
            )
    }

    /// Whether a client has left no room for the end of a response. What h2 was given whole has no task any more that could
    /// see that; but it is one of the streams on which nothing was sent, and of those there are more than tasks.
    fn end_is_unread(&mut self, report: Report) -> bool {
        let owed = self.account.count();
        if report.unread <= owed {
            self.looks_at_ends = None;
            return false;
        }
        let now = Instant::now();
        let next = now + self.limits.write_stall;
        if now < *self.looks_at_ends.get_or_insert(next) {
            return false;
        }
        self.looks_at_ends = Some(next);
        self.wire.stalled() > owed
    }

    /// A request that h2 has turned down by itself is in the log like any other.
    ///
    /// Nobody says which it was: but more heads have come than were handed over. It was malformed where h2 has reset a
    /// stream for what came on it; otherwise h2 has answered it, as it does with a head that is too large.
    fn tell_of(&mut self, report: Report) {
        let now = report.turned_down;
        // While its answers are not taken, h2 does not read what it has.
        if report.blocked.is_some() || now == self.seen {
            return;
        }
        let malformed = now.malformed - self.seen.malformed;
        let unseen = self.unseen(now);
        self.seen = now;
        self.told += unseen;
        for number in 0..unseen {
            let is_malformed = number < malformed;
            (self.tell)(if is_malformed {
                Refusal::Malformed
            } else {
                Refusal::LargeHead
            });
        }
    }

    /// The same once the connection has ended: what was not handed over may have been good.
    fn tell_of_last(&mut self, report: Report) {
        let now = report.turned_down;
        let malformed = now.malformed - self.seen.malformed;
        let told = self.unseen(now).min(malformed);
        (0..told).for_each(|_| (self.tell)(Refusal::Malformed));
    }

    /// Heads that were neither handed over, nor refused for want of room, nor told.
    fn unseen(&self, now: TurnedDown) -> u64 {
        let accounted = now.refused + self.account.begun() + self.told;
        now.heads.saturating_sub(accounted)
    }

    fn hyper_ended(
        &mut self,
        ended: hyper::Result<()>,
        leaving: Option<(Closed, Instant)>,
    ) -> Ended {
        let is_owed = self.account.idle_since().is_none();
        let reason = match (&ended, leaving) {
            (Err(error), _) if !is_of_client(error) => Closed::Http2,
            (Err(_), _) => Closed::ClientGone,
            (Ok(()), _) if is_owed => Closed::ClientGone,
            (Ok(()), Some((reason, _))) => reason,
            (Ok(()), None) => Closed::Client,
        };
        if reason == Closed::Http2 {
            (self.tell)(Refusal::Http2);
        } else if leaving.is_none() {
            self.tell_of_last(self.wire.report());
        }
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

    /// Asks the app, for an answer or to refuse the request.
    fn reply(
        &self,
        request: Request<Incoming>,
        flow: Arc<Flow>,
    ) -> impl Future<Output = Response<B>> + Send + use<F, A, B> {
        let (answer, peer) = (self.answer.clone(), self.peer);
        let asked = match oversized(&request, &self.limits) {
            Some(refusal) => Err(Unreadable {
                refusal,
                method: request.method().clone(),
                path: request
                    .uri()
                    .path()
                    .chars()
                    .take(self.limits.target_bytes)
                    .collect(),
            }),
            None => Ok(request.map(|body| Received::http2(body, self.limits.clone(), flow))),
        };
        async move { answer(asked, peer).await }
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
