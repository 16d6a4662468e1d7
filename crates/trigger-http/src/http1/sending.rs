//! A response on its way out.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use runner_http1::Encoder;
use tokio::io::{AsyncRead, AsyncWrite};

use super::output::Output;
use super::wire::{Fault, Shared};
use crate::deadline::Deadline;
use crate::limits::Limits;
use crate::stats::Closed;

/// A head that is written and a body that is polled for more, until it ends.
pub(super) struct Sending<B> {
    /// None once it has ended. Polling it drives its guest.
    pub(super) body: Option<B>,
    /// What its body ended with.
    pub(super) trailers: Option<HeaderMap>,
    pub(super) encoder: Encoder,
    pub(super) output: Output,
    /// Whether what was sent is what was announced.
    pub(super) whole: bool,
    /// The client takes nothing, and the deadline runs.
    pub(super) stalled: bool,
}

impl<B> Sending<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    /// Ready when all of it is written, or cannot be.
    ///
    /// What there is is written before more is waited for, also when the body fails: its client then sees a response
    /// that breaks off, and not a server that has vanished.
    pub(super) fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Shared<S>,
        deadline: &mut Deadline,
        limits: &Limits,
    ) -> Poll<Result<(), Closed>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            self.collect(cx);
            let mut wire = wire.lock();
            if wire.fault() == Some(Fault::Gone) {
                return Poll::Ready(Err(Closed::ClientGone));
            }
            let flushes = self.output.is_empty();
            let written = match flushes {
                true => wire.stream().poll_flush(cx),
                false => self.output.poll_write(wire.stream(), cx),
            };
            match written {
                Poll::Ready(Ok(())) => self.stalled = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Closed::ClientGone)),
                Poll::Pending => {
                    if !std::mem::replace(&mut self.stalled, true) {
                        deadline.set(limits.write_stall);
                    }
                    return deadline.poll(cx).map(|()| Err(Closed::WriteStall));
                }
            }
            match &self.body {
                _ if !flushes => {}
                None => return Poll::Ready(Ok(())),
                Some(_) => return Poll::Pending,
            }
        }
    }

    /// Polls the body for as long as there is room for what it gives.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while self.output.has_room() {
            let Some(body) = &mut self.body else { return };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.add(frame),
                Poll::Ready(Some(Err(_))) => self.stop(),
                Poll::Ready(None) => self.end(),
                // All that was announced is there. What the guest still does, it does without us.
                Poll::Pending if self.encoder.is_full() => self.end(),
                Poll::Pending => return,
            }
        }
    }

    fn add(&mut self, frame: Frame<Bytes>) {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                return;
            }
        };
        match self.encoder.data(&mut data, &mut self.output.small) {
            Ok(after) => self.output.push(data, after),
            Err(misfit) => {
                tracing::warn!(%misfit, "a response was cut, and its connection is closed");
                self.output.push(data, b"");
                self.stop();
            }
        }
    }

    fn end(&mut self) {
        let ended = self
            .encoder
            .end(self.trailers.as_ref(), &mut self.output.small);
        if let Err(misfit) = ended {
            tracing::warn!(%misfit, "a response is too short, and its connection is closed");
            self.whole = false;
        }
        self.body = None;
    }

    fn stop(&mut self) {
        self.whole = false;
        self.body = None;
    }
}
