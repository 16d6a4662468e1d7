//! Clocks that go on in steps: what a guest cannot tell apart, it cannot learn from.

use std::time::Duration;

use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock, MonotonicClock, WallClock};

/// The machine's clock in steps of a resolution, rounded down.
pub(crate) struct Coarse<C> {
    clock: C,
    step: Duration,
}

impl Coarse<MonotonicClock> {
    pub(crate) fn monotonic(step: Duration) -> Coarse<MonotonicClock> {
        Coarse {
            clock: MonotonicClock::default(),
            step,
        }
    }
}

impl Coarse<WallClock> {
    pub(crate) fn wall(step: Duration) -> Coarse<WallClock> {
        Coarse {
            clock: WallClock,
            step,
        }
    }
}

impl<C: HostMonotonicClock> HostMonotonicClock for Coarse<C> {
    fn resolution(&self) -> u64 {
        nanoseconds(self.step).max(self.clock.resolution())
    }

    fn now(&self) -> u64 {
        let now = self.clock.now();
        now - now % nanoseconds(self.step)
    }
}

impl<C: HostWallClock> HostWallClock for Coarse<C> {
    fn resolution(&self) -> Duration {
        self.step.max(self.clock.resolution())
    }

    fn now(&self) -> Duration {
        let now = self.clock.now();
        let past = now.as_nanos() % u128::from(nanoseconds(self.step));
        now - Duration::from_nanos(u64::try_from(past).unwrap_or(u64::MAX))
    }
}

/// At least one: a clock that stands still has no steps.
fn nanoseconds(step: Duration) -> u64 {
    u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that shows this, in steps of a nanosecond.
    struct Shows(Duration);

    impl HostMonotonicClock for Shows {
        fn resolution(&self) -> u64 {
            1
        }

        fn now(&self) -> u64 {
            nanoseconds(self.0)
        }
    }

    impl HostWallClock for Shows {
        fn resolution(&self) -> Duration {
            Duration::from_nanos(1)
        }

        fn now(&self) -> Duration {
            self.0
        }
    }

    #[test]
    fn a_clock_shows_the_last_step_and_says_how_long_one_is() {
        let (ms, ns) = (Duration::from_millis, Duration::from_nanos);
        for (step, now, shown) in [
            (ms(1), ns(1_999_999), ms(1)),
            (ms(1), ms(2), ms(2)),
            (ms(250), ms(999), ms(750)),
            (ms(7), ms(86_400_000), ms(86_399_999)),
            (ms(86_400_000), ms(86_400_001), ms(86_400_000)),
        ] {
            let coarse = Coarse {
                clock: Shows(now),
                step,
            };
            let wall: &dyn HostWallClock = &coarse;
            assert_eq!((wall.now(), wall.resolution()), (shown, step), "{now:?}");
            let monotonic: &dyn HostMonotonicClock = &coarse;
            let (shown, step) = (shown.as_nanos() as u64, nanoseconds(step));
            let got = (monotonic.now(), monotonic.resolution());
            assert_eq!(got, (shown, step), "{now:?}");
        }
    }
}
