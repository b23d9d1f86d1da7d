//! The simulated fleet through the collector's fold alone, without wire or store: what comes out is
//! the simulated truth to the millijoule and the millisecond.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use gpuledger_collector::fold::{FoldOptions, NodeFold};
use gpuledger_fleet::frames::NodeFrames;
use gpuledger_fleet::model::{At, Fleet};
use gpuledger_fleet::truth::{Amounts, Truth};
use gpuledger_ledger::{GpuHour, GpuKey, NodeKey, NodeState, OwnerKey};
use gpuledger_proto::frame::Batch;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Folds one node's whole history, loading the fold anew from its stored state at every run.
fn folded(fleet: &Arc<Fleet>, node: u32, step_ms: u64, samples: usize) -> (BTreeMap<GpuKey, GpuHour>, u64) {
    let runs = fleet.faults.runs(node, fleet.from_ms, fleet.to_ms, step_ms);
    let mut frames = NodeFrames::new(fleet, node, runs[0]).unwrap();
    let (mut gpus, mut node_mj) = (BTreeMap::<GpuKey, GpuHour>::new(), 0);
    let mut state = NodeState::default();
    for (number, run) in runs.into_iter().enumerate() {
        frames.begin(run);
        let options = FoldOptions { longest_gap: Millis(step_ms * 3 / 2) };
        let mut fold = NodeFold::load(NodeKey(node), &state, options).unwrap();
        let keys = (0..fleet.gpus_per_node).map(GpuKey).collect();
        let (epoch, boot) = (Epoch(Uuid::from_u128(number as u128)), Uuid::from_u128(u128::from(run.boot)));
        fold.begin_segment(epoch, Some(boot), keys, Sequence::NONE, Sequence(1));
        let times: Vec<_> = (run.first_ms..=run.last_ms).step_by(usize::try_from(step_ms).unwrap()).collect();
        for (at, times) in times.chunks(samples).enumerate() {
            let run: Vec<_> = times.iter().map(|&at_ms| frames.frame(at_ms)).collect();
            let batch = Batch::from_frames(Sequence(at as u64 + 1), &run);
            let owners: Vec<Vec<_>> = batch
                .holdings
                .iter()
                .map(|holding| (2..).map(OwnerKey).zip(holding.iter().map(|share| share.share_ppm)).collect())
                .collect();
            fold.fold(&batch, &owners).unwrap();
        }
        let commit = fold.take().unwrap();
        state = NodeState { version: commit.base_version + 1, blob: commit.state };
        for (key, row) in commit.gpu_hours {
            gpus.entry(key.gpu).or_default().merge(&row).unwrap();
        }
        node_mj += commit.node_hours.iter().map(|(_, row)| row.energy().unwrap().0).sum::<u64>();
    }
    (gpus, node_mj)
}

fn check(fleet: Fleet, step_ms: u64, samples: usize) {
    let fleet = Arc::new(fleet);
    let truth = Truth::of(&fleet, step_ms);
    for node in 0..fleet.nodes {
        let (gpus, node_mj) = folded(&fleet, node, step_ms, samples);
        assert_eq!(node_mj, truth.nodes_mj[&fleet.node_name(node)], "meter of node {node}");
        for (key, row) in gpus {
            let uuid = fleet.gpu_uuid(At { node, gpu: key.0 });
            assert_eq!(Amounts::of_row(&row), truth.gpus[&uuid], "{uuid}");
        }
    }
}

#[test]
fn a_history_sampled_by_the_minute_folds_to_the_truth() {
    check(Fleet::ending_at(1_790_000_000_000, 3, 4, 8, 21), 60_000, 240);
}

#[test]
fn how_finely_it_is_sampled_and_cut_into_batches_does_not_matter() {
    for (step_ms, samples) in [(10_000, 7), (30_000, 1), (100_000, 33), (300_000, 1_000)] {
        check(Fleet::ending_at(1_790_000_000_000, 1, 2, 3, 22), step_ms, samples);
    }
}

#[test]
fn every_fault_on_one_gpu_of_one_node_folds_to_the_truth() {
    for seed in 0..8 {
        check(Fleet::ending_at(1_790_000_000_000, 2, 1, 1, seed), 60_000, 50);
    }
}
