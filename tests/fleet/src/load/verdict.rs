//! The ledger against what was sent: nothing lost, nothing twice, every millijoule.

use super::agent::{SAMPLES_PER_BATCH, Sent};
use super::values::gpu_uuid;
use gpuledger_collector::store::{self, Access, Location};
use gpuledger_ledger::GpuHour;
use std::collections::BTreeMap;

/// How the two differ, over all GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Batches that were never acknowledged, or whose samples the ledger does not have.
    pub lost_batches: u64,
    /// Batches whose samples the ledger has twice.
    pub duplicated_batches: u64,
    /// Differences of the GPUs' energies, without their signs.
    pub energy_error_mj: u64,
    /// The same of the time that was observed.
    pub observed_error_ms: u64,
}

impl Verdict {
    pub fn holds(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the ledger, which no collector may write to any more, and compares.
    pub async fn of(sent: &[Sent], location: &Location) -> anyhow::Result<Self> {
        let ledger = store::open(location, None, Access::Read).await?.ledger;
        let totals: BTreeMap<_, _> =
            ledger.gpu_totals().await?.into_iter().map(|total| (total.gpu, total.total)).collect();
        let gpus = ledger.gpus().await?.into_iter();
        let found: BTreeMap<_, _> =
            gpus.filter_map(|gpu| Some((gpu.gpu.uuid.to_string(), *totals.get(&gpu.key)?))).collect();
        Self::compare(sent, &found)
    }

    fn compare(sent: &[Sent], found: &BTreeMap<String, GpuHour>) -> anyhow::Result<Self> {
        let mut verdict = Self::default();
        for node in sent {
            let (mut missing, mut surplus) = (0, 0);
            for (gpu, (first_mj, last_mj)) in (0..).zip(node.first_mj.iter().zip(&node.last_mj)) {
                let row = found.get(&gpu_uuid(node.node, gpu)).copied().unwrap_or_default();
                missing = missing.max(node.samples.saturating_sub(row.samples));
                surplus = surplus.max(row.samples.saturating_sub(node.samples));
                verdict.energy_error_mj += row.energy()?.0.abs_diff(last_mj - first_mj);
                verdict.observed_error_ms += row.observed()?.0.abs_diff(node.observed_ms);
            }
            verdict.lost_batches += missing.div_ceil(SAMPLES_PER_BATCH).max(node.unacknowledged);
            verdict.duplicated_batches += surplus.div_ceil(SAMPLES_PER_BATCH);
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_units::{Millijoules, Millis};

    fn sent() -> Sent {
        Sent {
            node: 3,
            first_mj: vec![100, 200],
            last_mj: vec![1_100, 2_200],
            samples: 19,
            observed_ms: 19_000,
            ..Sent::default()
        }
    }

    fn row(energy: u64, samples: u64) -> GpuHour {
        GpuHour {
            counter_mj: Millijoules(energy),
            active_ms: Millis(samples * 1_000),
            samples,
            ..GpuHour::default()
        }
    }

    fn verdict(sent: Sent, rows: Vec<GpuHour>) -> Verdict {
        let found = (0..).zip(rows).map(|(gpu, row)| (gpu_uuid(3, gpu), row)).collect();
        Verdict::compare(&[sent], &found).unwrap()
    }

    #[test]
    fn a_ledger_with_everything_once_is_right() {
        assert!(verdict(sent(), vec![row(1_000, 19), row(2_000, 19)]).holds());
    }

    #[test]
    fn what_is_missing_or_there_twice_is_told_in_batches_and_errors_do_not_cancel() {
        let wrong = verdict(sent(), vec![row(999, 9), row(2_001, 29)]);
        let expected =
            Verdict { lost_batches: 1, duplicated_batches: 1, energy_error_mj: 2, observed_error_ms: 20_000 };
        assert_eq!(wrong, expected);
        let late = Sent { unacknowledged: 2, ..sent() };
        assert_eq!(verdict(late, vec![row(1_000, 19), row(2_000, 19)]).lost_batches, 2);
        let nothing = Verdict::compare(&[sent()], &BTreeMap::new()).unwrap();
        assert_eq!((nothing.lost_batches, nothing.energy_error_mj), (2, 3_000));
    }
}
