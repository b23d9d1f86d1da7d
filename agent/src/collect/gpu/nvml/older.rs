//! Deprecated calls, for drivers and GPUs that lack what replaced them.

use super::{Device, EccCounter, MemoryError, NvmlError, PerformancePolicy, TemperatureSensor};
use crate::collect::gpu::raw;

/// Nanoseconds to the milliseconds of the catalogue.
const NANOSECONDS: u64 = 1_000_000;

pub(super) fn temperature(device: &Device<'_>) -> Result<i64, NvmlError> {
    Ok(i64::from(device.temperature(TemperatureSensor::Gpu)?) * 1_000)
}

pub(super) fn throttle_reasons(device: &Device<'_>) -> Result<i64, NvmlError> {
    raw::clocks_throttle_reasons(device).and_then(int)
}

pub(super) fn pcie_replays(device: &Device<'_>) -> Result<i64, NvmlError> {
    device.pcie_replay_counter().map(i64::from)
}

pub(super) fn violation_power(device: &Device<'_>) -> Result<i64, NvmlError> {
    violation(device, PerformancePolicy::Power)
}

pub(super) fn violation_thermal(device: &Device<'_>) -> Result<i64, NvmlError> {
    violation(device, PerformancePolicy::Thermal)
}

pub(super) fn violation_sync_boost(device: &Device<'_>) -> Result<i64, NvmlError> {
    violation(device, PerformancePolicy::SyncBoost)
}

pub(super) fn violation_board_limit(device: &Device<'_>) -> Result<i64, NvmlError> {
    violation(device, PerformancePolicy::BoardLimit)
}

pub(super) fn violation_reliability(device: &Device<'_>) -> Result<i64, NvmlError> {
    violation(device, PerformancePolicy::Reliability)
}

fn violation(device: &Device<'_>, policy: PerformancePolicy) -> Result<i64, NvmlError> {
    device.violation_status(policy).and_then(|time| int(time.violation_time / NANOSECONDS))
}

/// All errors of a kind over the GPU's life.
pub(super) fn corrected(device: &Device<'_>) -> Result<i64, NvmlError> {
    device.total_ecc_errors(MemoryError::Corrected, EccCounter::Aggregate).and_then(int)
}

pub(super) fn uncorrected(device: &Device<'_>) -> Result<i64, NvmlError> {
    device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Aggregate).and_then(int)
}

/// A number of the driver in the wire's type. A larger one is not a number that a GPU counts to.
pub(super) fn int(value: u64) -> Result<i64, NvmlError> {
    i64::try_from(value).map_err(|_| NvmlError::Unknown)
}
