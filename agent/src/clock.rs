//! Time comes in here and nowhere else.
//!
//! Samples carry two clocks: the wall clock, which people read and which may step, and the
//! boot-time clock, which counts through suspend and never steps within one boot. Sampling keeps
//! to a grid of the boot-time clock.

use gpuledger_proto::frame::Stamp;
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a part of the agent may know of time.
pub trait Clock: Send + Sync {
    /// Both clocks now.
    fn now(&self) -> Stamp;

    /// Returns when the boot-time clock has reached `boot_ms`, or earlier when somebody unparks
    /// the thread: whoever waits looks again at why it waited.
    fn sleep_until(&self, boot_ms: u64);
}

/// The kernel's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let boot = clock_gettime(ClockId::Boottime);
        // Neither field is ever negative on the boot-time clock: the sign says nothing.
        let (seconds, nanos) = (boot.tv_sec.unsigned_abs(), boot.tv_nsec.unsigned_abs());
        // A wall clock before 1970 is not set. It reads as 1970, which the collector passes over like
        // any time before 2020.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp {
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            boot_ms: seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000),
        }
    }

    fn sleep_until(&self, boot_ms: u64) {
        let left = boot_ms.saturating_sub(self.now().boot_ms);
        if left > 0 {
            std::thread::park_timeout(Duration::from_millis(left));
        }
    }
}

/// The wall clock alone, for what only tells the time.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// The kernel's.
    pub fn system() -> Self {
        Self::of(|| SystemClock.now().wall_ms)
    }

    /// One that tells what the function gives: milliseconds since the Unix epoch.
    pub fn of(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now_ms()).finish()
    }
}

/// The instants at which samples are due: the multiples of the interval on the boot-time clock.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    interval_ms: u64,
    due_ms: u64,
}

impl Grid {
    /// A grid whose first instant is now or the next multiple of the interval. An interval of zero
    /// counts as one millisecond.
    pub fn starting(interval_ms: u64, now_boot_ms: u64) -> Self {
        let interval_ms = interval_ms.max(1);
        Self { interval_ms, due_ms: now_boot_ms.div_ceil(interval_ms).saturating_mul(interval_ms) }
    }

    /// The next instant at which a sample is due.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Takes the instant that is due as sampled and moves on to the next one after `now`. Returns
    /// how many instants passed in between without a sample.
    pub fn advance(&mut self, now_boot_ms: u64) -> u64 {
        let late = now_boot_ms.saturating_sub(self.due_ms);
        let missed = late / self.interval_ms;
        self.due_ms = self.due_ms.saturating_add((missed + 1).saturating_mul(self.interval_ms));
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_clocks_run_and_a_past_instant_does_not_wait() {
        let clock = SystemClock;
        let before = clock.now();
        clock.sleep_until(0);
        clock.sleep_until(before.boot_ms + 2);
        let after = clock.now();
        assert!(after.boot_ms >= before.boot_ms + 2, "{before:?} {after:?}");
        assert!(after.wall_ms > 1_600_000_000_000, "{after:?}");
    }

    #[test]
    fn a_sample_in_time_misses_nothing_and_a_late_one_is_counted() {
        let mut grid = Grid::starting(1_000, 12_345);
        assert_eq!(grid.due_ms(), 13_000);
        assert_eq!(grid.advance(13_002), 0);
        assert_eq!(grid.due_ms(), 14_000);
        assert_eq!(grid.advance(17_500), 3, "15, 16 and 17 s passed");
        assert_eq!(grid.due_ms(), 18_000);
    }

    proptest! {
        #[test]
        fn the_grid_is_steady_and_every_instant_is_sampled_or_counted(
            interval in 1u64..5_000, start in 0u64..1_000_000, delays in prop::collection::vec(0u64..20_000, 1..50),
        ) {
            let mut grid = Grid::starting(interval, start);
            let first = grid.due_ms();
            let (mut sampled, mut missed) = (0, 0);
            for delay in delays {
                let now = grid.due_ms() + delay;
                missed += grid.advance(now);
                sampled += 1;
                prop_assert_eq!(grid.due_ms() % interval, 0);
                prop_assert!(grid.due_ms() > now);
            }
            prop_assert_eq!((grid.due_ms() - first) / interval, sampled + missed);
        }
    }
}
