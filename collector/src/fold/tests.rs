//! From batches to rows: states, owners, hours, sequences.

use super::*;
use gpuledger_ledger::{GpuHour, HOUR_MS, Hour};
use gpuledger_proto::catalogue::{self as c, MetricId};
use gpuledger_proto::frame::{Column, Stamp};

/// Start of an hour in 2026.
const T: u64 = 1_790_000_000_000 / HOUR_MS * HOUR_MS;
const GPU: GpuKey = GpuKey(4);
const ANN: OwnerKey = OwnerKey(2);
const BEN: OwnerKey = OwnerKey(3);
const ABSENT: Reading<i64> = Reading::Absent(Absence::Failed);

/// A batch of samples one second apart; each metric with its readings.
fn batch(sequence: u64, from_ms: u64, metrics: &[(MetricId, &[Reading<i64>])]) -> Batch {
    let samples = metrics[0].1.len() as u64;
    let stamp = |i| Stamp { wall_ms: from_ms + i * 1_000, boot_ms: i * 1_000 };
    let column = |&(metric, readings): &(MetricId, &[Reading<i64>])| Column {
        device: 1,
        metric,
        readings: readings.to_vec(),
    };
    Batch {
        sequence: Sequence(sequence),
        stamps: (0..samples).map(stamp).collect(),
        holdings: Vec::new(),
        columns: metrics.iter().map(column).collect(),
    }
}

fn values(values: &[i64]) -> Vec<Reading<i64>> {
    values.iter().map(|&v| Reading::Value(v)).collect()
}

fn new_fold() -> NodeFold {
    let mut fold = NodeFold::load(NodeKey(1), &NodeState::default(), FoldOptions::default()).unwrap();
    fold.begin_segment(Epoch(Uuid::from_u128(1)), None, vec![GPU], Sequence::NONE, Sequence(1));
    fold
}

/// Folds one batch with these readings and gives the rows by owner.
fn rows(
    metrics: &[(MetricId, &[Reading<i64>])],
    owners: &[Vec<(OwnerKey, u32)>],
) -> Vec<(OwnerKey, GpuHour)> {
    let mut fold = new_fold();
    fold.fold(&batch(1, T, metrics), owners).unwrap();
    fold.take().unwrap().gpu_hours.into_iter().map(|(key, row)| (key.owner, row)).collect()
}

#[test]
fn every_state_is_told_apart_and_belongs_to_whom_it_should() {
    let up = values(&[1, 1, 1, 1, 0, 1]);
    let energy = values(&[0, 10, 30, 60, 60, 100]);
    let utilization = values(&[0, 500_000, 0, 0, 0, 1_000_000]);
    let processes = values(&[0, 1, 1, 0, 0, 1]);
    let holder = [Reading::Value(1), Reading::Value(1), Reading::Value(1), Reading::Value(0), ABSENT, ABSENT];
    let metrics: [(MetricId, &[Reading<i64>]); 5] = [
        (c::GPU_UP, &up),
        (c::GPU_ENERGY, &energy),
        (c::GPU_UTILIZATION, &utilization),
        (c::GPU_PROCESSES, &processes),
        (c::GPU_HOLDER, &holder),
    ];
    let rows = rows(&metrics, &[vec![(ANN, 1_000_000)]]);
    let of = |owner| rows.iter().find(|r| r.0 == owner).unwrap().1;
    assert_eq!(
        (of(ANN).active_ms.0, of(ANN).held_ms.0, of(ANN).counter_mj.0, of(ANN).active_mj.0),
        (1_000, 1_000, 30, 10)
    );
    assert_eq!((of(OwnerKey::NOBODY).free_ms.0, of(OwnerKey::NOBODY).down_ms.0), (1_000, 1_000));
    assert_eq!((of(OwnerKey::UNKNOWN).active_ms.0, of(OwnerKey::UNKNOWN).active_mj.0), (1_000, 40));
    assert_eq!(of(ANN).busy_ppm_ms.0, 500_000_000);
}

#[test]
fn time_in_an_unknown_state_is_not_counted_and_its_energy_is() {
    let metrics: [(MetricId, &[Reading<i64>]); 2] =
        [(c::GPU_UP, &values(&[1, 1])), (c::GPU_ENERGY, &values(&[0, 9]))];
    let rows = rows(&metrics, &[]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].1, GpuHour { counter_mj: gpuledger_units::Millijoules(9), ..GpuHour::default() });
}

#[test]
fn a_shared_gpu_is_split_and_the_parts_sum() {
    let metrics: [(MetricId, &[Reading<i64>]); 4] = [
        (c::GPU_UP, &values(&[1, 1])),
        (c::GPU_ENERGY, &values(&[0, 701])),
        (c::GPU_UTILIZATION, &values(&[0, 1])),
        (c::GPU_HOLDER, &values(&[1, 1])),
    ];
    let rows = rows(&metrics, &[vec![(ANN, 333_333), (BEN, 666_667)]]);
    assert_eq!(rows.iter().map(|r| r.1.counter_mj.0).collect::<Vec<_>>(), [234, 467]);
    assert_eq!(rows.iter().map(|r| r.1.active_ms.0).collect::<Vec<_>>(), [333, 667]);
    assert_eq!(rows.iter().map(|r| r.1.samples).sum::<u64>(), 1);
}

#[test]
fn an_interval_over_an_hour_boundary_is_cut_there() {
    let mut fold = new_fold();
    let metrics: [(MetricId, &[Reading<i64>]); 3] = [
        (c::GPU_UP, &values(&[1, 1])),
        (c::GPU_ENERGY, &values(&[0, 1_000])),
        (c::GPU_UTILIZATION, &values(&[0, 1])),
    ];
    fold.fold(&batch(1, T - 300, &metrics), &[]).unwrap();
    let commit = fold.take().unwrap();
    let cut: Vec<_> = commit.gpu_hours.iter().map(|(k, r)| (k.hour, r.active_ms.0, r.counter_mj.0)).collect();
    assert_eq!(cut, [(Hour::of(T - 1), 300, 300), (Hour::of(T), 700, 700)]);
    assert_eq!(commit.gpus_seen, [(GPU, T - 300, T + 700)]);
}

#[test]
fn a_clock_that_is_not_set_counts_no_time() {
    let mut fold = new_fold();
    let metrics: [(MetricId, &[Reading<i64>]); 2] =
        [(c::GPU_UP, &values(&[1, 1])), (c::GPU_ENERGY, &values(&[5, 6]))];
    fold.fold(&batch(1, 12_000, &metrics), &[]).unwrap();
    let commit = fold.take().unwrap();
    assert!(commit.gpu_hours.is_empty() && commit.gpus_seen.is_empty());
}

#[test]
fn sequences_have_no_holes_but_those_that_a_segment_declares() {
    let epoch = Epoch(Uuid::from_u128(1));
    let metrics: [(MetricId, &[Reading<i64>]); 1] = [(c::GPU_UP, &values(&[1]))];
    let mut fold = new_fold();
    fold.fold(&batch(1, T, &metrics), &[]).unwrap();
    let hole = fold.fold(&batch(3, T, &metrics), &[]).unwrap_err();
    assert_eq!(hole, FoldError::Sequence { epoch, folded: Sequence(1), got: Sequence(3) });

    let mut fold = new_fold();
    fold.begin_segment(epoch, None, vec![GPU], Sequence::NONE, Sequence(8));
    let folded = fold.fold_by(T, &batch(8, T, &metrics), &[]).unwrap();
    assert_eq!((folded.lost_batches, folded.ahead_samples), (7, 0));
    assert_eq!(fold.take().unwrap().epochs, [EpochAdvance { epoch, from: Sequence(0), to: Sequence(8) }]);
}

#[test]
fn commits_follow_each_other_and_an_idle_node_has_none() {
    let mut fold = new_fold();
    assert!(fold.take().is_none());
    let metrics: [(MetricId, &[Reading<i64>]); 1] = [(c::GPU_UP, &values(&[1]))];
    fold.fold(&batch(1, T, &metrics), &[]).unwrap();
    let first = fold.take().unwrap();
    fold.fold(&batch(2, T + 1_000, &metrics), &[]).unwrap();
    let second = fold.take().unwrap();
    assert_eq!((first.base_version, second.base_version), (0, 1));
    assert_eq!((second.epochs[0].from, second.epochs[0].to), (Sequence(1), Sequence(2)));
    assert!(fold.take().is_none());
}

/// Cutting the same samples into batches elsewhere, or loading the fold anew from its stored state
/// between any two of them, changes nothing.
#[test]
fn batch_boundaries_and_reloads_change_nothing() {
    let samples = 60u64;
    let series = |f: fn(i64) -> i64| values(&(0..60).map(f).collect::<Vec<_>>());
    let all = [
        (c::GPU_UP, series(|i| i64::from(i % 13 != 0))),
        (c::GPU_ENERGY, series(|i| i * i * 7)),
        (c::GPU_UTILIZATION, series(|i| i % 5 * 100_000)),
        (c::GPU_PROCESSES, series(|i| i % 2)),
        (c::GPU_MEMORY_USED, series(|i| 80_000_000_000 + i)),
    ];
    let total = |step: u64, reload: bool| {
        let mut fold = new_fold();
        let mut sum: BTreeMap<_, GpuHour> = BTreeMap::new();
        for (n, from) in (0..samples).step_by(usize::try_from(step).unwrap()).enumerate() {
            let to = (from + step).min(samples);
            let cut = |r: &Vec<Reading<i64>>| {
                r[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].to_vec()
            };
            let parts: Vec<_> = all.iter().map(|(m, r)| (*m, cut(r))).collect();
            let metrics: Vec<_> = parts.iter().map(|(m, r)| (*m, r.as_slice())).collect();
            fold.fold(&batch(n as u64 + 1, T - 30_000 + from * 1_000, &metrics), &[]).unwrap();
            let commit = fold.take().unwrap();
            for (key, row) in &commit.gpu_hours {
                sum.entry(*key).or_default().merge(row).unwrap();
            }
            if reload {
                let state = NodeState { version: commit.base_version + 1, blob: commit.state };
                fold = NodeFold::load(NodeKey(1), &state, FoldOptions::default()).unwrap();
                fold.begin_segment(
                    Epoch(Uuid::from_u128(1)),
                    None,
                    vec![GPU],
                    Sequence(n as u64 + 1),
                    Sequence(1),
                );
            }
        }
        sum
    };
    let whole = total(60, false);
    assert_eq!(whole.values().map(|r| r.counter_mj.0).sum::<u64>(), 59 * 59 * 7);
    for step in [1, 7, 10, 59] {
        assert_eq!(total(step, false), whole);
        assert_eq!(total(step, true), whole);
    }
}
