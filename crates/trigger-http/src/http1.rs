//! HTTP/1: one task reads requests, has them answered, and writes the answers, one after another.
//!
//! `runner_http1` reads and writes the bytes; this page is about time and order. The guest is driven by this task too,
//! by polling its response, so that a request passes no queue and wakes nobody. What a guest reads of its request's body
//! is taken off the connection by the guest's own read.
//!
//! **A client that goes away.** Its guest must be dropped, and a client that only sends FIN may be a half-close
//! (`nc -N`) that still waits for its response. So nothing is read ahead of what is asked for, and
//! [`Socket::reset`](crate::transport::Socket::reset) watches the socket for as long as the connection lives: a reset
//! ends it at once, whatever the guest is waiting for. A FIN before the end of a request's body ends it too, for that
//! request can never be complete.
//!
//! **The end.** Once draining has begun, an idle connection waits [`Limits::idle_window`] for a request that may be on
//! its way, and answers it with `connection: close`. Bytes of a request that have been read are never thrown away.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use runner_http1::{Encoder, Fit, Framing, Head, HeadReader, Persist, encode_head};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::connection::{BoxError, Connections, Peer};
use crate::deadline::Deadline;
use crate::drain::Alarm;
use crate::received::{Asked, Received, Unreadable};
use crate::refusal::Refusal;
use crate::stats::{Closed, Seat, State};
use crate::transport::Socket;

mod output;
mod sending;
mod wire;

pub(crate) use wire::{Body, Late};

use output::Output;
use sending::Sending;
use wire::{Fault, Shared};

/// What is read of a head at once: most heads are smaller.
const READ: usize = 4 * 1024;

/// A body that nobody has read is read to its end up to here, so that its connection can be kept. More than this costs
/// more than a new connection.
const MOST_UNREAD: u64 = 64 * 1024;

impl<F, A, B> Connections<F>
where
    F: Fn(Asked, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves a connection whose first bytes are `read`, to its end.
    pub(crate) async fn http1<S>(
        self,
        read: BytesMut,
        stream: S,
        socket: Socket,
        peer: Peer,
        seat: Arc<Seat>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let conversation = Conversation {
            draining: self.drain.alarm(),
            deadline: Deadline::new(self.limits.head),
            http1: self.limits.http1(),
            wire: Shared::new(stream, read),
            server: self,
            socket,
            peer,
            seat: seat.clone(),
        };
        seat.ends(conversation.run().await);
    }
}

struct Conversation<S, F> {
    server: Connections<F>,
    http1: runner_http1::Limits,
    wire: Shared<S>,
    socket: Socket,
    peer: Peer,
    seat: Arc<Seat>,
    deadline: Deadline,
    draining: Alarm,
}

/// A guest may hold the body of its request for longer than its connection lives.
impl<S, F> Drop for Conversation<S, F> {
    fn drop(&mut self) {
        self.wire.lock().close();
    }
}

/// What came instead of a request.
enum NoRequest {
    Refuse(Unreadable),
    Close(Closed),
}

/// A request as its answer has to know it.
struct Question {
    method: Method,
    version: Version,
    /// Whether its client reads trailers.
    trailers: bool,
    keep_alive: bool,
    framing: Framing,
}

/// Whether the connection may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
}

impl<S, F, A, B> Conversation<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Asked, Peer) -> A,
    A: Future<Output = Response<B>>,
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    async fn run(mut self) -> Closed {
        loop {
            let outcome = match self.request().await {
                Ok(head) => self.exchange(head).await,
                Err(NoRequest::Refuse(unreadable)) => self.refuse(unreadable).await,
                Err(NoRequest::Close(reason)) => return reason,
            };
            if let Err(reason) = outcome {
                if reason == Closed::WriteStall {
                    // What the system has taken would otherwise stay with it for as long as the client likes.
                    self.socket.reset_when_dropped();
                }
                return reason;
            }
        }
    }

    /// Reads the head of the next request.
    async fn request(&mut self) -> Result<Head, NoRequest> {
        let limits = &self.server.limits;
        let mut reader = HeadReader::default();
        let mut phase = Phase::Idle;
        self.deadline.set(limits.keep_alive);
        self.seat.enter(State::Idle);
        poll_fn(|cx| {
            self.draining.set(cx);
            let mut wire = self.wire.lock();
            loop {
                match reader.read(&mut wire.read, &self.http1) {
                    Ok(Some(head)) => {
                        self.seat.enter(State::Active);
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let read = reader.refused(&wire.read);
                        return Poll::Ready(Err(refuse_head(error.into(), read)));
                    }
                }
                if phase != Phase::Head && !wire.read.is_empty() {
                    phase = Phase::Head;
                    self.seat.enter(State::Active);
                    self.deadline.set(limits.head);
                }
                match wire.poll_fill(cx, READ) {
                    Poll::Ready(Ok(count)) if count > 0 => continue,
                    Poll::Ready(_) => return Poll::Ready(Err(NoRequest::Close(phase.left()))),
                    Poll::Pending => {}
                }
                if phase == Phase::Idle && self.server.drain.has_begun() {
                    phase = Phase::Last;
                    self.deadline.set(limits.idle_window);
                }
                return match (self.deadline.poll(cx), phase) {
                    (Poll::Pending, _) => Poll::Pending,
                    (Poll::Ready(()), Phase::Idle) => ended(Closed::Idle),
                    (Poll::Ready(()), Phase::Last) => ended(Closed::Drained),
                    (Poll::Ready(()), Phase::Head) => {
                        Poll::Ready(Err(refuse_head(Refusal::SlowHead, &wire.read)))
                    }
                };
            }
        })
        .await
    }

    /// Has a request answered, and answers it.
    async fn exchange(&mut self, head: Head) -> Result<(), Closed> {
        let in_progress = self.server.requests.begin();
        let (question, request) = self.question(head);
        let answered = {
            let mut answer = pin!((self.server.answer)(Ok(request), self.peer));
            poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Ok(response)),
                Poll::Pending => match self.wire.lock().watch(cx) {
                    Some(Fault::Gone) => Poll::Ready(Err(Closed::ClientGone)),
                    // Of a body that is too slow, the answer knows.
                    Some(Fault::Slow | Fault::Malformed(_)) | None => Poll::Pending,
                },
            })
            .await
        };
        let after = self.respond(&question, answered?).await?;
        drop(in_progress);
        self.finish(&question, after).await
    }

    fn question(&self, head: Head) -> (Question, Request<Received>) {
        let Head {
            request,
            framing,
            keep_alive,
            expects_continue,
        } = head;
        let body = match framing {
            Framing::None => Received::empty(),
            _ => {
                let limits = &self.server.limits;
                Received::http1(self.wire.upload(framing, expects_continue, limits))
            }
        };
        let question = Question {
            method: request.method().clone(),
            version: request.version(),
            trailers: reads_trailers(request.headers()),
            keep_alive,
            framing,
        };
        (question, request.map(|()| body))
    }

    /// Refuses what is no request. Nothing that comes behind it is looked at: it may not be what it seems.
    async fn refuse(&mut self, unreadable: Unreadable) -> Result<(), Closed> {
        let reason = match unreadable.refusal {
            Refusal::SlowHead => Closed::SlowHead,
            _ => Closed::Refused,
        };
        let question = Question {
            method: unreadable.method.clone(),
            version: Version::HTTP_11,
            trailers: false,
            keep_alive: false,
            framing: Framing::None,
        };
        // It is counted where it has begun as it is where it has ended.
        let in_progress = self.server.requests.begin();
        let response = (self.server.answer)(Err(unreadable), self.peer).await;
        self.respond(&question, response).await?;
        drop(in_progress);
        self.close().await;
        Err(reason)
    }

    /// Writes a response as its body comes.
    async fn respond(
        &mut self,
        question: &Question,
        response: Response<B>,
    ) -> Result<After, Closed> {
        let (parts, body) = response.into_parts();
        let malformed = self.wire.lock().fault().is_some();
        let closes = parts
            .headers
            .get_all(CONNECTION)
            .iter()
            .any(|v| v == "close");
        let fit = fit(question, parts.status, &parts.headers, &body);
        let keep = question.keep_alive
            && !malformed
            && !closes
            && fit != Fit::UntilClose
            && !self.server.drain.has_begun();
        let persist = match keep {
            true if question.version == Version::HTTP_11 => Persist::Keep,
            true => Persist::KeepAndSay,
            false => Persist::Close,
        };
        let mut output = Output::default();
        output
            .small
            .extend_from_slice(&self.wire.lock().begin_response());
        encode_head(
            &mut output.small,
            parts.status,
            &parts.headers,
            fit,
            persist,
        );
        let mut sending = Sending {
            body: (fit != Fit::None).then_some(body),
            trailers: None,
            encoder: Encoder::new(fit, question.trailers),
            output,
            whole: true,
            stalled: false,
        };
        let sent =
            poll_fn(|cx| sending.poll(cx, &self.wire, &mut self.deadline, &self.server.limits))
                .await;
        let whole = sending.whole;
        drop(sending);
        sent?;
        match (whole, fit) {
            (true, _) if keep => Ok(After::Keep),
            (true, _) => Ok(After::Close),
            (false, Fit::UntilClose) => {
                // FIN is the end of such a body: only a reset says that it is not whole.
                self.socket.reset_when_dropped();
                Err(Closed::Broken)
            }
            (false, _) => Err(Closed::Broken),
        }
    }

    /// Brings the connection to where the next request begins, or closes it.
    async fn finish(&mut self, question: &Question, after: After) -> Result<(), Closed> {
        if question.framing == Framing::None {
            return match after {
                After::Keep => Ok(()),
                After::Close => {
                    self.close().await;
                    Err(self.closed())
                }
            };
        }
        if after == After::Close {
            self.end_output().await;
        }
        // A guest may answer first and read afterwards. One that serves others too may live for longer than anybody waits.
        let released = poll_fn(|cx| self.wire.lock().poll_released(cx));
        let is_released = timeout(self.server.limits.kept_body, released)
            .await
            .is_ok();
        if is_released && after == After::Keep && self.skip_rest().await {
            self.wire.lock().end_request();
            return Ok(());
        }
        let reason = self.closed();
        self.wire.lock().end_request();
        self.close().await;
        Err(reason)
    }

    fn closed(&self) -> Closed {
        if self.wire.lock().fault() == Some(Fault::Slow) {
            Closed::SlowBody
        } else if self.server.drain.has_begun() {
            Closed::Drained
        } else {
            Closed::Client
        }
    }

    /// Reads what is left of a body that nobody wanted. Whether the next request can be told from it.
    async fn skip_rest(&mut self) -> bool {
        let wire = &self.wire;
        {
            let wire = wire.lock();
            // Whether it sends a body that it was not asked for, only the client knows.
            if wire.owes_continue() || wire.left().is_some_and(|left| left > MOST_UNREAD) {
                return wire.is_read();
            }
        }
        let mut skipped = 0;
        let skip = poll_fn(|cx| {
            loop {
                match wire.lock().poll_body(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        skipped += frame.data_ref().map_or(0, |data| data.len() as u64);
                        if skipped > MOST_UNREAD {
                            return Poll::Ready(false);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        timeout(self.server.limits.linger, skip)
            .await
            .unwrap_or(false)
    }

    /// Says that nothing more comes.
    async fn end_output(&mut self) {
        let wire = &self.wire;
        let end = poll_fn(|cx| wire.lock().stream().poll_shutdown(cx));
        let _ = timeout(self.server.limits.linger, end).await;
        self.socket.finish();
    }

    /// Closes. What the client still sends is read for a moment: closed with unread bytes, a connection is reset, and
    /// the reset overtakes the answer.
    async fn close(&mut self) {
        self.seat.enter(State::Closing);
        self.end_output().await;
        let wire = &self.wire;
        let mut left = MOST_UNREAD;
        let linger = poll_fn(|cx| {
            let mut wire = wire.lock();
            loop {
                wire.read.clear();
                match wire.poll_fill(cx, READ) {
                    Poll::Ready(Ok(count)) if count > 0 && left > 0 => {
                        left = left.saturating_sub(count as u64);
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = timeout(self.server.limits.linger, linger).await;
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request.
    Idle,
    /// A last request: draining has begun.
    Last,
    /// The rest of a head.
    Head,
}

impl Phase {
    /// What it means that the client closes now.
    fn left(self) -> Closed {
        match self {
            Phase::Idle | Phase::Last => Closed::Client,
            Phase::Head => Closed::ClientGone,
        }
    }
}

fn ended<T>(reason: Closed) -> Poll<Result<T, NoRequest>> {
    Poll::Ready(Err(NoRequest::Close(reason)))
}

fn refuse_head(refusal: Refusal, read: &[u8]) -> NoRequest {
    NoRequest::Refuse(Unreadable::guess(refusal, read))
}

/// RFC 9110, 10.1.4.
fn reads_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// RFC 9112, 6.3.
fn fit(
    question: &Question,
    status: StatusCode,
    headers: &HeaderMap,
    body: &impl http_body::Body,
) -> Fit {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless || question.method == Method::HEAD {
        return Fit::None;
    }
    let declared = headers.get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    match (declared, body.size_hint().exact()) {
        (Some(length), _) => Fit::Declared(length),
        (None, Some(length)) => Fit::Length(length),
        (None, None) if question.version == Version::HTTP_11 => Fit::Chunked,
        (None, None) => Fit::UntilClose,
    }
}

#[cfg(test)]
mod tests;
