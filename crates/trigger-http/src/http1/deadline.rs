//! A timer that is moved more often than it fires.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The end of a connection's present phase.
///
/// Each request moves it twice, and it hardly ever fires. So moving it only notes the time; the timer itself is set
/// anew when it fires too early.
#[derive(Debug)]
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    pub(super) fn new(after: Duration) -> Deadline {
        let sleep = Box::pin(sleep(after));
        Deadline {
            at: sleep.deadline(),
            sleep,
        }
    }

    pub(super) fn set(&mut self, after: Duration) {
        self.at = Instant::now() + after;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.deadline() > self.at {
            self.sleep.as_mut().reset(self.at);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn it_fires_when_it_was_last_told_to() {
        let second = Duration::from_secs(1);
        for (first, then) in [(1, 5), (5, 1), (3, 3)] {
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
}
