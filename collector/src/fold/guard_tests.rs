//! What a hostile or broken agent can not do to a fold, and what moves between two nodes.

use super::pending::ROWS_PER_BATCH_MAX;
use super::*;
use gpuledger_ledger::HOUR_MS;
use gpuledger_proto::catalogue as c;
use gpuledger_proto::frame::Column;

/// Start of an hour in 2026.
const T: u64 = 1_790_000_000_000 / HOUR_MS * HOUR_MS;
const GPU: GpuKey = GpuKey(4);

fn epoch(id: u128) -> Epoch {
    Epoch(Uuid::from_u128(id))
}

fn fold_of(node: u32, state: &NodeState, gpus: u32) -> NodeFold {
    let mut fold = NodeFold::load(NodeKey(node), state, FoldOptions::default()).unwrap();
    let gpus = (0..gpus).map(|gpu| GpuKey(GPU.0 + gpu)).collect();
    fold.begin_segment(epoch(node.into()), None, gpus, Sequence::NONE, Sequence(1));
    fold
}

/// A batch in which these GPUs run, with the times and the counter of the samples.
fn batch(sequence: u64, gpus: u16, samples: &[(u64, i64)]) -> Batch {
    let stamps = samples.iter().map(|&(wall_ms, _)| Stamp { wall_ms, boot_ms: wall_ms }).collect();
    let energy: Vec<_> = samples.iter().map(|&(_, mj)| Reading::Value(mj)).collect();
    let ones = vec![Reading::Value(1); samples.len()];
    let columns = |device| {
        [(c::GPU_UP, &ones), (c::GPU_ENERGY, &energy), (c::GPU_UTILIZATION, &ones)]
            .map(|(metric, readings)| Column { device, metric, readings: readings.clone() })
    };
    let mut columns: Vec<Column> = (1..=gpus).flat_map(columns).collect();
    columns.sort_by_key(|column| (column.device, column.metric));
    Batch { sequence: Sequence(sequence), stamps, holdings: Vec::new(), columns }
}

fn counted(commit: &NodeCommit) -> (u64, u64) {
    let rows = || commit.gpu_hours.iter().map(|(_, row)| row);
    (rows().map(|row| row.observed().unwrap().0).sum(), rows().map(|row| row.counter_mj.0).sum())
}

#[test]
fn a_batch_that_is_refused_in_its_midst_changes_nothing() {
    let good = batch(1, 2, &[(T, 0), (T + 1_000, 700)]);
    let mut bad = batch(2, 2, &[(T + 2_000, 1_400)]);
    // It reaches back into time that is counted, and brings a device that is new.
    bad.stamps.push(Stamp { wall_ms: T - 2_000, boot_ms: 1 });
    for column in &mut bad.columns {
        column.readings.push(Reading::Value(1));
    }
    let new = Column { device: 3, ..bad.columns[0].clone() };
    bad.columns.extend([new.clone(), Column { device: 9, ..new }]);
    let mut fold = fold_of(1, &NodeState::default(), 3);
    fold.fold(&good, &[]).unwrap();
    let refused = fold.fold(&bad, &[]);
    assert_eq!(refused, Err(FoldError::Device { device: 9, devices: 4 }));
    fold.fold(&batch(2, 2, &[(T + 2_000, 1_400)]), &[]).unwrap();

    let mut without = fold_of(1, &NodeState::default(), 3);
    without.fold(&good, &[]).unwrap();
    without.fold(&batch(2, 2, &[(T + 2_000, 1_400)]), &[]).unwrap();
    assert_eq!(fold.take(), without.take());
}

#[test]
fn a_clock_that_jumps_over_years_is_refused_before_it_fills_the_memory() {
    let year = 365 * 24 * HOUR_MS;
    // Half a year away is an outage; to and fro over forty years is not.
    let mut fold = fold_of(1, &NodeState::default(), 100);
    fold.fold(&batch(1, 100, &[(T, 0), (T + year / 2, 700)]), &[]).unwrap();
    let pending = fold.pending_rows();
    assert!((400_000..ROWS_PER_BATCH_MAX).contains(&pending), "{pending}");
    let jumps: Vec<_> =
        (0..40).map(|jump| (T + year + jump % 40 * year, i64::try_from(jump).unwrap())).collect();
    assert_eq!(fold.fold(&batch(2, 100, &jumps), &[]), Err(FoldError::Rows));
    assert_eq!(fold.pending_rows(), pending);
    // Over the same year again and again: few rows, and work without end.
    let jumps: Vec<_> = (0..4_000).map(|jump| (T + jump % 2 * year, i64::try_from(jump).unwrap())).collect();
    assert_eq!(fold.fold(&batch(2, 10, &jumps), &[]), Err(FoldError::Rows));
}

#[test]
fn a_node_reports_so_many_devices_and_no_more() {
    let mut fold = fold_of(1, &NodeState::default(), 0);
    let most = u32::try_from(DEVICES_PER_NODE_MAX).unwrap();
    for (sequence, first) in (1..).zip((0..=most).step_by(128)) {
        let gpus = (first..first + 128).map(GpuKey).collect();
        fold.begin_segment(epoch(1), None, gpus, Sequence::NONE, Sequence(1));
        let folded = fold.fold(&batch(sequence, 128, &[(T, 0)]), &[]);
        assert_eq!(folded.is_ok(), first < most, "{first}");
        assert!(folded.is_ok() || folded == Err(FoldError::Devices));
    }
}

#[test]
fn only_epochs_that_are_not_committed_are_remembered() {
    let mut fold = fold_of(1, &NodeState::default(), 1);
    for id in 2..500 {
        fold.begin_segment(epoch(id), None, vec![GPU], Sequence::NONE, Sequence(1));
    }
    assert_eq!(fold.epochs.len(), 1);
    fold.fold(&batch(1, 1, &[(T, 0)]), &[]).unwrap();
    let taken = fold.take().unwrap().epochs;
    fold.begin_segment(epoch(500), None, vec![GPU], Sequence::NONE, Sequence(1));
    assert_eq!(fold.folded(epoch(499)), Some(Sequence(1)), "the commit may still be on its way");
    fold.committed(&taken);
    fold.begin_segment(epoch(501), None, vec![GPU], Sequence::NONE, Sequence(1));
    assert_eq!(fold.epochs.len(), 1);
}

#[test]
fn samples_too_far_ahead_are_passed_over_and_told() {
    let mut fold = fold_of(1, &NodeState::default(), 1);
    let just = T + AHEAD_MS_MAX;
    let samples = [(T, 0), (just + 1, 700), (T + 1_000, 1_400), (just, 2_100)];
    let folded = fold.fold_by(T, &batch(1, 1, &samples), &[]).unwrap();
    assert_eq!((folded.lost_batches, folded.ahead_samples), (0, 1));
    let commit = fold.take().unwrap();
    assert_eq!((counted(&commit), commit.gpus_seen), ((1_000, 2_100), vec![(GPU, T, just)]));
}

#[test]
fn a_collector_whose_own_clock_is_not_set_passes_nothing_over() {
    let mut fold = fold_of(1, &NodeState::default(), 1);
    for (sequence, now_ms) in (1..).zip([0, WALL_MS_MIN - 1, WALL_MS_MIN]) {
        let at = T + sequence * 2_000;
        let folded = fold.fold_by(now_ms, &batch(sequence, 1, &[(at, 0), (at + 1_000, 700)]), &[]).unwrap();
        assert_eq!(folded.ahead_samples, if now_ms < WALL_MS_MIN { 0 } else { 2 }, "{now_ms}");
    }
}

#[test]
fn gpus_that_are_taken_in_two_steps_leave_together_and_keep_their_counters() {
    let mut before = fold_of(1, &NodeState::default(), 2);
    before.fold(&batch(1, 2, &[(T, 0), (T + 1_000, 700)]), &[]).unwrap();
    let held = NodeState { version: 1, blob: before.take().unwrap().state };

    let mut after = fold_of(2, &NodeState::default(), 2);
    for gpu in [GPU, GpuKey(GPU.0 + 1)] {
        assert!(!after.has_taken(gpu));
        after.take_over(NodeKey(1), &held, &[gpu]).unwrap();
        assert!(after.has_taken(gpu));
    }
    after.fold(&batch(1, 2, &[(T + 1_000, 700), (T + 2_000, 1_500)]), &[]).unwrap();
    let commit = after.take().unwrap();
    assert_eq!(counted(&commit), (2_000, 1_600));
    let [taken] = &commit.taken[..] else { panic!("{:?}", commit.taken) };
    assert_eq!((taken.from, taken.base_version, taken.gpus.len()), (NodeKey(1), 1, 2));
    assert!(NodeMemory::decode(&taken.state).unwrap().devices.is_empty());
    after.fold(&batch(2, 2, &[(T + 3_000, 1_600)]), &[]).unwrap();
    assert!(after.take().unwrap().taken.is_empty(), "once");
}

#[test]
fn what_two_nodes_remembered_of_one_gpu_becomes_one_memory() {
    // As ledgers of the first version have it.
    let remembers = |node, from: u64| {
        let mut fold = fold_of(node, &NodeState::default(), 1);
        fold.fold(&batch(1, 1, &[(T + from, 100), (T + from + 1_000, 800)]), &[]).unwrap();
        NodeState { version: 1, blob: fold.take().unwrap().state }
    };
    let (older, newer) = (remembers(1, 0), remembers(2, 5_000));
    let mut fold = fold_of(2, &newer, 1);
    fold.take_over(NodeKey(1), &older, &[GPU]).unwrap();
    fold.begin_segment(epoch(3), None, vec![GPU], Sequence::NONE, Sequence(1));
    // Nothing of either counts again, and the later chain goes on.
    fold.fold(&batch(1, 1, &[(T + 500, 450), (T + 1_000, 800), (T + 7_000, 900)]), &[]).unwrap();
    let commit = fold.take().unwrap();
    assert_eq!(counted(&commit), (5_000, 100));
    let memory = &NodeMemory::decode(&commit.state).unwrap().devices[&Device::Gpu(GPU)];
    assert_eq!(memory.counted_mj, 700 + 700 + 100);
    assert_eq!(memory.covered.spans().iter().map(|span| span.length()).sum::<u64>(), 7_000);
}
