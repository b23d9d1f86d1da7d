//! Where readings come from. A source is one file behind [`Source`].
//!
//! A source puts a value or a reason for its absence for each of its metrics, and never a
//! number that stands for "unknown". It is asked from one thread only and may keep what it needs
//! between two samples. It knows nothing of the other sources, of time or of the wire.

pub mod command;
pub mod gpu;
pub mod host;
pub mod kernel_log;
pub mod power;
pub mod workload;

use gpuledger_proto::catalogue::{self, MetricId};
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};

/// One place that readings come from.
pub trait Source {
    /// Takes all readings of one sample. An error means that the device as a whole gave nothing:
    /// what was put before it does not count.
    fn read(&mut self, readings: &mut Readings) -> Result<(), gpu::Fault>;
}

/// The readings of one sample of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readings {
    values: Vec<(MetricId, Reading<i64>)>,
    /// The processes that hold the device; `None` where the source does not speak of processes.
    pub processes: Option<Reading<Vec<u32>>>,
    /// The instances of a GPU that is cut by MIG.
    pub instances: Vec<Instance>,
}

/// One MIG instance of a GPU: its own readings, and its part of what only the whole GPU measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub uuid: GpuUuid,
    pub gpu_instance: u32,
    pub compute_instance: u32,
    /// Compute slices of it.
    pub slices: u32,
    /// The estimated part of the GPU's power, and so of its energy: see [`gpu::split`].
    pub share_ppm: Reading<u32>,
    pub readings: Readings,
}

impl Readings {
    /// Adds a reading; the last one of a metric counts.
    pub fn put(&mut self, metric: MetricId, reading: Reading<i64>) {
        match self.values.binary_search_by_key(&metric, |r| r.0) {
            Ok(at) => self.values[at].1 = reading,
            Err(at) => self.values.insert(at, (metric, reading)),
        }
    }

    /// Adds a reading in another integer type; what the wire's integer can't hold has failed.
    pub fn put_int<T: TryInto<i64>>(&mut self, metric: MetricId, reading: Reading<T>) {
        let reading = match reading {
            Reading::Value(value) => value.try_into().map_err(|_| Absence::Failed).into(),
            Reading::Absent(reason) => Reading::Absent(reason),
        };
        self.put(metric, reading);
    }

    /// The reading of a metric, if the source has it.
    pub fn get(&self, metric: MetricId) -> Option<Reading<i64>> {
        self.values.binary_search_by_key(&metric, |r| r.0).ok().map(|at| self.values[at].1)
    }

    /// Each metric and its reading, by number.
    pub fn iter(&self) -> impl Iterator<Item = (MetricId, Reading<i64>)> {
        self.values.iter().copied()
    }

    /// Changes each reading where it stands.
    pub fn each_mut(&mut self) -> impl Iterator<Item = (MetricId, &mut Reading<i64>)> {
        self.values.iter_mut().map(|(metric, reading)| (*metric, reading))
    }

    /// A GPU's power: the average where there is one, since it misses nothing in between.
    pub fn power(&self) -> Reading<i64> {
        let of = |metric| self.get(metric).unwrap_or(Reading::Absent(Absence::Unsupported));
        match (of(catalogue::GPU_POWER_AVERAGE), of(catalogue::GPU_POWER_INSTANT)) {
            (Reading::Absent(_), instant @ Reading::Value(_)) => instant,
            (average, _) => average,
        }
    }

    /// Whether anything has a value.
    pub fn any_value(&self) -> bool {
        self.values.iter().any(|(_, reading)| reading.value().is_some())
    }

    /// The readings, sorted by metric.
    pub fn into_values(self) -> Vec<(MetricId, Reading<i64>)> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_sorted_and_the_last_one_of_a_metric_counts() {
        let mut readings = Readings::default();
        readings.put(MetricId(7), Reading::Value(1));
        readings.put_int(MetricId(3), Reading::Value(u64::MAX));
        readings.put_int(MetricId(7), Reading::Value(2u32));
        assert_eq!(readings.get(MetricId(9)), None);
        assert!(readings.any_value());
        assert_eq!(
            readings.into_values(),
            [(MetricId(3), Reading::Absent(Absence::Failed)), (MetricId(7), Reading::Value(2))]
        );
    }
}
