//! Field values: many readings by one call of the driver.
//!
//! The call may succeed while single fields fail. Answers come in the order of the question, under
//! identifiers that depend on the driver's version, so they are taken by their place.

use super::ask::{Call, Way};
use super::verdict::reading;
use super::{Device, NvmlError};
use crate::collect::Readings;
use crate::collect::gpu::{Fault, raw};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::reading::{Absence, Reading};

/// What a field's number is multiplied by, or divided by, to be in the metric's unit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {
    Times(i64),
    By(i64),
}

impl Scale {
    const ONE: Self = Self::Times(1);
    /// Nanoseconds to milliseconds.
    const NANOSECONDS: Self = Self::By(1_000_000);

    fn apply(self, value: i64) -> Option<i64> {
        match self {
            Self::Times(factor) => value.checked_mul(factor),
            Self::By(divisor) => value.checked_div(divisor),
        }
    }
}

/// A metric, its field by `nvml.h` (in the numbering before driver 580.82), and what to ask without it.
pub(super) struct Field {
    metric: MetricId,
    id: u32,
    scope: u32,
    scale: Scale,
    older: Option<Call>,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "field {} scope {}", self.id, self.scope)
    }
}

/// Scopes of power.
const GPU: u32 = 0;
const MODULE: u32 = 1;
const MEMORY: u32 = 2;
/// The scope of NVLink's fields that stands for all links.
const ALL_LINKS: u32 = u32::MAX;

const fn field(metric: MetricId, id: u32, scope: u32, scale: Scale) -> Field {
    Field { metric, id, scope, scale, older: None }
}

const fn field_or(metric: MetricId, id: u32, scale: Scale, older: Call) -> Field {
    Field { metric, id, scope: GPU, scale, older: Some(older) }
}

/// Asked with every sample. Power without these fields is asked by the old call: see `device`.
pub(super) const FAST: &[Field] = &[
    field(metric::GPU_POWER_AVERAGE, 185, GPU, Scale::ONE),
    field(metric::GPU_POWER_INSTANT, 186, GPU, Scale::ONE),
    field(metric::GPU_POWER_MEMORY, 185, MEMORY, Scale::ONE),
    field(metric::GPU_POWER_MODULE, 185, MODULE, Scale::ONE),
    field(metric::GPU_TEMPERATURE_MEMORY, 82, GPU, Scale::Times(1_000)),
];

/// Time held down, by reason: in nanoseconds since the driver was loaded.
pub(super) const THROTTLING: &[Field] = &[
    field_or(metric::GPU_THROTTLED_POWER, 74, Scale::NANOSECONDS, super::older::violation_power),
    field_or(metric::GPU_THROTTLED_THERMAL, 75, Scale::NANOSECONDS, super::older::violation_thermal),
    field_or(metric::GPU_THROTTLED_SYNC_BOOST, 76, Scale::NANOSECONDS, super::older::violation_sync_boost),
    field_or(metric::GPU_THROTTLED_BOARD_LIMIT, 77, Scale::NANOSECONDS, super::older::violation_board_limit),
    field_or(metric::GPU_THROTTLED_RELIABILITY, 79, Scale::NANOSECONDS, super::older::violation_reliability),
    field(metric::GPU_THROTTLED_SW_THERMAL, 251, GPU, Scale::NANOSECONDS),
    field(metric::GPU_THROTTLED_HW_THERMAL, 252, GPU, Scale::NANOSECONDS),
    field(metric::GPU_THROTTLED_POWER_BRAKE, 253, GPU, Scale::NANOSECONDS),
];

/// Bytes and packets on both kinds of link. The driver's counters; nothing here blocks.
pub(super) const TRAFFIC: &[Field] = &[
    field(metric::GPU_PCIE_SENT, 197, GPU, Scale::ONE),
    field(metric::GPU_PCIE_RECEIVED, 198, GPU, Scale::ONE),
    field_or(metric::GPU_PCIE_REPLAYS, 94, Scale::ONE, super::older::pcie_replays),
    // KiB.
    field(metric::GPU_NVLINK_SENT, 138, ALL_LINKS, Scale::Times(1_024)),
    field(metric::GPU_NVLINK_RECEIVED, 139, ALL_LINKS, Scale::Times(1_024)),
];

/// Errors of the links: the totals of all links, or where there are none the sum over each.
pub(super) const LINK_ERRORS: &[Field] = &[
    field_or(metric::GPU_NVLINK_CRC_FLIT, 38, Scale::ONE, super::links::crc_flit),
    field_or(metric::GPU_NVLINK_CRC_DATA, 45, Scale::ONE, super::links::crc_data),
    field_or(metric::GPU_NVLINK_REPLAY, 52, Scale::ONE, super::links::replay),
    field_or(metric::GPU_NVLINK_RECOVERY, 59, Scale::ONE, super::links::recovery),
];

/// Errors of memory by kind and place over the GPU's life, and what came of them.
pub(super) const MEMORY_ERRORS: &[Field] = &[
    field(metric::GPU_ECC_CORRECTED_VOLATILE, 3, GPU, Scale::ONE),
    field(metric::GPU_ECC_UNCORRECTED_VOLATILE, 4, GPU, Scale::ONE),
    field(metric::GPU_ECC_CORRECTED_DRAM, 22, GPU, Scale::ONE),
    field(metric::GPU_ECC_UNCORRECTED_DRAM, 23, GPU, Scale::ONE),
    field(metric::GPU_ECC_CORRECTED_L1, 18, GPU, Scale::ONE),
    field(metric::GPU_ECC_UNCORRECTED_L1, 19, GPU, Scale::ONE),
    field(metric::GPU_ECC_CORRECTED_L2, 20, GPU, Scale::ONE),
    field(metric::GPU_ECC_UNCORRECTED_L2, 21, GPU, Scale::ONE),
    field(metric::GPU_ECC_CORRECTED_REGISTER, 24, GPU, Scale::ONE),
    field(metric::GPU_ECC_UNCORRECTED_REGISTER, 25, GPU, Scale::ONE),
    field(metric::GPU_ECC_CORRECTED_TEXTURE, 26, GPU, Scale::ONE),
    field(metric::GPU_ECC_UNCORRECTED_TEXTURE, 27, GPU, Scale::ONE),
    field(metric::GPU_RETIRED_PAGES_CORRECTED, 29, GPU, Scale::ONE),
    field(metric::GPU_RETIRED_PAGES_UNCORRECTED, 30, GPU, Scale::ONE),
    field(metric::GPU_RETIRED_PAGES_PENDING, 31, GPU, Scale::ONE),
    field(metric::GPU_REMAPPED_ROWS_CORRECTED, 142, GPU, Scale::ONE),
    field(metric::GPU_REMAPPED_ROWS_UNCORRECTED, 143, GPU, Scale::ONE),
    field(metric::GPU_REMAPPED_ROWS_PENDING, 144, GPU, Scale::ONE),
    field(metric::GPU_REMAPPED_ROWS_FAILED, 145, GPU, Scale::ONE),
];

/// Fields that are asked together, and the way of each.
#[derive(Debug)]
pub(super) struct Fields {
    asked_for: &'static [Field],
    ways: Vec<Way>,
    /// Of the fields that are asked as fields, from call to call.
    asked: Vec<(u32, u32)>,
}

impl Fields {
    pub fn new(fields: &'static [Field]) -> Self {
        Self { asked_for: fields, ways: vec![Way::New; fields.len()], asked: Vec::new() }
    }

    pub fn read(&mut self, device: &Device<'_>, readings: &mut Readings) -> Result<(), Fault> {
        self.asked.clear();
        let new = self.asked_for.iter().zip(&self.ways).filter(|(_, way)| **way == Way::New);
        self.asked.extend(new.map(|(field, _)| (field.id, field.scope)));
        let answers = if self.asked.is_empty() {
            Reading::Value(Vec::new())
        } else {
            reading(raw::field_values(device, &self.asked))?
        };
        let mut answers = match answers {
            Reading::Value(answers) => Ok(answers.into_iter()),
            Reading::Absent(reason) => Err(reason),
        };
        for (field, way) in self.asked_for.iter().zip(&mut self.ways) {
            let mut new = || match &mut answers {
                Ok(answers) => answers.next().unwrap_or(Err(NvmlError::Unknown)),
                // The call as a whole failed, and so did each field of it.
                Err(Absence::Unsupported) => Err(NvmlError::NotSupported),
                Err(Absence::NoPermission) => Err(NvmlError::NoPermission),
                Err(_) => Err(NvmlError::Unknown),
            };
            let scaled = || new().and_then(|value| field.scale.apply(value).ok_or(NvmlError::Unknown));
            let older = field.older.map(|older| move || older(device));
            readings.put(field.metric, way.ask(scaled, older)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nvml.md, row 1: average and instant power are two fields, and row 6: three scopes of one.
    #[test]
    fn power_is_kept_apart_by_kind_and_scope() {
        let of = |metric| FAST.iter().find(|f| f.metric == metric).map(|f| (f.id, f.scope));
        assert_eq!(of(metric::GPU_POWER_AVERAGE), Some((185, 0)));
        assert_eq!(of(metric::GPU_POWER_INSTANT), Some((186, 0)));
        assert_eq!(of(metric::GPU_POWER_MODULE), Some((185, 1)));
        assert_eq!(of(metric::GPU_POWER_MEMORY), Some((185, 2)));
    }

    #[test]
    fn a_scaled_number_that_does_not_fit_is_no_number() {
        assert_eq!(Scale::Times(1_024).apply(3), Some(3_072));
        assert_eq!(Scale::Times(1_024).apply(i64::MAX), None);
        assert_eq!(Scale::NANOSECONDS.apply(1_999_999), Some(1));
    }
}
