//! The collector's memory work: what a point costs on its way into the rows of the next commit, with and
//! without being decoded.

use criterion::{Criterion, Throughput};
use gpuledger_benches::cpu::{self, CpuTime};
use gpuledger_benches::stream::{GPUS, Node, SAMPLES};
use gpuledger_collector::fold::{FoldOptions, NodeFold};
use gpuledger_collector::latest::{Arrival, Slot};
use gpuledger_ledger::{GpuKey, NodeCommit, NodeKey, NodeState, OwnerKey};
use gpuledger_proto::column::Columns;
use gpuledger_proto::convert::{batch_to_wire, columns_from_wire};
use gpuledger_proto::frame::{Batch, Gpu, Inventory};
use gpuledger_proto::ids::{Epoch, GpuUuid, Sequence};
use gpuledger_proto::v1;
use std::hint::black_box;
use std::sync::Arc;
use uuid::Uuid;

/// Nodes that are folded in turn: their memories fit in no cache, as those of a fleet do.
const FLEET: u32 = 10_000;
/// Batches of an agent that catches up on two hours.
const BEHIND: u64 = 720;

fn main() {
    let mut criterion = cpu::criterion().configure_from_args();
    live(&mut criterion);
    catching_up(&mut criterion);
    criterion.final_summary();
}

/// A batch of each node in turn, taken for a commit at once.
fn live(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("fold/live");
    let mut fleet = Fleet::new();
    group.throughput(Throughput::Elements(fleet.batch.points() as u64));
    group.bench_function("fold", |b| b.iter(|| fleet.fold()));
    group.bench_function("decode, fold, latest", |b| b.iter(|| fleet.decode_and_fold()));
    group.finish();
}

/// Many batches of one node for one commit.
fn catching_up(criterion: &mut Criterion<CpuTime>) {
    let mut node = Node::new(2);
    let batches: Vec<_> =
        (1..=BEHIND).map(|n| (Sequence(n), Columns::of(&next_batch(&mut node, n)))).collect();
    let mut group = criterion.benchmark_group("fold/catching up");
    group.throughput(Throughput::Elements(batches.iter().map(|(_, columns)| columns.points() as u64).sum()));
    group.bench_function("fold", |b| {
        b.iter(|| {
            let mut fold = begun(0);
            for (sequence, columns) in &batches {
                fold_one(&mut fold, *sequence, columns);
            }
            black_box(fold.take())
        });
    });
    group.finish();
}

/// Nodes that all tell the same.
struct Fleet {
    folds: Vec<NodeFold>,
    at: usize,
    node: Node,
    sequence: u64,
    batch: Batch,
    decoded: Columns,
    wire: v1::Batch,
    columns: Columns,
    latest: Vec<Slot>,
    inventory: Arc<Inventory>,
}

impl Fleet {
    fn new() -> Self {
        let mut node = Node::new(1);
        let batch = next_batch(&mut node, 1);
        let folds = (0..FLEET).map(begun).collect();
        Self {
            folds,
            at: 0,
            node,
            sequence: 1,
            wire: batch_to_wire(&batch),
            decoded: Columns::of(&batch),
            batch,
            columns: Columns::default(),
            latest: (0..FLEET).map(|_| Slot::default()).collect(),
            inventory: inventory(),
        }
    }

    /// The node whose turn it is. A batch is made once for all of them, which costs each next to nothing.
    fn turn(&mut self) -> usize {
        if self.at == self.folds.len() {
            self.at = 0;
            self.sequence += 1;
            self.batch = next_batch(&mut self.node, self.sequence);
            self.wire = batch_to_wire(&self.batch);
            self.decoded = Columns::of(&self.batch);
        }
        // Not in the order in which they lie in memory.
        let at = self.at * 7_919 % self.folds.len();
        self.at += 1;
        at
    }

    fn fold(&mut self) -> Option<NodeCommit> {
        let at = self.turn();
        fold_one(&mut self.folds[at], self.batch.sequence, &self.decoded);
        self.folds[at].take()
    }

    /// As ingest does it: the columns go through buffers that serve all nodes, and the last sample is kept.
    fn decode_and_fold(&mut self) -> Option<NodeCommit> {
        let at = self.turn();
        let read = columns_from_wire(&self.wire, self.batch.holdings.len(), GPUS + 1, &mut self.columns);
        fold_one(&mut self.folds[at], read.unwrap_or(Sequence::NONE), &self.columns);
        self.latest[at].update(&self.inventory, &self.columns, &self.batch.holdings, Arrival::default());
        self.folds[at].take()
    }
}

fn begun(node: u32) -> NodeFold {
    let stored = NodeState::default();
    let Ok(mut fold) = NodeFold::load(NodeKey(node), &stored, FoldOptions::default()) else {
        unreachable!("an empty state is one");
    };
    let epoch = Epoch(Uuid::from_u128(u128::from(node) + 1));
    let gpus = (0_u32..).take(GPUS).map(|gpu| GpuKey(node * 8 + gpu)).collect();
    fold.begin_segment(epoch, Some(Uuid::from_u128(u128::from(node) + 7)), gpus, Sequence::NONE, Sequence(1));
    fold
}

fn inventory() -> Arc<Inventory> {
    let gpu = |index: u32| {
        GpuUuid::new(&format!("GPU-bench-{index}")).ok().map(|uuid| Gpu {
            uuid,
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index,
            memory_bytes: None,
            simulated: true,
        })
    };
    Arc::new(Inventory { gpus: (0..).take(GPUS).filter_map(gpu).collect(), ..Inventory::default() })
}

fn next_batch(node: &mut Node, sequence: u64) -> Batch {
    Batch::from_frames(Sequence(sequence), &node.frames(SAMPLES))
}

fn fold_one(fold: &mut NodeFold, sequence: Sequence, columns: &Columns) {
    let owners = [vec![(OwnerKey::FIRST_NAMED, 1_000_000)]];
    let folded = fold.fold_columns(u64::MAX, sequence, columns, &owners);
    assert!(folded.is_ok(), "{folded:?}");
}
