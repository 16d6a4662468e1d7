//! What a client may spend on frames that ask for nothing.

use tokio::time::Instant;

use crate::limits::Limits;

/// Tokens, as many as [`Limits::frame_tokens`] at most. Time and honest use of the connection bring them back.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: u32,
    most: u32,
    a_second: u32,
    refilled: Instant,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Budget {
        Budget {
            tokens: limits.frame_tokens,
            most: limits.frame_tokens,
            a_second: limits.frame_tokens_a_second.max(1),
            refilled: Instant::now(),
        }
    }

    /// Adds what time has brought.
    pub(crate) fn refill(&mut self, now: Instant) {
        let rate = u128::from(self.a_second);
        let earned = now.duration_since(self.refilled).as_millis() * rate / 1000;
        if earned > 0 {
            // A part of a token that is lost at each refill is less than one in a hundred.
            self.refilled = now;
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn earn(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.most);
    }

    /// Takes this many, or says that there are not so many: then nothing is left.
    #[must_use]
    pub(crate) fn spend(&mut self, tokens: u32) -> bool {
        let enough = tokens <= self.tokens;
        self.tokens = self.tokens.saturating_sub(tokens);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn tokens_come_back_with_time_and_never_more_than_there_were() {
        let limits = Limits {
            frame_tokens: 10,
            frame_tokens_a_second: 2,
            ..Limits::default()
        };
        let mut budget = Budget::new(&limits);
        assert!(budget.spend(10));
        assert!(!budget.spend(1));
        for (millis, back) in [(499, 0), (1, 1), (1500, 3), (60_000, 10)] {
            advance(Duration::from_millis(millis)).await;
            budget.refill(Instant::now());
            assert_eq!(budget.tokens, back, "{millis}");
            assert!(back == 0 || budget.spend(back));
        }
        budget.earn(7);
        budget.earn(7);
        assert_eq!(budget.tokens, 10);
        assert!(!budget.spend(11));
        assert_eq!(budget.tokens, 0);
    }
}
