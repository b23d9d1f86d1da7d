//! Readings that change slowly, or whose counters lose nothing when they are read rarely. Each group is
//! asked once in its period and told again with every sample between, so that a sample stays cheap.
//!
//! Groups are due one after another, not all with the same sample. Counters and modes are told at most
//! [`Group::period`] late.

use super::ask::{Line, Lines, line, line_or};
use super::fields::{Field, Fields, LINK_ERRORS, MEMORY_ERRORS, THROTTLING, TRAFFIC};
use super::older::int;
use super::{
    Clock, ComputeMode, Device, EccCounter, MemoryError, MemoryLocation, NvmlError, TemperatureThreshold,
};
use super::{links, older};
use crate::collect::Readings;
use crate::collect::gpu::{Fault, raw};
use gpuledger_proto::catalogue as metric;
use std::time::{Duration, Instant};

/// Counters of traffic and time, which dashboards turn into rates.
const SOON: Duration = Duration::from_secs(10);
/// Everything else.
const SELDOM: Duration = Duration::from_secs(30);
/// Each group's first period is longer by this than the one before it.
const STAGGER: Duration = Duration::from_secs(1);

/// What may be set, and where the GPU takes care of itself.
const LIMITS: &[Line] = &[
    line(metric::GPU_POWER_LIMIT_MIN, |d| Ok(i64::from(d.power_management_limit_constraints()?.min_limit))),
    line(metric::GPU_POWER_LIMIT_MAX, |d| Ok(i64::from(d.power_management_limit_constraints()?.max_limit))),
    line(metric::GPU_POWER_LIMIT_DEFAULT, |d| d.power_management_limit_default().map(i64::from)),
    line(metric::GPU_TEMPERATURE_SLOWDOWN, |d| threshold(d, TemperatureThreshold::Slowdown)),
    line(metric::GPU_TEMPERATURE_SHUTDOWN, |d| threshold(d, TemperatureThreshold::Shutdown)),
    line(metric::GPU_TEMPERATURE_MEMORY_MAX, |d| threshold(d, TemperatureThreshold::MemoryMax)),
    line(metric::GPU_CLOCK_SM_MAX, |d| Ok(i64::from(d.max_clock_info(Clock::SM)?) * 1_000)),
    line(metric::GPU_CLOCK_MEMORY_MAX, |d| Ok(i64::from(d.max_clock_info(Clock::Memory)?) * 1_000)),
];

/// Errors of memory that are no fields.
const ERRORS: &[Line] = &[
    line(metric::GPU_ECC_CORRECTED, older::corrected),
    line(metric::GPU_ECC_UNCORRECTED, older::uncorrected),
    line(metric::GPU_ECC_MODE, |d| d.is_ecc_enabled().map(|mode| i64::from(mode.currently_enabled))),
    line(metric::GPU_ECC_CORRECTED_SRAM, |d| sram(d, MemoryError::Corrected)),
    line(metric::GPU_ECC_UNCORRECTED_SRAM, |d| sram(d, MemoryError::Uncorrected)),
    line(metric::GPU_ECC_SRAM_THRESHOLD, raw::sram_threshold_exceeded),
];

/// Links to the host and to other GPUs.
const LINKS: &[Line] = &[
    line(metric::GPU_NVLINKS, links::count),
    line(metric::GPU_NVLINKS_ACTIVE, links::active),
    line(metric::GPU_PCIE_GENERATION, |d| d.current_pcie_link_gen().map(i64::from)),
    line(metric::GPU_PCIE_WIDTH, |d| d.current_pcie_link_width().map(i64::from)),
    line(metric::GPU_PCIE_GENERATION_MAX, |d| d.max_pcie_link_gen().map(i64::from)),
    line(metric::GPU_PCIE_WIDTH_MAX, |d| d.max_pcie_link_width().map(i64::from)),
];

/// How the GPU is set up, and its fans.
const MODES: &[Line] = &[
    line(metric::GPU_FAN_SPEED, fastest_fan),
    line(metric::GPU_PERSISTENCE_MODE, |d| d.is_in_persistent_mode().map(i64::from)),
    line(metric::GPU_COMPUTE_MODE, |d| d.compute_mode().map(compute_mode)),
    line_or(
        metric::GPU_POWER_LIMIT,
        |d| d.enforced_power_limit().map(i64::from),
        |d| d.power_management_limit().map(i64::from),
    ),
];

fn threshold(device: &Device<'_>, which: TemperatureThreshold) -> Result<i64, NvmlError> {
    Ok(i64::from(device.temperature_threshold(which)?) * 1_000)
}

fn sram(device: &Device<'_>, kind: MemoryError) -> Result<i64, NvmlError> {
    device.memory_error_counter(kind, EccCounter::Aggregate, MemoryLocation::SRAM).and_then(int)
}

/// Percent to ppm; a GPU without fans does not have the reading.
fn fastest_fan(device: &Device<'_>) -> Result<i64, NvmlError> {
    let fans = (0..device.num_fans()?).map(|fan| device.fan_speed(fan));
    let speeds: Vec<u32> = fans.collect::<Result<_, _>>()?;
    let fastest = speeds.into_iter().max().ok_or(NvmlError::NotSupported)?;
    Ok(i64::from(fastest) * 10_000)
}

/// NVML's numbers.
fn compute_mode(mode: ComputeMode) -> i64 {
    match mode {
        ComputeMode::Default => 0,
        ComputeMode::ExclusiveThread => 1,
        ComputeMode::Prohibited => 2,
        ComputeMode::ExclusiveProcess => 3,
    }
}

/// Readings that are asked together.
#[derive(Debug)]
struct Group {
    lines: Lines,
    fields: Fields,
    period: Duration,
    /// `None` before it was asked the first time.
    due: Option<Instant>,
    held: Readings,
}

/// All groups of one GPU.
#[derive(Debug)]
pub(super) struct Slow(Vec<Group>);

impl Slow {
    pub fn new() -> Self {
        let groups: [(&'static [Line], &'static [Field], Duration); 6] = [
            (&[], THROTTLING, SOON),
            (&[], TRAFFIC, SOON),
            (MODES, &[], SOON),
            (LINKS, LINK_ERRORS, SELDOM),
            (ERRORS, MEMORY_ERRORS, SELDOM),
            (LIMITS, &[], SELDOM),
        ];
        let group = |(lines, fields, period)| Group {
            lines: Lines::new(lines),
            fields: Fields::new(fields),
            period,
            due: None,
            held: Readings::default(),
        };
        Self(groups.into_iter().map(group).collect())
    }

    /// Asks the groups that are due, and tells all.
    pub fn read(&mut self, device: &Device<'_>, now: Instant, readings: &mut Readings) -> Result<(), Fault> {
        let mut stagger = Duration::ZERO;
        for group in &mut self.0 {
            stagger += STAGGER;
            if group.due.is_none_or(|due| now >= due) {
                group.lines.read(device, &mut group.held)?;
                group.fields.read(device, &mut group.held)?;
                let later = if group.due.is_none() { stagger } else { Duration::ZERO };
                group.due = Some(now + group.period + later);
            }
            group.held.iter().for_each(|(metric, held)| readings.put(metric, held));
        }
        Ok(())
    }
}
