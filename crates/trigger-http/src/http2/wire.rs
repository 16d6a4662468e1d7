//! The bytes between a client and hyper, with an eye on the frames in them.
//!
//! h2 answers a SETTINGS or a PING whenever one comes, for as long as its client reads the answers, and takes any number
//! of frames that ask for nothing. So each frame costs its sender a few tokens of a [`Budget`] here, before h2 sees it,
//! and what an honest client sends many of is earned back by what it is sent. A request costs [`REQUEST`] and brings
//! [`ANSWERED`]; one that its client resets at once costs [`RESET`] more and brings nothing.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::http2::budget::Budget;
use crate::http2::frames::{
    CONTINUATION, DATA, Follower, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, Seen, go_away,
};
use crate::http2::turned_down::{TurnedDown, TurningDown};
use crate::http2::unread::Unread;
use crate::limits::Limits;

/// A header block: a request, or its trailers.
const REQUEST: u32 = 2;

/// A request that its client takes back. A page that is left with a hundred requests open costs 400.
const RESET: u32 = 4;

/// A whole response was sent: more than a request and two frames beside it cost.
const ANSWERED: u32 = 12;

/// Each is answered with a frame of ours.
const ANSWERED_FRAME: u32 = 2;

/// Even a head of the largest size has two or three.
const CONTINUED: u32 = 10;

/// DATA without data and without an end.
const EMPTY_DATA: u32 = 2;

/// WINDOW_UPDATE, PRIORITY, and what nobody knows.
const OTHER: u32 = 1;

/// A frame of DATA that we send may be answered with an update of each of two windows.
const UPDATES: u32 = 2;

/// A stream that we reset: its client may not know yet that there are too many.
const RESET_BY_US: u32 = 1;

/// A longer payload costs one more for each of these; sent DATA earns as much. Some clients update a window that often.
const PART: u32 = 1024;

/// Clones share one connection.
#[derive(Debug)]
pub(crate) struct Wire<S>(Arc<Mutex<Shared<S>>>);

impl<S> Clone for Wire<S> {
    fn clone(&self) -> Wire<S> {
        Wire(self.0.clone())
    }
}

#[derive(Debug)]
struct Shared<S> {
    prefix: Bytes,
    stream: S,
    inward: Follower,
    outward: Follower,
    budget: Budget,
    exhausted: bool,
    last_stream: u32,
    turning_down: TurningDown,
    unread: Unread,
    unfinished: Option<(u64, Instant)>,
    blocked: Option<Instant>,
}

/// What a connection's owner wants to know of its wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// The client has spent its budget: nothing more is read.
    pub(crate) exhausted: bool,
    /// Since when a frame or a header block has been incomplete, though it could have been read.
    pub(crate) unfinished: Option<Instant>,
    /// Since when the client has taken none of the bytes that are ready for it.
    pub(crate) blocked: Option<Instant>,
    /// What h2 has done about requests by itself.
    pub(crate) turned_down: TurnedDown,
    /// On how many streams not all was sent.
    pub(crate) unread: usize,
}

impl<S> Wire<S> {
    /// `prefix` was read from `stream` before.
    pub(crate) fn new(prefix: Bytes, stream: S, limits: &Limits) -> Wire<S> {
        Wire(Arc::new(Mutex::new(Shared {
            prefix,
            stream,
            inward: Follower::of_client(),
            outward: Follower::of_server(),
            budget: Budget::new(limits),
            exhausted: false,
            last_stream: 0,
            turning_down: TurningDown::default(),
            unread: Unread::default(),
            unfinished: Some((0, Instant::now())),
            blocked: None,
        })))
    }

    pub(crate) fn report(&self) -> Report {
        let wire = self.lock();
        Report {
            exhausted: wire.exhausted,
            unfinished: wire
                .unfinished
                .filter(|_| wire.blocked.is_none())
                .map(|(_, since)| since),
            blocked: wire.blocked,
            turned_down: wire.turning_down.so_far(wire.inward.is_in_block()),
            unread: wire.unread.count(),
        }
    }

    /// On how many streams nothing was sent since this was last asked, though they have not ended.
    pub(crate) fn stalled(&self) -> usize {
        self.lock().unread.stalled()
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Says why the connection ends, if a frame fits in here.
    pub(crate) async fn say(&mut self, reason: u32, patience: Duration) {
        let frame = {
            let wire = self.lock();
            if !wire.outward.is_between_frames() {
                return;
            }
            go_away(wire.last_stream, reason)
        };
        let _ = timeout(patience, async {
            self.write_all(&frame).await?;
            self.flush().await
        })
        .await;
    }

    /// Ends what is written: TLS says so in a record of its own.
    pub(crate) async fn close(&mut self, patience: Duration) {
        let _ = timeout(patience, self.shutdown()).await;
    }

    /// Throws away what the client still sends, so that its system does not throw away what was sent last.
    pub(crate) async fn linger(self, patience: Duration, bytes: u32) {
        let mut discarded = Discard(self).take(bytes.into());
        let mut nowhere = tokio::io::sink();
        let _ = timeout(patience, tokio::io::copy(&mut discarded, &mut nowhere)).await;
    }
}

/// Reads without looking.
struct Discard<S>(Wire<S>);

impl<S: AsyncRead + Unpin> AsyncRead for Discard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, buf)
    }
}

impl<S> Shared<S> {
    /// Looks at what has come. Returns how much of it h2 may see.
    fn received(&mut self, bytes: &[u8]) -> usize {
        let now = Instant::now();
        let Shared {
            inward,
            budget,
            last_stream,
            exhausted,
            turning_down,
            unread,
            ..
        } = self;
        budget.refill(now);
        let seen = inward.follow(bytes, |frame| {
            if frame.kind == RST_STREAM {
                unread.taken_back(frame.stream);
            } else if frame.kind == HEADERS {
                let is_head = frame.stream > *last_stream;
                turning_down.begins(is_head);
                if is_head {
                    unread.begins(frame.stream);
                }
                *last_stream = frame.stream.max(*last_stream);
            }
            *exhausted |= !budget.spend(cost(frame));
            !*exhausted
        });
        let before = self.unfinished.take();
        self.unfinished = self.inward.unfinished().map(|number| match before {
            Some((same, since)) if same == number => (number, since),
            _ => (number, now),
        });
        seen
    }

    /// Looks at what has been sent.
    fn sent(&mut self, bytes: &[u8]) {
        let Shared {
            outward,
            budget,
            exhausted,
            turning_down,
            unread,
            ..
        } = self;
        outward.follow_all(bytes, |seen| {
            match seen {
                Seen::Frame(frame) => {
                    let was_unread = unread.sees(frame);
                    budget.earn(earned(frame));
                    if frame.kind == RST_STREAM {
                        *exhausted |= !budget.spend(RESET_BY_US);
                        turning_down.resets(!was_unread);
                    }
                }
                Seen::Reset(code) => turning_down.because(code),
            }
            true
        });
    }

    /// Keeps account of whether the client takes anything. While it does not, h2 reads nothing: then it is not the client
    /// that leaves a frame incomplete.
    fn moved<T>(&mut self, outcome: &Poll<io::Result<T>>) {
        if outcome.is_pending() {
            self.blocked = self.blocked.or_else(|| Some(Instant::now()));
        } else if self.blocked.take().is_some() {
            self.unfinished = self.unfinished.map(|(number, _)| (number, Instant::now()));
        }
    }
}

/// What a frame costs its sender.
fn cost(frame: Frame) -> u32 {
    let each = match frame.kind {
        DATA if frame.length == 0 && !frame.ends_stream() => EMPTY_DATA,
        // What data costs is counted by h2, and by flow control.
        DATA => return 0,
        HEADERS => REQUEST,
        RST_STREAM => RESET,
        SETTINGS | PING => ANSWERED_FRAME,
        CONTINUATION | GOAWAY => CONTINUED,
        _ => OTHER,
    };
    each + frame.length / PART
}

/// What a frame of ours allows its receiver.
fn earned(frame: Frame) -> u32 {
    let answered = if frame.ends_stream() { ANSWERED } else { 0 };
    let updates = if frame.kind == DATA {
        UPDATES + frame.length / PART
    } else {
        0
    };
    answered + updates
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    /// Once the budget is spent, this is never ready: the connection's owner sees that and ends it.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        if wire.exhausted {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if wire.prefix.is_empty() {
            ready!(Pin::new(&mut wire.stream).poll_read(cx, buf))?;
        } else {
            let count = wire.prefix.len().min(buf.remaining());
            buf.put_slice(&wire.prefix.split_to(count));
        }
        let seen = wire.received(&buf.filled()[before..]);
        buf.set_filled(before + seen);
        if wire.exhausted && seen == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        let written = Pin::new(&mut wire.stream).poll_write(cx, buf);
        wire.moved(&written);
        if let Poll::Ready(Ok(count)) = written {
            wire.sent(&buf[..count]);
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        let written = Pin::new(&mut wire.stream).poll_write_vectored(cx, bufs);
        wire.moved(&written);
        if let Poll::Ready(Ok(mut left)) = written {
            for buf in bufs {
                let count = left.min(buf.len());
                wire.sent(&buf[..count]);
                left -= count;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        let flushed = Pin::new(&mut wire.stream).poll_flush(cx);
        wire.moved(&flushed);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        let closed = Pin::new(&mut wire.stream).poll_shutdown(cx);
        wire.moved(&closed);
        closed
    }
}
