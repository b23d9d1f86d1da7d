//! GPM: what Hopper and later measure of themselves between two samples, without DCGM.
//!
//! One sample is kept for each GPU or instance; a new one is taken with every reading and compared with
//! it. Samples closer together than the driver allows keep the older one and the reading before it.
//! Samples too far apart, after a sleep or a hang, begin anew: what they span is not "now".

use super::verdict::reading;
use super::{Device, GpmSample, NvmlError};
use crate::collect::Readings;
use crate::collect::gpu::{Fault, raw};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::reading::{Absence, Reading};
use std::time::{Duration, Instant};

/// Two samples must lie at least this far apart.
const WINDOW_MIN: Duration = Duration::from_millis(100);
const WINDOW_MAX: Duration = Duration::from_secs(600);

/// Percent to ppm, MiB/s to bytes a second.
const PERCENT: f64 = 10_000.0;
const MEBIBYTES: f64 = 1_048_576.0;
/// The driver's shares may lie a little above the whole; what lies far above is no share.
const PERCENT_MAX: f64 = 105.0;

/// The metrics, their numbers by `nvml.h`, and their factor.
const METRICS: [(MetricId, u32, f64); 13] = [
    (metric::GPU_GRAPHICS_ACTIVE, 1, PERCENT),
    (metric::GPU_SM_ACTIVE, 2, PERCENT),
    (metric::GPU_SM_OCCUPANCY, 3, PERCENT),
    (metric::GPU_INTEGER_ACTIVE, 4, PERCENT),
    (metric::GPU_TENSOR_ACTIVE, 5, PERCENT),
    (metric::GPU_DRAM_ACTIVE, 10, PERCENT),
    (metric::GPU_FP64_ACTIVE, 11, PERCENT),
    (metric::GPU_FP32_ACTIVE, 12, PERCENT),
    (metric::GPU_FP16_ACTIVE, 13, PERCENT),
    (metric::GPU_PCIE_SENT_RATE, 20, MEBIBYTES),
    (metric::GPU_PCIE_RECEIVED_RATE, 21, MEBIBYTES),
    (metric::GPU_NVLINK_RECEIVED_RATE, 60, MEBIBYTES),
    (metric::GPU_NVLINK_SENT_RATE, 61, MEBIBYTES),
];
const NUMBERS: [u32; METRICS.len()] = {
    let mut numbers = [0; METRICS.len()];
    let mut at = 0;
    while at < METRICS.len() {
        numbers[at] = METRICS[at].1;
        at += 1;
    }
    numbers
};

/// What is kept between two readings of a GPU, or of one instance of it.
#[derive(Debug)]
pub(super) struct Gpm<'l> {
    /// `None` is the whole GPU.
    instance: Option<u32>,
    supported: Option<bool>,
    kept: Option<(Instant, GpmSample<'l>)>,
    told: [Reading<i64>; METRICS.len()],
}

impl<'l> Gpm<'l> {
    pub fn new(instance: Option<u32>) -> Self {
        let told = [Reading::Absent(Absence::Pending); METRICS.len()];
        Self { instance, supported: None, kept: None, told }
    }

    /// Reads all metrics, or the reason for which there are none.
    pub fn read(&mut self, device: &Device<'l>, now: Instant, readings: &mut Readings) -> Result<(), Fault> {
        match self.update(device, now)? {
            Reading::Value(()) => {}
            Reading::Absent(reason) => self.told = [Reading::Absent(reason); METRICS.len()],
        }
        for ((metric, ..), told) in METRICS.iter().zip(self.told) {
            readings.put(*metric, told);
        }
        Ok(())
    }

    /// The share of the time in which the multiprocessors were active, if it is known.
    pub fn activity_ppm(readings: &Readings) -> Option<i64> {
        readings.get(metric::GPU_SM_ACTIVE).and_then(Reading::value)
    }

    fn update(&mut self, device: &Device<'l>, now: Instant) -> Result<Reading<()>, Fault> {
        if !self.is_supported(device)? {
            return Ok(Reading::Absent(Absence::Unsupported));
        }
        let window = self.kept.as_ref().map(|(at, _)| now.saturating_duration_since(*at));
        if window.is_some_and(|window| window < WINDOW_MIN) {
            return Ok(Reading::Value(()));
        }
        let taken = match self.instance {
            None => device.gpm_sample(),
            Some(instance) => device.gpm_mig_sample(instance),
        };
        let sample = match reading(taken)? {
            Reading::Value(sample) => sample,
            Reading::Absent(reason) => {
                self.kept = None;
                return Ok(Reading::Absent(reason));
            }
        };
        let told = match (&self.kept, window) {
            (Some((_, before)), Some(window)) if window <= WINDOW_MAX => {
                reading(raw::gpm_metrics(device.nvml(), before, &sample, &NUMBERS))?
            }
            _ => Reading::Absent(Absence::Pending),
        };
        self.kept = Some((now, sample));
        Ok(match told {
            Reading::Absent(reason) => Reading::Absent(reason),
            Reading::Value(values) => {
                for (told, (value, (_, _, factor))) in
                    self.told.iter_mut().zip(values.into_iter().zip(METRICS))
                {
                    *told = scaled(value, factor)?;
                }
                Reading::Value(())
            }
        })
    }

    fn is_supported(&mut self, device: &Device<'l>) -> Result<bool, Fault> {
        if self.supported.is_none() {
            match reading(device.gpm_support())? {
                Reading::Value(supported) => self.supported = Some(supported),
                Reading::Absent(Absence::Unsupported) => self.supported = Some(false),
                // Taking a sample tells why not.
                Reading::Absent(_) => return Ok(true),
            }
        }
        Ok(self.supported.unwrap_or(true))
    }
}

/// One metric in the catalogue's unit.
fn scaled(value: Result<f64, NvmlError>, factor: f64) -> Result<Reading<i64>, Fault> {
    Ok(match reading(value)? {
        Reading::Absent(reason) => Reading::Absent(reason),
        Reading::Value(value) => rounded(value, factor).ok_or(Absence::Failed).into(),
    })
}

fn rounded(value: f64, factor: f64) -> Option<i64> {
    /// Far above any bandwidth, and exact in a float.
    const BYTES_MAX: f64 = 1e15;
    let is_share = (factor - PERCENT).abs() < 1.0;
    let limit = if is_share { PERCENT_MAX * PERCENT } else { BYTES_MAX };
    let number = value * factor;
    if !(0.0..=limit).contains(&number) {
        return None;
    }
    let number = if is_share { number.min(100.0 * PERCENT) } else { number };
    #[allow(clippy::cast_possible_truncation, reason = "finite and below 2^53, as was just looked at")]
    Some(number.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_ppm_and_what_is_no_share_has_failed() {
        assert_eq!(rounded(43.21, PERCENT), Some(432_100));
        assert_eq!(rounded(100.4, PERCENT), Some(1_000_000), "a little above the whole is the whole");
        assert_eq!(rounded(1.5, MEBIBYTES), Some(1_572_864));
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(rounded(nonsense, PERCENT), None, "{nonsense}");
            assert_eq!(rounded(nonsense, MEBIBYTES), None, "{nonsense}");
        }
        assert_eq!(rounded(250.0, PERCENT), None);
    }
}
