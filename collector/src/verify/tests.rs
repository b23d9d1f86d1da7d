use super::*;
use crate::fold::{FoldOptions, NodeFold};
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{CommitOutcome, EpochAdvance, GpuHour, GpuHourKey, NodeCommit};
use gpuledger_proto::catalogue::{GPU_ENERGY, GPU_UP, GPU_UTILIZATION, NODE_CPU};
use gpuledger_proto::frame::{Batch, DeviceFrame, Frame, Gpu, Host, Inventory, Stamp};
use gpuledger_proto::ids::{Epoch, GpuUuid, NodeName, Sequence};
use gpuledger_proto::reading::Reading;
use gpuledger_units::{Millijoules, Millis};
use tempfile::TempDir;

const START_MS: u64 = 492_984 * 3_600_000;

/// A ledger that the fold has written: one node, one GPU, a hundred seconds.
struct Written {
    ledger: SqliteLedger,
    row: GpuHourKey,
    node: gpuledger_ledger::NodeKey,
    state: Vec<u8>,
    _folder: TempDir,
}

async fn written() -> Written {
    let folder = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    let node = ledger.node(&NodeName::new("n1").unwrap()).await.unwrap();
    let gpu = Gpu {
        uuid: GpuUuid::new("GPU-1").unwrap(),
        model: String::new(),
        serial: None,
        pci_bus_id: None,
        index: 0,
        memory_bytes: None,
        simulated: true,
    };
    let gpus = ledger.register(node, &Inventory { host: Host::default(), gpus: vec![gpu] }).await.unwrap();
    let gpus: Vec<_> = gpus.into_iter().map(|gpu| gpu.key).collect();
    let frames: Vec<Frame> = (0..=100_u64)
        .map(|second| Frame {
            stamp: Stamp { wall_ms: START_MS + second * 1_000, boot_ms: second * 1_000 },
            devices: vec![
                DeviceFrame { readings: vec![(NODE_CPU, Reading::Value(5))], holding: None },
                DeviceFrame {
                    readings: vec![
                        (GPU_UP, Reading::Value(1)),
                        (GPU_ENERGY, Reading::Value(i64::try_from(second * 333_333).unwrap())),
                        (GPU_UTILIZATION, Reading::Value(500_000)),
                    ],
                    holding: None,
                },
            ],
        })
        .collect();
    let mut fold = NodeFold::load(node, &ledger.state(node).await.unwrap(), FoldOptions::default()).unwrap();
    fold.begin_segment(Epoch::begin(), None, gpus.clone(), Sequence::NONE, Sequence(1));
    fold.fold(&Batch::from_frames(Sequence(1), &frames), &[]).unwrap();
    let commit = fold.take().unwrap();
    let (row, state) = (commit.gpu_hours[0].0, commit.state.clone());
    assert_eq!(ledger.commit(vec![commit]).await.unwrap(), [CommitOutcome::Committed]);
    Written { ledger, row, node, state, _folder: folder }
}

impl Written {
    /// Adds a row without the fold's knowledge, as a fault in the program or the disk would.
    async fn slip_in(&self, row: GpuHour) {
        let commit = NodeCommit {
            node: self.node,
            base_version: 1,
            state: self.state.clone(),
            epochs: vec![EpochAdvance { epoch: Epoch::begin(), from: Sequence(0), to: Sequence(1) }],
            gpu_hours: vec![(self.row, row)],
            node_hours: Vec::new(),
            taken: Vec::new(),
            gpus_seen: Vec::new(),
            seen: None,
        };
        assert_eq!(self.ledger.commit(vec![commit]).await.unwrap(), [CommitOutcome::Committed]);
    }

    async fn broken(&self) -> Vec<&'static str> {
        let checks = verify(&self.ledger).await.unwrap();
        checks.iter().filter(|check| !check.holds()).map(|check| check.name).collect()
    }
}

#[tokio::test]
async fn every_promise_holds_over_what_the_fold_wrote() {
    let written = written().await;
    let checks = verify(&written.ledger).await.unwrap();
    assert_eq!(checks.len(), 5);
    assert!(checks.iter().all(PromiseCheck::holds), "{checks:?}");
    // 100 s of the node and of the GPU, and the counter's whole increase.
    assert!(checks[1].figures.starts_with("200000 ms in the rows of 2 devices"), "{}", checks[1]);
    assert!(checks[2].figures.starts_with("33333300 mJ"), "{}", checks[2]);
    assert_eq!(checks[0].to_string(), "ok     the store is sound: 2 rows, 1 nodes, 1 GPUs");
}

#[tokio::test]
async fn an_empty_ledger_keeps_every_promise() {
    let folder = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    let checks = verify(&ledger).await.unwrap();
    assert!(checks.iter().all(PromiseCheck::holds), "{checks:?}");
}

#[tokio::test]
async fn one_millijoule_too_many_is_found_and_named() {
    let written = written().await;
    written.slip_in(GpuHour { counter_mj: Millijoules(1), ..GpuHour::default() }).await;
    assert_eq!(written.broken().await, ["energy is conserved"]);
    let told = verify(&written.ledger).await.unwrap()[2].to_string();
    assert!(told.contains("BROKEN") && told.contains("GPU-1: rows hold 33333301 mJ"), "{told}");
}

#[tokio::test]
async fn one_millisecond_counted_twice_is_found() {
    let written = written().await;
    written.slip_in(GpuHour { free_ms: Millis(1), ..GpuHour::default() }).await;
    assert_eq!(written.broken().await, ["every millisecond is counted once"]);
}

#[tokio::test]
async fn an_hour_that_is_too_long_is_found() {
    let written = written().await;
    written.slip_in(GpuHour { down_ms: Millis(3_600_000), ..GpuHour::default() }).await;
    let broken = written.broken().await;
    assert!(broken.contains(&"the states of an hour fit the hour"), "{broken:?}");
    assert!(broken.contains(&"the store is sound"), "{broken:?}");
}

#[tokio::test]
async fn what_is_known_for_longer_than_it_was_seen_is_found() {
    let written = written().await;
    written.slip_in(GpuHour { busy_known_ms: Millis(1), ..GpuHour::default() }).await;
    assert_eq!(written.broken().await, ["unknown is never zero"]);
}

#[tokio::test]
async fn rows_without_a_memory_are_found() {
    let written = written().await;
    let mut lost = written;
    lost.state = Vec::new();
    lost.slip_in(GpuHour::default()).await;
    let broken = lost.broken().await;
    assert_eq!(broken, ["every millisecond is counted once", "energy is conserved"]);
}
