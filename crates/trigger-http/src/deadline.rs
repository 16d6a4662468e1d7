//! A timer that is moved more often than it fires, and that is not believed at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that has fired is not believed before this: where the whole process was stopped, or its threads had no turn, all
/// timers are seen before what clients have sent meanwhile. By then, the sockets were looked at.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The end of a connection's present phase, or of what a client is waited for with.
///
/// Each request moves it twice, and it hardly ever fires. So moving it only notes the time; the timer itself is set
/// anew when it fires too early. Whoever polls it has tried to go on before: when it has fired, once more
/// [`LOOK_AGAIN`] later.
#[derive(Debug)]
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
    looks: Looks,
}

/// Whether a timer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// Not the first time.
    Again,
    /// Yes.
    NoMore,
}

impl Deadline {
    pub(crate) fn new(after: Duration) -> Deadline {
        let at = Instant::now() + after;
        Deadline {
            at,
            sleep: Box::pin(sleep_until(at)),
            looks: Looks::of(after),
        }
    }

    pub(crate) fn set(&mut self, after: Duration) {
        self.at = Instant::now() + after;
        self.looks = Looks::of(after);
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.deadline() > self.at {
            self.sleep.as_mut().reset(self.at);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= self.at {
                match self.looks {
                    Looks::Again => self.at = Instant::now() + LOOK_AGAIN,
                    Looks::NoMore => return Poll::Ready(()),
                }
                self.looks = Looks::NoMore;
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}

impl Looks {
    /// Who had no time left is not waited for again: otherwise a byte now and then would go on for ever.
    fn of(after: Duration) -> Looks {
        if after.is_zero() {
            Looks::NoMore
        } else {
            Looks::Again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn it_fires_when_it_was_last_told_to() {
        let second = Duration::from_secs(1);
        for (first, then) in [(1, 5), (5, 1), (3, 3), (3, 0)] {
            let mut deadline = Deadline::new(second * first);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(deadline.poll(&mut cx).is_pending());
            deadline.set(second * then);
            let began = Instant::now();
            poll_fn(|cx| deadline.poll(cx)).await;
            let waited = began.elapsed();
            assert_eq!(waited.as_secs(), u64::from(then), "{first} {then}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sleeps_through_it_looks_once_more_and_then_it_has_fired() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for set_again in [false, true] {
            let mut deadline = Deadline::new(Duration::from_secs(10));
            assert!(deadline.poll(&mut cx).is_pending());
            advance(Duration::from_secs(100)).await;
            assert!(deadline.poll(&mut cx).is_pending(), "the first look");
            if set_again {
                deadline.set(Duration::from_secs(5));
                advance(Duration::from_secs(5)).await;
                assert!(deadline.poll(&mut cx).is_pending(), "and of the next");
            }
            advance(LOOK_AGAIN).await;
            assert!(deadline.poll(&mut cx).is_ready());
        }
    }
}
