//! A response's body, streamed. It holds its connection, and decides what becomes of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::Error;
use crate::pool::Lease;
use crate::upload::Hold;

/// The body of a response. Read to its end, it returns the connection; dropped before, it closes it (HTTP/1) or
/// resets its stream (HTTP/2).
pub struct Body {
    incoming: Incoming,
    held: Option<Held>,
    silence: Silence,
}

/// What a response keeps until it has ended.
struct Held {
    lease: Lease,
    hold: Hold,
}

/// The time since somebody has been waiting for the next bytes in vain.
struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, lease: Lease, hold: Hold, limit: Duration) -> Body {
        let mut body = Body {
            incoming,
            held: Some(Held { lease, hold }),
            silence: Silence {
                limit,
                timer: None,
                running: false,
            },
        };
        body.settle();
        body
    }

    /// Returns the connection when nothing is left to read from it.
    fn settle(&mut self) {
        if http_body::Body::is_end_stream(&self.incoming) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(mut held) = self.held.take() {
            held.hold.release();
            held.lease.give_back();
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.held = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.held.is_none() {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.silence.poll(cx));
            return self.fail(Error::BetweenBytesTimeout);
        };
        self.silence.running = false;
        match frame {
            Some(Ok(frame)) => {
                self.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.fail(error.into()),
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Silence {
    /// Ready when it has lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.running {
            timer.as_mut().reset(Instant::now() + limit);
            self.running = true;
        }
        timer.as_mut().poll(cx)
    }
}
