//! A bucket of tokens: so much in so much time, and so much at once. Taking from it takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runner_manifest::Rate;
use tokio::time::Instant;

/// It is full at first, and fills again at its rate.
///
/// What it remembers is when it will be full again: each token that is taken puts that off by the time that one needs.
pub(crate) struct Bucket {
    amount: AtomicU64,
    /// The time in which that much comes, in nanoseconds.
    per: AtomicU64,
    /// The time in which it fills, in nanoseconds.
    depth: AtomicU64,
    start: Instant,
    /// When it is full again, in nanoseconds since its start.
    full_at: AtomicU64,
}

impl Bucket {
    /// With room for what its rate brings in its time, and for `burst` at least.
    pub(crate) fn new(rate: Rate, burst: u64) -> Bucket {
        Bucket {
            amount: AtomicU64::new(rate.amount),
            per: AtomicU64::new(nanoseconds(rate.per)),
            depth: AtomicU64::new(time_of(rate, burst.max(rate.amount))),
            start: Instant::now(),
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes so much, or nothing where there is less in it.
    pub(crate) fn take(&self, amount: u64) -> bool {
        let now = nanoseconds(self.start.elapsed());
        let order = Ordering::Relaxed;
        let (time, depth) = (time_of(self.rate(), amount), self.depth.load(order));
        let taken = self.full_at.fetch_update(order, order, |full_at| {
            let after = full_at.max(now).saturating_add(time);
            (after - now <= depth).then_some(after)
        });
        taken.is_ok()
    }

    /// From now on it fills at another rate. It lacks as much as before, or is empty where it holds less now.
    pub(crate) fn set(&self, rate: Rate, burst: u64) {
        let order = Ordering::Relaxed;
        let before = self.rate();
        if before.amount == rate.amount && before.per == rate.per {
            return;
        }
        let depth = time_of(rate, burst.max(rate.amount));
        let now = nanoseconds(self.start.elapsed());
        self.amount.store(rate.amount, order);
        self.per.store(nanoseconds(rate.per), order);
        self.depth.store(depth, order);
        let lacks = |full_at: u64| {
            let time = amount_in(before, full_at.saturating_sub(now));
            Some(now.saturating_add(time_of(rate, time).min(depth)))
        };
        let _ = self.full_at.fetch_update(order, order, lacks);
    }

    fn rate(&self) -> Rate {
        Rate {
            amount: self.amount.load(Ordering::Relaxed),
            per: Duration::from_nanos(self.per.load(Ordering::Relaxed)),
        }
    }
}

/// How much comes in this time, in nanoseconds.
fn amount_in(rate: Rate, time: u64) -> u64 {
    let amount = u128::from(rate.amount).saturating_mul(u128::from(time));
    let amount = amount.div_ceil(rate.per.as_nanos().max(1));
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// How long a rate needs for so much, in nanoseconds.
fn time_of(rate: Rate, amount: u64) -> u64 {
    let times = u128::from(amount).saturating_mul(rate.per.as_nanos());
    let time = times / u128::from(rate.amount.max(1));
    u64::try_from(time).unwrap_or(u64::MAX)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(amount: u64, seconds: u64, burst: u64) -> Bucket {
        let per = Duration::from_secs(seconds);
        Bucket::new(Rate { amount, per }, burst)
    }

    /// How many single tokens there are in it.
    fn drain(bucket: &Bucket) -> u64 {
        let mut count = 0;
        while bucket.take(1) {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_so_much_at_once_and_then_what_its_rate_brings() {
        for (amount, seconds, burst, at_once, in_ten_seconds) in [
            (1, 1, 1, 1, 1),
            (10, 1, 1, 10, 10),
            (10, 1, 64, 64, 64),
            (60, 60, 1, 60, 10),
            (16, 1, 400, 400, 160),
            (1, 3600, 5, 5, 0),
        ] {
            let bucket = bucket(amount, seconds, burst);
            let row = format!("{amount} in {seconds} s, {burst} at once");
            assert_eq!(drain(&bucket), at_once, "{row}");
            tokio::time::advance(Duration::from_secs(10)).await;
            assert_eq!(drain(&bucket), in_ten_seconds, "{row}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_takes_nothing() {
        let bucket = bucket(10, 1, 1);
        assert!(bucket.take(8));
        assert!(!bucket.take(3));
        assert!(bucket.take(2));
        assert!(!bucket.take(11), "more than it ever holds");
        tokio::time::advance(Duration::from_millis(99)).await;
        assert!(!bucket.take(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(bucket.take(1));
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_fills_what_is_missing_and_gives_nothing() {
        for (taken, amount, burst, left) in [
            (0, 10, 1, 10),
            (4, 10, 1, 6),
            (4, 100, 1, 96),
            (4, 5, 1, 1),
            (10, 5, 1, 0),
            (10, 5, 20, 10),
        ] {
            let bucket = bucket(10, 1, 1);
            assert!(bucket.take(taken));
            let per = Duration::from_secs(1);
            bucket.set(Rate { amount, per }, burst);
            let row = format!("{taken} of 10, then {amount} in a second and {burst} at once");
            assert_eq!(drain(&bucket), left, "{row}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn absurd_rates_neither_panic_nor_wrap() {
        for (amount, seconds) in [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (0, 1)] {
            let bucket = bucket(amount, seconds, 1);
            assert!(bucket.take(1), "{amount} {seconds}");
            let _ = bucket.take(u64::MAX);
            tokio::time::advance(Duration::from_secs(86_400)).await;
            let _ = bucket.take(1);
            let per = Duration::from_secs(seconds);
            bucket.set(Rate { amount: 7, per }, u64::MAX);
            bucket.set(Rate { amount, per }, 1);
            let _ = bucket.take(1);
        }
    }
}
