//! The run of a guest: it ends with whoever drives it, or when another request needs its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiBody;

use crate::admission::Admission;

/// See [`crate::guest::run`].
type Running = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send>>;

/// A guest, in the hands of whoever drives it. Dropping it stops the guest wherever it is.
pub(crate) struct Guest {
    run: Arc<Run>,
    admission: Arc<Admission>,
    place: usize,
}

/// A guest's run, as those see it who may need its place.
pub(crate) struct Run {
    inner: Mutex<Inner>,
    born: Instant,
    /// Since when the guest waits for what its client sends: see [`Run::begin`].
    reading: AtomicU64,
    /// Since when what the guest has written waits for its client.
    writing: AtomicU64,
}

#[derive(Default)]
struct Inner {
    running: Option<Running>,
    driver: Option<Waker>,
    gave_up: bool,
}

/// What stands for "it does not wait" in place of a time.
const GOES_ON: u64 = 0;

/// The end of a guest whose place was needed.
#[derive(Debug, thiserror::Error)]
#[error("gave up its place")]
pub(crate) struct GaveUp {
    /// How many places there are.
    pub(crate) of: u32,
}

impl Guest {
    /// Begins to drive `running`, the guest of `run`.
    pub(crate) fn new(
        run: Arc<Run>,
        admission: Arc<Admission>,
        running: impl Future<Output = wasmtime::Result<()>> + Send + 'static,
    ) -> Guest {
        run.lock().running = Some(Box::pin(running));
        let place = admission.enter(run.clone());
        Guest {
            run,
            admission,
            place,
        }
    }

    /// It has ended so; whoever drives it next finds out.
    pub(crate) fn failed(self, error: wasmtime::Error) -> Guest {
        self.run.lock().running = Some(Box::pin(async { Err(error) }));
        self
    }

    /// Why it was stopped, if somebody else needed its place.
    pub(crate) fn gave_up(&self) -> Option<GaveUp> {
        let of = self.admission.most();
        self.run.lock().gave_up.then_some(GaveUp { of })
    }

    /// What it has written goes to its client, who may take its time.
    pub(crate) fn hands_on(&self) {
        self.run.begin(&self.run.writing);
    }

    /// Its client has taken what it was handed.
    pub(crate) fn goes_on(&self) {
        self.run.writing.store(GOES_ON, Ordering::Relaxed);
    }
}

impl Future for Guest {
    type Output = wasmtime::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<wasmtime::Result<()>> {
        let mut inner = self.run.lock();
        if inner.gave_up {
            let of = self.admission.most();
            return Poll::Ready(Err(GaveUp { of }.into()));
        }
        let Some(running) = &mut inner.running else {
            return Poll::Ready(Ok(()));
        };
        let polled = running.as_mut().poll(cx);
        match &polled {
            Poll::Ready(_) => inner.running = None,
            Poll::Pending => inner.woken_by(cx.waker()),
        }
        polled
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.admission.leave(self.place);
        let running = self.run.lock().running.take();
        drop(running);
    }
}

impl Inner {
    fn woken_by(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }
}

impl Run {
    pub(crate) fn new() -> Arc<Run> {
        Arc::new(Run {
            inner: Mutex::default(),
            born: Instant::now(),
            reading: AtomicU64::new(GOES_ON),
            writing: AtomicU64::new(GOES_ON),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of its request, which tells when its client is slow.
    pub(crate) fn reads(self: &Arc<Run>, body: WasiBody) -> WasiBody {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        let run = self.clone();
        Watched { body, run }.boxed_unsync()
    }

    /// For how long it has waited for its client, if it does and is not just doing something.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.inner.try_lock().ok()?.running.as_ref()?;
        let now = self.now();
        let waits = [&self.reading, &self.writing].map(|since| since.load(Ordering::Relaxed));
        let since = waits.into_iter().filter(|&since| since != GOES_ON).min()?;
        Some(Duration::from_millis(now.saturating_sub(since)))
    }

    /// Milliseconds, never [`GOES_ON`].
    fn now(&self) -> u64 {
        1 + self.born.elapsed().as_millis() as u64
    }

    /// Notes when a wait began; one that has begun goes on.
    fn begin(&self, since: &AtomicU64) {
        if since.load(Ordering::Relaxed) == GOES_ON {
            since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Stops the guest, unless it is just doing something.
    pub(crate) fn give_up(&self) {
        let Ok(mut inner) = self.inner.try_lock() else {
            return;
        };
        inner.gave_up = true;
        let (running, driver) = (inner.running.take(), inner.driver.take());
        drop(inner);
        drop(running);
        driver.inspect(Waker::wake_by_ref);
    }
}

/// The body of a request, and the guest that reads it.
struct Watched {
    body: WasiBody,
    run: Arc<Run>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => self.run.begin(&self.run.reading),
            Poll::Ready(_) => self.run.reading.store(GOES_ON, Ordering::Relaxed),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
