//! How patient a body is with its client.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::limits::Limits;

/// Measures how long a client was waited for, and says when that is too long.
///
/// Only waiting counts: a body that is not read because its guest computes is not slow. It is too long when nothing
/// came for [`Limits::body_idle`], or when all waiting together exceeds [`Limits::body_grace`] and what came is less
/// than [`Limits::body_rate`] for each second of it.
#[derive(Debug)]
pub(crate) struct Pace {
    idle: Duration,
    grace: Duration,
    rate: u32,
    bytes: u64,
    waited: Duration,
    waiting: Option<(Instant, Deadline)>,
}

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Pace {
        Pace {
            idle: limits.body_idle,
            grace: limits.body_grace,
            rate: limits.body_rate,
            bytes: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// Something came.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing has come. Ready when that is too long.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left();
        let (_, deadline) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Deadline::new(left)));
        deadline.poll(cx)
    }

    /// How long it may be from now until something comes.
    fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.bytes / u64::from(self.rate.max(1)));
        self.grace
            .max(earned)
            .saturating_sub(self.waited)
            .min(self.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::advance;

    async fn waits(pace: &mut Pace) -> Duration {
        let began = Instant::now();
        poll_fn(|cx| pace.poll_wait(cx)).await;
        began.elapsed().min(Duration::from_secs(3600))
    }

    /// Lets the client be waited for.
    async fn wait(pace: &mut Pace, seconds: u64) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(pace.poll_wait(&mut cx).is_pending());
        advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn d19_a_body_has_its_grace_then_its_rate_and_never_more_than_it_may_idle() {
        let limits = Limits::default();
        for (came, seconds_before, left) in [
            (&[][..], 0, 10),
            (&[1], 4, 6),
            (&[1, 1], 4, 2),
            (&[240 * 20], 4, 16),
            (&[240 * 1000], 4, 30),
            (&[240 * 1000, 1], 29, 30),
        ] {
            let mut pace = Pace::new(&limits);
            for bytes in came {
                if seconds_before > 0 {
                    wait(&mut pace, seconds_before).await;
                }
                pace.came(*bytes);
            }
            let waited = waits(&mut pace).await;
            assert_eq!(waited.as_secs(), left, "{came:?} {seconds_before}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_does_not_read_costs_its_client_nothing() {
        let mut pace = Pace::new(&Limits::default());
        for _ in 0..10 {
            pace.came(1);
            advance(Duration::from_secs(60)).await;
        }
        assert_eq!(waits(&mut pace).await.as_secs(), 10);
    }
}
