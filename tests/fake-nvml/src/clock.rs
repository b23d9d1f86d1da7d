//! The time base: microseconds since the scenario began, on the boot clock.
//!
//! A scenario that starts with the library begins anew in every process. With `start_boot_ms` or
//! `start_unix_ms` all processes see one GPU whose counter goes on while none of them runs.

use rustix::time::{ClockId, clock_gettime};

use crate::scenario;

pub fn boot_ns() -> i64 {
    nanoseconds(ClockId::Boottime)
}

pub fn unix_ns() -> i64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn unix_us() -> i64 {
    unix_ns() / 1000
}

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start_boot_us: i64,
    /// Wall clock at the start of the scenario, fixed at load so that a sample keeps its stamp.
    start_unix_us: i64,
}

impl Clock {
    pub fn start(spec: &scenario::Clock) -> Self {
        let now_us = boot_ns() / 1000;
        let start_boot_us = match (spec.start_boot_ms, spec.start_unix_ms) {
            (Some(boot_ms), _) => boot_ms * 1000,
            (None, Some(unix_ms)) => now_us - (unix_us() - unix_ms * 1000),
            (None, None) => now_us,
        };
        Self { start_boot_us, start_unix_us: unix_us() - (now_us - start_boot_us) }
    }

    /// Time in the scenario; before its start it stands at zero.
    pub fn now_us(self) -> u64 {
        u64::try_from(boot_ns() / 1000 - self.start_boot_us).unwrap_or(0)
    }

    /// A moment of the scenario as wall clock, in microseconds as NVML stamps samples.
    pub fn unix_us_at(self, t_us: u64) -> u64 {
        self.start_unix_us.saturating_add_unsigned(t_us).cast_unsigned()
    }
}
