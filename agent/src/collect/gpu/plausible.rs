//! A fence against nonsense: a GPU that is about to fail answers calls with success and numbers that no GPU
//! has. Such a number is no reading. One of them may be a slip of one sensor; with several in one sample
//! the GPU itself is not to be believed, and it is down until it speaks sense again.

use crate::collect::Readings;
use crate::collect::gpu::Fault;
use gpuledger_proto::catalogue::{self, Kind, Unit};
use gpuledger_proto::reading::{Absence, Reading};

/// So many senseless readings in one sample, and nothing that the GPU says counts.
const NONSENSE_MAX: usize = 3;

/// What a quantity of a GPU lies between, far outside of what any GPU has.
const fn limits(unit: Unit) -> (i64, i64) {
    match unit {
        // 20 kW, a rack's, and 20 GHz.
        Unit::Milliwatts | Unit::Kilohertz => (0, 20_000_000),
        Unit::Millicelsius => (-150_000, 250_000),
        Unit::Ppm => (0, 1_000_000),
        Unit::Millijoules | Unit::Bytes | Unit::BytesPerSecond | Unit::Millis | Unit::Count | Unit::Code => {
            (0, i64::MAX)
        }
    }
}

/// Takes senseless values out of a sample, each as failed.
pub fn check(readings: &mut Readings) -> Result<(), Fault> {
    let mut nonsense = 0;
    for (id, reading) in readings.each_mut() {
        let Some(metric) = catalogue::metric(id).filter(|metric| metric.kind != Kind::State) else {
            continue;
        };
        let (least, most) = limits(metric.unit);
        if matches!(reading, Reading::Value(value) if !(least..=most).contains(value)) {
            *reading = Reading::Absent(Absence::Failed);
            nonsense += 1;
        }
    }
    if nonsense >= NONSENSE_MAX { Err(Fault::Gpu(Absence::Failed)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue as metric;

    fn sample(values: &[(metric::MetricId, i64)]) -> Readings {
        let mut readings = Readings::default();
        for &(id, value) in values {
            readings.put(id, Reading::Value(value));
        }
        readings
    }

    #[test]
    fn one_senseless_number_is_no_reading_and_several_are_a_gpu_that_is_down() {
        let mut one =
            sample(&[(metric::GPU_POWER_AVERAGE, 4_294_967_295), (metric::GPU_TEMPERATURE, 40_000)]);
        assert_eq!(check(&mut one), Ok(()));
        assert_eq!(one.get(metric::GPU_POWER_AVERAGE), Some(Reading::Absent(Absence::Failed)));
        assert_eq!(one.get(metric::GPU_TEMPERATURE), Some(Reading::Value(40_000)));
        let mut many = sample(&[
            (metric::GPU_POWER_AVERAGE, 4_294_967_295),
            (metric::GPU_TEMPERATURE, 4_294_967_295_000),
            (metric::GPU_UTILIZATION, 42_949_672_950_000),
        ]);
        assert_eq!(check(&mut many), Err(Fault::Gpu(Absence::Failed)));
    }

    #[test]
    fn hot_hungry_and_cold_gpus_are_believed() {
        let mut real = sample(&[
            (metric::GPU_POWER_AVERAGE, 1_400_000),
            (metric::GPU_TEMPERATURE, 105_000),
            (metric::GPU_TEMPERATURE_MARGIN, -12_000),
            (metric::GPU_UTILIZATION, 1_000_000),
            (metric::GPU_THROTTLE_REASONS, i64::MAX),
        ]);
        let before = real.clone();
        assert_eq!(check(&mut real), Ok(()));
        assert_eq!(real, before);
    }
}
