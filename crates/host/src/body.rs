//! A response's body, which drives the guest that writes it, and records the request when it ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use wasmtime_wasi_http::WasiBody;

use crate::event::{Event, Events, Outcome, Record};
use crate::run::Guest;
use crate::{BoxError, Error, caps};

/// The body of a response.
///
/// Polling it runs the guest that writes it, in the task that polls, without a hand-over between threads. Dropping it
/// stops that guest: a client that went away needs no answer.
pub struct Body {
    source: Source,
    record: Option<Recorder>,
}

enum Source {
    Bytes(Full<Bytes>),
    Guest(Written),
}

/// What a guest writes, and the guest.
struct Written {
    body: WasiBody,
    guest: Option<Guest>,
    /// The guest trapped or exited. Below us its half-written body then looks like a whole one.
    failed: bool,
}

/// The end of a body whose guest failed before it was whole.
#[derive(Debug, thiserror::Error)]
#[error("the guest failed before its response was whole")]
struct CutShort;

impl Body {
    /// No bytes.
    pub fn empty() -> Body {
        Body::full(Bytes::new())
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Body {
            source: Source::Bytes(Full::new(bytes.into())),
            record: None,
        }
    }

    pub(crate) fn guest(body: WasiBody, guest: Option<Guest>) -> Body {
        Body {
            source: Source::Guest(Written {
                body,
                guest,
                failed: false,
            }),
            record: None,
        }
    }

    /// Nobody will read this body (the response to `HEAD`, a 204): lets its guest finish, unread, within
    /// [`caps::AFTER_RESPONSE`], and leaves an empty body that ends the record.
    pub fn detach(mut self) -> Body {
        let record = self.record.take();
        if let Source::Guest(written) =
            std::mem::replace(&mut self.source, Source::Bytes(Full::default()))
            && written.guest.is_some()
        {
            tokio::spawn(tokio::time::timeout(caps::AFTER_RESPONSE, written.drain()));
        }
        Body {
            source: Source::Bytes(Full::default()),
            record,
        }
    }

    /// Adds the record that is told when this body ends. `expected` is the length its response announces.
    pub(crate) fn recorded(
        mut self,
        record: Record,
        denials: Arc<AtomicU64>,
        expected: Option<u64>,
        events: Events,
    ) -> Body {
        let mut recorder = Recorder {
            record,
            denials,
            expected,
            ended: false,
            executed: None,
            events,
        };
        if !self.is_being_written() {
            recorder.execution_ended();
        }
        self.record = Some(recorder);
        self
    }

    /// Whether its guest still runs.
    fn is_being_written(&self) -> bool {
        match &self.source {
            Source::Bytes(_) => false,
            Source::Guest(written) => written.guest.is_some(),
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.source {
            Source::Bytes(bytes) => Pin::new(bytes)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Source::Guest(written) => written.poll(cx, self.record.as_mut()),
        }
    }
}

impl Written {
    /// The next frame. First what is there, then the guest, then what it may have added.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        record: Option<&mut Recorder>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.guest.iter().for_each(Guest::goes_on);
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending if self.guest.is_some() => {
                self.poll_guest(cx, record);
                frame = Pin::new(&mut self.body).poll_frame(cx);
            }
            Poll::Ready(None) => self.leave(record),
            // The guest's end of the body is gone: its run says why.
            Poll::Ready(Some(Err(_))) => self.poll_guest(cx, record),
            _ => {}
        }
        if let (Poll::Ready(Some(Ok(_))), Some(guest)) = (&frame, &self.guest) {
            guest.hands_on();
        }
        match frame {
            Poll::Ready(None) if self.failed => Poll::Ready(Some(Err(CutShort.into()))),
            frame => frame.map_err(BoxError::from),
        }
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>, record: Option<&mut Recorder>) {
        let Some(guest) = &mut self.guest else { return };
        if let Poll::Ready(ended) = Pin::new(guest).poll(cx) {
            self.guest = None;
            self.failed = ended.is_err();
            let Some(record) = record else { return };
            record.execution_ended();
            if let Err(error) = ended {
                record.failed(&error);
            }
        }
    }

    /// The response is whole. What the guest still does, it does on its own time, and not for ever.
    fn leave(&mut self, record: Option<&mut Recorder>) {
        self.guest.iter().for_each(Guest::goes_on);
        self.poll_guest(&mut Context::from_waker(Waker::noop()), record);
        if let (Some(guest), Ok(runtime)) =
            (self.guest.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(tokio::time::timeout(caps::AFTER_RESPONSE, guest));
        }
    }

    async fn drain(mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| self.poll(cx, None)).await {}
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.poll_source(cx);
        if let (Poll::Ready(frame), Some(record)) = (&frame, &mut self.record) {
            record.saw(frame.as_ref());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_end_stream(),
            Source::Guest(written) => written.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => bytes.size_hint(),
            Source::Guest(written) => written.body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let whole = self.is_end_stream() || self.record.as_ref().is_some_and(Recorder::is_whole);
        if let Source::Guest(written) = &mut self.source
            && whole
        {
            written.leave(self.record.as_mut());
        }
        if let (Source::Guest(written), Some(record)) = (&self.source, &mut self.record)
            && let Some(gave_up) = written.guest.as_ref().and_then(Guest::gave_up)
        {
            record.failed(&gave_up.into());
        }
        if let Some(mut record) = self.record.take() {
            record.ended |= whole;
            record.tell();
        }
    }
}

/// Fills in a [`Record`] while its body is read.
struct Recorder {
    record: Record,
    denials: Arc<AtomicU64>,
    expected: Option<u64>,
    ended: bool,
    /// How long the guest ran; none while it does.
    executed: Option<Duration>,
    events: Events,
}

impl Recorder {
    fn saw(&mut self, frame: Option<&Result<Frame<Bytes>, BoxError>>) {
        match frame {
            Some(Ok(frame)) => {
                self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64)
            }
            Some(Err(_)) => self.record.outcome = Outcome::GuestFailed,
            None => self.ended = true,
        }
    }

    fn execution_ended(&mut self) {
        if let Some(execution) = &self.record.execution {
            let since = self.record.started.elapsed();
            self.executed = Some(since.saturating_sub(execution.after));
        }
    }

    fn failed(&mut self, error: &wasmtime::Error) {
        let error = crate::guest::failure(error);
        self.record.outcome = Outcome::GuestFailed;
        self.report(&error);
    }

    fn report(&self, error: &Error) {
        if let Some(component) = &self.record.component {
            (self.events)(Event::Failed {
                component,
                request_id: self.record.request_id,
                error,
            });
        }
    }

    fn is_whole(&self) -> bool {
        self.ended
            || self
                .expected
                .is_some_and(|expected| self.record.bytes >= expected)
    }

    fn tell(&mut self) {
        if !self.ended && self.record.outcome == Outcome::Complete {
            self.record.outcome = Outcome::ClientGone;
        }
        self.record.denials = self.denials.load(Ordering::Relaxed);
        self.record.duration = self.record.started.elapsed();
        if let Some(execution) = &mut self.record.execution {
            let until_now = self.record.duration.saturating_sub(execution.after);
            execution.duration = self.executed.unwrap_or(until_now);
        }
        (self.events)(Event::Request(&self.record));
    }
}

/// Any body as the one type that guests read.
pub(crate) fn into_wasi<B>(body: B) -> WasiBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    body.map_err(|error| {
        let error: BoxError = error.into();
        tracing::debug!(%error, "a request's body ended early");
        wasmtime_wasi_http::Error::ConnectionTerminated
    })
    .boxed_unsync()
}
