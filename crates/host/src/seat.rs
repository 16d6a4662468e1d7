//! A guest on its seat: it is stopped by whoever drives it, or when another request needs the seat.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;
use wasmtime_wasi_http::WasiBody;

use crate::admission::Admission;
use crate::body::bytes_of;
use crate::guest::Guest;
use crate::shelf::Spare;
use crate::{Error, caps};

/// A guest, in the hands of whoever drives it. Dropping it stops the guest wherever it is.
pub(crate) struct Seated {
    seat: Arc<Seat>,
    admission: Arc<Admission>,
    place: usize,
    of_app: Option<(Arc<Admission>, usize)>,
}

/// The seat of a guest, as those see it who may need it.
///
/// The guest holds its request's body, and that the seat: it is [`Seated`] that ends the circle.
pub(crate) struct Seat {
    inner: Mutex<Inner>,
    born: Instant,
    /// Since when the guest waits for what its client sends: see [`Seat::begin`].
    reading: AtomicU64,
    /// Since when what the guest has written waits for its client.
    writing: AtomicU64,
    /// Until when its waiting is in [`Seat::owed`].
    counted: AtomicU64,
    /// How long it has waited for its client before now, less what came of it: a client may bring or take
    /// [`caps::SLOW_RATE`] for as long as it likes, and one that trickles is as slow as one that stops.
    owed: AtomicU64,
}

#[derive(Default)]
struct Inner {
    guest: Option<Guest>,
    driver: Option<Waker>,
    gave_up: bool,
}

/// What stands for "it does not wait" in place of a time.
const GOES_ON: u64 = 0;

impl Seated {
    /// Seats a guest that was admitted by its component and, where that has a door, by its app.
    pub(crate) fn new(
        seat: Arc<Seat>,
        admission: Arc<Admission>,
        app: Option<Arc<Admission>>,
        guest: Guest,
    ) -> Seated {
        seat.lock().guest = Some(guest);
        let place = admission.enter(seat.clone());
        let of_app = app.map(|app| {
            let place = app.enter(seat.clone());
            (app, place)
        });
        Seated {
            seat,
            admission,
            place,
            of_app,
        }
    }

    /// Why it was stopped, if somebody else needed its place.
    pub(crate) fn gave_up(&self) -> Option<Error> {
        let gave_up = self.seat.lock().gave_up;
        gave_up.then(|| Error::GaveUp(self.admission.most()))
    }

    /// What it has written, so many bytes, goes to its client, who may take its time.
    pub(crate) fn hands_on(&self, bytes: u64) {
        self.seat.earn(bytes);
        self.seat.begin(&self.seat.writing);
    }

    /// Its client has taken what it was handed.
    pub(crate) fn goes_on(&self) {
        self.seat.end(&self.seat.writing);
    }
}

impl Future for Seated {
    type Output = Result<Spare, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Spare, Error>> {
        let mut inner = self.seat.lock();
        if inner.gave_up {
            return Poll::Ready(Err(Error::GaveUp(self.admission.most())));
        }
        let Some(guest) = &mut inner.guest else {
            return Poll::Ready(Ok(Spare::default()));
        };
        let polled = Pin::new(guest).poll(cx);
        match &polled {
            Poll::Ready(_) => inner.guest = None,
            Poll::Pending => inner.woken_by(cx.waker()),
        }
        polled.map_err(|failure| failure.error)
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.admission.leave(self.place);
        if let Some((app, place)) = &self.of_app {
            app.leave(*place);
        }
        let guest = self.seat.lock().guest.take();
        drop(guest);
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

impl Seat {
    pub(crate) fn new() -> Arc<Seat> {
        Arc::new(Seat {
            inner: Mutex::default(),
            born: Instant::now(),
            reading: AtomicU64::new(GOES_ON),
            writing: AtomicU64::new(GOES_ON),
            counted: AtomicU64::new(GOES_ON),
            owed: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of its request, which tells when its client is slow.
    pub(crate) fn reads(self: &Arc<Seat>, body: WasiBody) -> WasiBody {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        let seat = self.clone();
        Watched { body, seat }.boxed_unsync()
    }

    /// How long it has waited for its client, less what came of it, if it does wait and is not just doing something.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.inner.try_lock().ok()?.guest.as_ref()?;
        let waits = self.now().saturating_sub(self.uncounted()?);
        let owed = self.owed.load(Ordering::Relaxed);
        Some(Duration::from_micros(owed + waits))
    }

    /// Microseconds, never [`GOES_ON`].
    fn now(&self) -> u64 {
        1 + self.born.elapsed().as_micros() as u64
    }

    /// Since when it waits, as far as that is not counted yet; none where it does not. Two waits at once are one.
    fn uncounted(&self) -> Option<u64> {
        let waits = [&self.reading, &self.writing].map(|since| since.load(Ordering::Relaxed));
        let since = waits.into_iter().filter(|&since| since != GOES_ON).min()?;
        Some(since.max(self.counted.load(Ordering::Relaxed)))
    }

    /// Notes when a wait began; one that has begun goes on.
    fn begin(&self, since: &AtomicU64) {
        if since.load(Ordering::Relaxed) == GOES_ON {
            since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Counts a wait, where there was one. Whoever drives the guest begins and ends its waits: nobody else writes here,
    /// but who drops it.
    fn end(&self, since: &AtomicU64) {
        if since.load(Ordering::Relaxed) == GOES_ON {
            return;
        }
        let now = self.now();
        let waited = now.saturating_sub(self.uncounted().unwrap_or(now));
        self.owed.fetch_add(waited, Ordering::Relaxed);
        self.counted.store(now, Ordering::Relaxed);
        since.store(GOES_ON, Ordering::Relaxed);
    }

    /// So many bytes are worth some of the waiting before them; nothing is saved for what comes after.
    fn earn(&self, bytes: u64) {
        let owed = self.owed.load(Ordering::Relaxed);
        if owed > 0 {
            let earned = bytes.saturating_mul(1_000_000) / caps::SLOW_RATE;
            self.owed
                .store(owed.saturating_sub(earned), Ordering::Relaxed);
        }
    }

    /// Stops the guest, unless it is just doing something.
    pub(crate) fn give_up(&self) {
        let Ok(mut inner) = self.inner.try_lock() else {
            return;
        };
        inner.gave_up = true;
        let (guest, driver) = (inner.guest.take(), inner.driver.take());
        drop(inner);
        drop(guest);
        driver.inspect(Waker::wake_by_ref);
    }
}

/// The body of a request, and the guest that reads it.
struct Watched {
    body: WasiBody,
    seat: Arc<Seat>,
}

impl Drop for Watched {
    /// Whoever reads it no more waits no more for it.
    fn drop(&mut self) {
        self.seat.end(&self.seat.reading);
    }
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
            Poll::Pending => self.seat.begin(&self.seat.reading),
            Poll::Ready(frame) => {
                self.seat.end(&self.seat.reading);
                if let Some(Ok(frame)) = frame {
                    self.seat.earn(bytes_of(frame));
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A body whose client sends nothing.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = wasmtime_wasi_http::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[test]
    fn who_reads_its_request_no_more_does_not_wait_for_it() {
        let seat = Seat::new();
        let mut body = seat.reads(Silent.boxed_unsync());
        assert_eq!(seat.reading.load(Ordering::Relaxed), GOES_ON);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(http_body::Body::poll_frame(Pin::new(&mut body), &mut cx).is_pending());
        assert_ne!(seat.reading.load(Ordering::Relaxed), GOES_ON);
        drop(body);
        assert_eq!(seat.reading.load(Ordering::Relaxed), GOES_ON);
    }

    #[tokio::test(start_paused = true)]
    async fn two_waits_at_once_are_one() {
        // What begins and what ends, a second later each.
        enum Step {
            Read,
            HasRead,
            Write,
            HasWritten,
        }
        use Step::{HasRead, HasWritten, Read, Write};
        for (name, steps, seconds) in [
            ("one", [Read, HasRead, HasRead, HasRead], 1),
            (
                "one behind the other",
                [Read, HasRead, Write, HasWritten],
                2,
            ),
            ("overlapping", [Read, Write, HasRead, HasWritten], 3),
            (
                "one within the other",
                [Write, Read, HasRead, HasWritten],
                3,
            ),
        ] {
            let seat = Seat::new();
            for step in steps {
                match step {
                    Read => seat.begin(&seat.reading),
                    HasRead => seat.end(&seat.reading),
                    Write => seat.begin(&seat.writing),
                    HasWritten => seat.end(&seat.writing),
                }
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            let owed = seat.owed.load(Ordering::Relaxed);
            assert_eq!(owed, seconds * 1_000_000, "{name}");
        }
    }
}
