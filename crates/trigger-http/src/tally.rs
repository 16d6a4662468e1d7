//! What a flood makes happen many times is told now and then, with how often it was.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about the same thing.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Counts one thing, and says when a line about it is due.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    untold: u64,
    told: Option<Instant>,
}

impl Tally {
    /// Once more. Gives the number to tell, if it is time: at once for the first, then after [`EVERY`].
    pub(crate) fn count(&self) -> Option<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.untold += 1;
        inner.due()
    }

    /// What has gathered since the last line, if it is time to tell it.
    pub(crate) fn gathered(&self) -> Option<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.due()
    }
}

impl Inner {
    fn due(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + EVERY) || self.untold == 0 {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_the_others_together() {
        let tally = Tally::default();
        assert_eq!(tally.gathered(), None);
        assert_eq!(tally.count(), Some(1));
        assert_eq!([tally.count(), tally.count(), tally.gathered()], [None; 3]);
        tokio::time::advance(EVERY).await;
        assert_eq!(tally.gathered(), Some(2));
        assert_eq!(tally.count(), None);
        tokio::time::advance(EVERY).await;
        assert_eq!(tally.count(), Some(2));
        assert_eq!(tally.gathered(), None);
    }
}
