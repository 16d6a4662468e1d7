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
use runner_manifest::ComponentId;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use wasmtime_wasi_http::WasiBody;

use crate::apart::Answer;
use crate::event::{Event, Events, Outcome, Record, RequestId};
use crate::seat::Seated;
use crate::shelf::Spare;
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
    Apart(Answer),
}

/// What a guest writes, and the guest.
struct Written {
    body: WasiBody,
    run: Run,
    until: Until,
    /// Wakes whoever reads at the end of `until`; made when somebody has to wait.
    clock: Option<Pin<Box<Sleep>>>,
    begun: bool,
    /// Whether somebody takes it.
    is_read: bool,
    /// Bytes that it may have, and those that it may still have.
    most: Option<(u64, u64)>,
    /// The guest failed. Below us its half-written body then looks like a whole one.
    failed: bool,
    /// Who is told of that where there is no record any more.
    faults: Option<Faults>,
}

/// The run of a guest that has answered.
pub(crate) enum Run {
    /// It has ended, and its instance may serve again if its response ends well.
    Over(Spare),
    /// It goes on.
    GoesOn(Seated),
    /// It has ended badly, and nobody was told yet.
    Failed(Error),
}

impl Run {
    /// Nobody has to take anything before it can.
    fn goes_on(&self) {
        match self {
            Run::GoesOn(guest) => guest.goes_on(),
            Run::Over(_) | Run::Failed(_) => {}
        }
    }

    /// Takes it, and leaves one that is over.
    fn take(&mut self) -> Run {
        std::mem::replace(self, Run::over())
    }

    /// One of which nothing is left.
    fn over() -> Run {
        Run::Over(Spare::default())
    }
}

/// When a response must have ended.
#[derive(Clone, Copy)]
pub(crate) struct Until {
    pub(crate) at: Instant,
    limit: Duration,
}

impl Until {
    pub(crate) fn in_time(limit: Duration) -> Until {
        Until {
            at: Instant::now() + limit,
            limit,
        }
    }

    /// What is wrong with a response that has not ended by then.
    pub(crate) fn late(&self) -> Error {
        Error::ResponseTimeout(self.limit)
    }
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

    /// What comes from a task of its own, where it is recorded too.
    pub(crate) fn apart(answer: Answer) -> Body {
        Body {
            source: Source::Apart(answer),
            record: None,
        }
    }

    /// What a guest writes, until then and of so many bytes at most.
    pub(crate) fn guest(body: WasiBody, run: Run, until: Until, most: Option<u64>) -> Body {
        Body {
            source: Source::Guest(Written {
                body,
                run,
                until,
                clock: None,
                begun: false,
                is_read: true,
                most: most.map(|most| (most, most)),
                failed: false,
                faults: None,
            }),
            record: None,
        }
    }

    /// Nobody will read this body (the response to `HEAD`, a 204): lets its guest finish, unread, within
    /// [`caps::AFTER_RESPONSE`], and leaves an empty body that ends the record.
    pub fn detach(mut self) -> Body {
        let record = self.record.take();
        match std::mem::replace(&mut self.source, Source::Bytes(Full::default())) {
            Source::Guest(mut written) => match written.run.take() {
                Run::Over(spare) => spare.keep(),
                run => {
                    let faults = record.as_ref().and_then(Recorder::faults);
                    written.run = run;
                    written.is_read = false;
                    if let Run::GoesOn(guest) = &written.run {
                        // From now on it waits for a client, and makes room as one whose client takes nothing.
                        guest.hands_on(0);
                    }
                    written.faults.clone_from(&faults);
                    tokio::spawn(in_time(written.drain(), faults));
                }
            },
            Source::Apart(answer) => answer.detach(),
            Source::Bytes(_) => {}
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
            Source::Bytes(_) | Source::Apart(_) => false,
            Source::Guest(written) => matches!(written.run, Run::GoesOn(_)),
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
            Source::Apart(answer) => Pin::new(answer).poll_frame(cx),
        }
    }
}

impl Written {
    /// The next frame. First what is there, then the guest, then what it may have added.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut record: Option<&mut Recorder>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_read {
            self.run.goes_on();
        }
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending if !matches!(self.run, Run::Over(_)) => {
                self.poll_guest(cx, record.as_deref_mut());
                frame = Pin::new(&mut self.body).poll_frame(cx);
            }
            Poll::Ready(None) => self.leave(record.as_deref_mut()),
            // The guest's end of the body is gone: its run says why.
            Poll::Ready(Some(Err(_))) => self.poll_guest(cx, record.as_deref_mut()),
            _ => {}
        }
        if let (Poll::Ready(Some(Ok(frame))), Run::GoesOn(guest)) = (&frame, &self.run) {
            guest.hands_on(bytes_of(frame));
        }
        let cut = match self.is_late(&frame, cx) {
            true => Some(self.until.late()),
            false => self.is_too_long(&frame),
        };
        if let Some(error) = cut {
            self.run = Run::over();
            self.fail(&error, record);
            return Poll::Ready(Some(Err(CutShort.into())));
        }
        match frame {
            Poll::Ready(None) if self.failed => Poll::Ready(Some(Err(CutShort.into()))),
            Poll::Ready(Some(Ok(frame))) if is_too_much(&frame, record.as_deref()) => {
                self.run = Run::over();
                let what = "a body that is longer than its `content-length`".to_owned();
                self.fail(&Error::NotHttp(what), record);
                Poll::Ready(Some(Err(CutShort.into())))
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail(&Error::Unfinished, record);
                Poll::Ready(Some(Err(error.into())))
            }
            frame => frame.map_err(BoxError::from),
        }
    }

    /// Whether the time for all of it is up. One that is there at once, in one piece, never looks at a clock.
    fn is_late<T, E>(&mut self, frame: &Poll<Option<Result<T, E>>>, cx: &mut Context<'_>) -> bool {
        match frame {
            Poll::Ready(None | Some(Err(_))) => false,
            Poll::Ready(Some(Ok(_))) => {
                std::mem::replace(&mut self.begun, true) && Instant::now() >= self.until.at
            }
            Poll::Pending => {
                let clock = self
                    .clock
                    .get_or_insert_with(|| Box::pin(sleep_until(self.until.at)));
                clock.as_mut().poll(cx).is_ready()
            }
        }
    }

    /// What is wrong with a frame beyond what the body may have.
    fn is_too_long<E>(&mut self, frame: &Poll<Option<Result<Frame<Bytes>, E>>>) -> Option<Error> {
        let (most, left) = self.most.as_mut()?;
        let Poll::Ready(Some(Ok(frame))) = frame else {
            return None;
        };
        let bytes = bytes_of(frame);
        match left.checked_sub(bytes) {
            Some(less) => {
                *left = less;
                None
            }
            None => Some(Error::ResponseBody(*most)),
        }
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>, record: Option<&mut Recorder>) {
        let ended = match &mut self.run {
            Run::Over(_) => return,
            Run::GoesOn(guest) => match Pin::new(guest).poll(cx) {
                Poll::Pending => return,
                Poll::Ready(ended) => ended,
            },
            Run::Failed(_) => Ok(Spare::default()),
        };
        let ended = match self.run.take() {
            Run::Failed(error) => Err(error),
            Run::Over(_) | Run::GoesOn(_) => ended,
        };
        match ended {
            Err(error) => self.fail(&error, record),
            Ok(spare) => {
                self.run = Run::Over(spare);
                if let Some(record) = record {
                    record.execution_ended();
                }
            }
        }
    }

    /// Tells of the first failure, which is the reason for those behind it.
    fn fail(&mut self, error: &Error, record: Option<&mut Recorder>) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        match (record, &self.faults) {
            (Some(record), _) => {
                record.execution_ended();
                record.failed(error);
            }
            (None, Some(faults)) => faults.tell(error),
            (None, None) => {}
        }
    }

    /// The response is whole. What the guest still does, it does on its own time, and not for ever.
    fn leave(&mut self, mut record: Option<&mut Recorder>) {
        self.run.goes_on();
        let mut nobody = Context::from_waker(Waker::noop());
        self.poll_guest(&mut nobody, record.as_deref_mut());
        match self.run.take() {
            Run::GoesOn(guest) => {
                let faults = match record {
                    Some(record) => record.faults(),
                    None => self.faults.clone(),
                };
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(in_time(finish(guest, faults.clone()), faults));
                }
            }
            Run::Over(spare) if !self.failed => spare.keep(),
            Run::Over(_) | Run::Failed(_) => {}
        }
    }

    async fn drain(mut self) {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx, None)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return,
                None => return self.leave(None),
            }
        }
    }
}

/// Whether a body is longer with this frame than its head says: sent up to there, it would look whole.
fn is_too_much(frame: &Frame<Bytes>, record: Option<&Recorder>) -> bool {
    let Some((record, expected)) = record.and_then(|record| Some((record, record.expected?)))
    else {
        return false;
    };
    record.record.bytes + bytes_of(frame) > expected
}

/// How much of a body it is.
pub(crate) fn bytes_of(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// The rest of a guest's run.
async fn finish(guest: Seated, faults: Option<Faults>) {
    match (guest.await, faults) {
        (Ok(spare), _) => spare.keep(),
        (Err(error), Some(faults)) => faults.tell(&error),
        (Err(_), None) => {}
    }
}

/// What a guest does after its response, or with one that nobody reads.
async fn in_time(work: impl Future<Output = ()>, faults: Option<Faults>) {
    let ended = timeout(caps::AFTER_RESPONSE, work).await;
    if let (Err(_), Some(faults)) = (ended, faults) {
        faults.tell(&Error::AfterResponse(caps::AFTER_RESPONSE));
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
            Source::Apart(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => bytes.size_hint(),
            Source::Guest(written) => written.body.size_hint(),
            Source::Apart(answer) => answer.size_hint(),
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
            && let Run::GoesOn(guest) = &written.run
            && let Some(gave_up) = guest.gave_up()
        {
            record.failed(&gave_up);
        }
        if let Some(mut record) = self.record.take() {
            // Whoever is told finds the guest's place free.
            self.source = Source::Bytes(Full::default());
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
            Some(Ok(frame)) => self.record.bytes += bytes_of(frame),
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

    fn failed(&mut self, error: &Error) {
        self.record.outcome = Outcome::GuestFailed;
        if let Some(faults) = self.faults() {
            faults.tell(error);
        }
    }

    fn faults(&self) -> Option<Faults> {
        Some(Faults {
            events: self.events.clone(),
            component: self.record.component.clone()?,
            request_id: self.record.request_id,
        })
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

/// Who is told of a failure behind a response's head.
#[derive(Clone)]
struct Faults {
    events: Events,
    component: ComponentId,
    request_id: RequestId,
}

impl Faults {
    fn tell(&self, error: &Error) {
        (self.events)(Event::Failed {
            component: &self.component,
            request_id: self.request_id,
            error,
        });
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

#[cfg(test)]
mod tests;
