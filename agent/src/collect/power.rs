//! The node's power, and what explains it.
//!
//! - [`rapl`]: energy counters of CPU packages, memory and platform, read with every sample;
//! - [`sensors`]: what takes longer, from a thread of its own: BMC, ACPI power meter, temperatures.
//!
//! `node_power` is measured or absent: by the BMC (what the node draws from the wall), else an ACPI power
//! meter, else the platform's RAPL counter. Where nothing measures the whole, `node_power_estimated` says
//! what the parts come to; it is a reading of its own, so that no report takes it for a measurement.
//! `node_power_unexplained` is what no sensor of a part explains.

pub mod dcmi;
pub mod rapl;
pub mod sensors;

use super::Readings;
use crate::meter::Meter;
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::reading::{Absence, Reading};

/// `node_power_source` where the platform's counter is taken; the others are [`sensors::Source`]'s.
const SOURCE_PLATFORM: i64 = 3;

/// The estimate, where there is no counter: a logical CPU when idle and what full use adds, and memory.
/// From published idle and load figures of two-socket servers; a tenth more for fans, disks, losses.
const CPU_IDLE_MW: i64 = 1_000;
const CPU_BUSY_MW: i64 = 3_000;
const MEMORY_GIB_MW: i64 = 150;
const REST_PARTS: i64 = 10;

/// What is kept between two samples.
#[derive(Debug)]
pub struct NodePower {
    meter: Meter,
    cpus: Option<u32>,
    /// Boot time and counter of CPUs, memory and platform at the sample before.
    last: [Option<(u64, i64)>; 3],
}

impl NodePower {
    pub fn new(gap_ms_max: u64, cpus: Option<u32>) -> Self {
        Self { meter: Meter::new(gap_ms_max), cpus, last: [None; 3] }
    }

    /// Adds what follows from the node's readings and the power of its GPUs together.
    pub fn complete(&mut self, node: &mut Readings, gpus_mw: Reading<i64>, boot_ms: u64) {
        let cpus = self.mean(0, node, metric::NODE_ENERGY_CPU, boot_ms);
        let memory = self.mean(1, node, metric::NODE_ENERGY_MEMORY, boot_ms);
        let platform = self.mean(2, node, metric::NODE_ENERGY_PLATFORM, boot_ms);
        let sensed = node.get(metric::NODE_POWER).unwrap_or(Reading::Absent(Absence::Unsupported));
        let power = match (sensed, platform) {
            (Reading::Absent(_), Reading::Value(platform)) => {
                node.put(metric::NODE_POWER_SOURCE, Reading::Value(SOURCE_PLATFORM));
                Reading::Value(platform)
            }
            (sensed, _) => sensed,
        };
        node.put(metric::NODE_POWER, power);
        // No meter here counts energy itself, and the collector integrates nothing that is not told.
        node.put(metric::NODE_ENERGY, Reading::Absent(Absence::Unsupported));
        node.put(metric::NODE_ENERGY_INTEGRATED, self.meter.read(boot_ms, power));
        match power {
            Reading::Value(power) => {
                let parts = gpus_mw.map(|gpus| {
                    // What has no counter of its own is part of what is not explained.
                    [cpus, memory].into_iter().filter_map(Reading::value).fold(gpus, i64::saturating_add)
                });
                node.put(metric::NODE_POWER_UNEXPLAINED, parts.map(|parts| power.saturating_sub(parts)));
            }
            Reading::Absent(_) => {
                let estimate = self.estimate(node, gpus_mw, cpus, memory);
                node.put(metric::NODE_POWER_ESTIMATED, estimate.into());
            }
        }
    }

    /// The mean power of a counter since the sample before.
    fn mean(&mut self, at: usize, node: &Readings, id: MetricId, boot_ms: u64) -> Reading<i64> {
        let now = match node.get(id) {
            Some(Reading::Value(energy_mj)) => energy_mj,
            Some(Reading::Absent(reason)) => return Reading::Absent(reason),
            None => return Reading::Absent(Absence::Unsupported),
        };
        let Some((since_ms, before)) = self.last[at].replace((boot_ms, now)) else {
            return Reading::Absent(Absence::Pending);
        };
        let span_ms = i64::try_from(boot_ms.saturating_sub(since_ms)).ok().filter(|&span| span > 0);
        let energy = now.checked_sub(before).and_then(|energy| energy.checked_mul(1_000));
        match (span_ms, energy) {
            (Some(span), Some(energy)) if energy >= 0 => Reading::Value(energy / span),
            _ => Reading::Absent(Absence::Failed),
        }
    }

    fn estimate(
        &self,
        node: &Readings,
        gpus_mw: Reading<i64>,
        cpus_mw: Reading<i64>,
        memory_mw: Reading<i64>,
    ) -> Result<i64, Absence> {
        let told = |reading: Option<Reading<i64>>| match reading {
            Some(Reading::Value(value)) => Ok(value),
            Some(Reading::Absent(reason)) => Err(reason),
            None => Err(Absence::Unsupported),
        };
        let gpus = told(Some(gpus_mw))?;
        let cpus = match cpus_mw {
            Reading::Value(measured) => measured,
            Reading::Absent(_) => {
                let busy_ppm = told(node.get(metric::NODE_CPU))?;
                let each = CPU_IDLE_MW + CPU_BUSY_MW * busy_ppm / 1_000_000;
                i64::from(self.cpus.ok_or(Absence::Unsupported)?) * each
            }
        };
        let memory = match memory_mw {
            Reading::Value(measured) => measured,
            Reading::Absent(_) => (told(node.get(metric::NODE_MEMORY_TOTAL))? >> 30) * MEMORY_GIB_MW,
        };
        let parts = gpus.saturating_add(cpus).saturating_add(memory);
        Ok(parts.saturating_add(parts / REST_PARTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(readings: &[(MetricId, i64)]) -> Readings {
        let mut node = Readings::default();
        for &(id, value) in readings {
            node.put(id, Reading::Value(value));
        }
        node
    }

    fn value(node: &Readings, id: MetricId) -> Option<i64> {
        node.get(id).and_then(Reading::value)
    }

    #[test]
    fn what_no_sensor_of_a_part_explains_is_shown_and_the_whole_is_integrated() {
        let mut power = NodePower::new(10_000, Some(64));
        for (second, energy) in [(1, 0), (2, 250_000)] {
            let mut node = node(&[(metric::NODE_POWER, 6_000_000), (metric::NODE_ENERGY_CPU, energy)]);
            power.complete(&mut node, Reading::Value(5_000_000), second * 1_000);
            let expected = if second == 1 { 1_000_000 } else { 750_000 };
            assert_eq!(value(&node, metric::NODE_POWER_UNEXPLAINED), Some(expected));
            assert_eq!(
                value(&node, metric::NODE_ENERGY_INTEGRATED),
                Some(if second == 1 { 0 } else { 6_000_000 })
            );
            assert_eq!(node.get(metric::NODE_POWER_ESTIMATED), None);
            assert_eq!(node.get(metric::NODE_ENERGY), Some(Reading::Absent(Absence::Unsupported)));
        }
    }

    #[test]
    fn the_platform_s_counter_stands_in_for_a_sensor_and_says_so() {
        let mut power = NodePower::new(10_000, None);
        let mut first = node(&[(metric::NODE_ENERGY_PLATFORM, 7_000)]);
        power.complete(&mut first, Reading::Value(0), 1_000);
        assert_eq!(value(&first, metric::NODE_POWER), None, "a mean needs two");
        let mut second = node(&[(metric::NODE_ENERGY_PLATFORM, 1_007_000)]);
        power.complete(&mut second, Reading::Value(0), 3_000);
        assert_eq!(value(&second, metric::NODE_POWER), Some(500_000));
        assert_eq!(value(&second, metric::NODE_POWER_SOURCE), Some(SOURCE_PLATFORM));
    }

    #[test]
    fn an_estimate_is_a_reading_of_its_own_and_needs_every_gpu() {
        let mut power = NodePower::new(10_000, Some(100));
        let readings = [(metric::NODE_CPU, 500_000), (metric::NODE_MEMORY_TOTAL, 1_000 << 30)];
        let mut known = node(&readings);
        power.complete(&mut known, Reading::Value(1_000_000), 1_000);
        // 1000 W GPUs, 250 W CPUs, 150 W memory, and a tenth.
        assert_eq!(value(&known, metric::NODE_POWER_ESTIMATED), Some(1_540_000));
        assert_eq!(value(&known, metric::NODE_POWER), None);
        assert_eq!(value(&known, metric::NODE_ENERGY_INTEGRATED), None, "an estimate is no energy");
        let mut unknown = node(&readings);
        power.complete(&mut unknown, Reading::Absent(Absence::Lost), 2_000);
        assert_eq!(unknown.get(metric::NODE_POWER_ESTIMATED), Some(Reading::Absent(Absence::Lost)));
    }
}
