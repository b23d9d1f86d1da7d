use super::*;
use crate::fold::{FoldOptions, NodeFold};
use async_trait::async_trait;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{
    CommitOutcome, Day, DayFile, DayRows, EpochAdvance, GpuHour, GpuHourKey, Hour, Ledger as _, NodeCommit,
    NodeHour, NodeKey, OwnerKey, Publish, Record, Store, Sums, Table, Taken, Wanted,
};
use gpuledger_proto::catalogue::{GPU_ENERGY, GPU_UP, GPU_UTILIZATION, NODE_CPU};
use gpuledger_proto::frame::{Batch, DeviceFrame, Frame, Gpu, Host, Inventory, Stamp};
use gpuledger_proto::ids::{Epoch, GpuUuid, NodeName, Sequence};
use gpuledger_proto::reading::Reading;
use gpuledger_units::{Millijoules, Millis};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;

const START_MS: u64 = 492_984 * 3_600_000;

/// A ledger that the fold has written: one node, one GPU, a hundred seconds.
struct Written {
    ledger: SqliteLedger,
    row: GpuHourKey,
    node: gpuledger_ledger::NodeKey,
    state: Vec<u8>,
    folder: TempDir,
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
    Written { ledger, row, node, state, folder }
}

async fn examined(store: &dyn Store, archive: Option<&dyn ClosedDays>) -> Vec<PromiseCheck> {
    verify(Subject { store, archive }, &mut |_, _| {}).await.unwrap()
}

/// The checks that found something.
fn names(checks: &[PromiseCheck]) -> Vec<&'static str> {
    checks.iter().filter(|check| !check.holds()).map(|check| check.name).collect()
}

fn check<'a>(checks: &'a [PromiseCheck], name: &str) -> &'a PromiseCheck {
    checks.iter().find(|check| check.name == name).unwrap()
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

    async fn checks(&self) -> Vec<PromiseCheck> {
        examined(&self.ledger, None).await
    }

    async fn broken(&self) -> Vec<&'static str> {
        names(&self.checks().await)
    }
}

#[tokio::test]
async fn every_promise_holds_over_what_the_fold_wrote() {
    let written = written().await;
    let checks = written.checks().await;
    assert_eq!(checks.len(), 9);
    assert!(checks.iter().all(PromiseCheck::holds), "{checks:?}");
    // 100 s of the node and of the GPU, and the counter's whole increase.
    let counted = check(&checks, "every millisecond is counted once");
    assert!(counted.figures.starts_with("200000 ms in the rows of 2 devices"), "{counted}");
    let energy = check(&checks, "energy is conserved").to_string();
    assert!(energy.starts_with("ok     energy is conserved (promise 2): 33333300 mJ"), "{energy}");
    assert_eq!(checks[0].to_string(), "ok     the store is sound: 2 rows, 1 nodes, 1 GPUs");
}

#[tokio::test]
async fn an_empty_ledger_keeps_every_promise() {
    let folder = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    let checks = examined(&ledger, None).await;
    assert!(checks.iter().all(PromiseCheck::holds), "{checks:?}");
}

#[tokio::test]
async fn one_millijoule_too_many_is_found_and_named() {
    let written = written().await;
    written.slip_in(GpuHour { counter_mj: Millijoules(1), ..GpuHour::default() }).await;
    assert_eq!(written.broken().await, ["energy is conserved"]);
    let told = check(&written.checks().await, "energy is conserved").to_string();
    assert!(told.contains("BROKEN energy") && told.contains("GPU-1: rows hold 33333301 mJ"), "{told}");
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

/// A node of its own with one sample committed, under this epoch.
async fn another_node(ledger: &SqliteLedger, name: &str) -> NodeKey {
    let node = ledger.node(&NodeName::new(name).unwrap()).await.unwrap();
    ledger.register(node, &Inventory { host: Host::default(), gpus: Vec::new() }).await.unwrap();
    node
}

fn bare(node: NodeKey, state: Vec<u8>) -> NodeCommit {
    NodeCommit {
        node,
        base_version: 0,
        state,
        epochs: vec![EpochAdvance { epoch: Epoch::begin(), from: Sequence(0), to: Sequence(1) }],
        gpu_hours: Vec::new(),
        node_hours: Vec::new(),
        taken: Vec::new(),
        gpus_seen: Vec::new(),
        seen: None,
    }
}

#[tokio::test]
async fn a_gpu_that_two_nodes_remember_is_found() {
    let written = written().await;
    let other = another_node(&written.ledger, "n2").await;
    // The whole memory of n1 under another name, as a copied state would be.
    let outcome = written.ledger.commit(vec![bare(other, written.state.clone())]).await.unwrap();
    assert_eq!(outcome, [CommitOutcome::Committed]);
    let checks = written.checks().await;
    let told = check(&checks, "a GPU is remembered by the node that holds it and by no other").to_string();
    assert!(told.contains("GPU-1: node n2 remembers it, and node n1 holds it"), "{told}");
}

#[tokio::test]
async fn a_gpu_that_its_holder_does_not_remember_is_found() {
    let written = written().await;
    let other = another_node(&written.ledger, "n2").await;
    let taken = Taken {
        from: written.node,
        base_version: 1,
        state: written.state.clone(),
        gpus: vec![written.row.gpu],
    };
    let commit = NodeCommit { taken: vec![taken], ..bare(other, Vec::new()) };
    assert_eq!(written.ledger.commit(vec![commit]).await.unwrap(), [CommitOutcome::Committed]);
    let checks = written.checks().await;
    let told = check(&checks, "a GPU is remembered by the node that holds it and by no other").to_string();
    assert!(told.contains("GPU-1: node n1 remembers it, and node n2 holds it"), "{told}");
}

#[tokio::test]
async fn a_row_of_nobody_known_is_found_and_named() {
    let written = written().await;
    let stranger = GpuHourKey { owner: OwnerKey(77), ..written.row };
    let outside = GpuHourKey { hour: Hour(written.row.hour.0 + 5), ..written.row };
    // No commit writes a row of an owner that is not registered: it comes with what is imported.
    let copy = SqliteLedger::open(&written.folder.path().join("copy.db")).unwrap();
    let (from, mut exported) = tokio::sync::mpsc::channel::<Vec<Record>>(1);
    let (to, into) = tokio::sync::mpsc::channel(1);
    let spoil = async move {
        while let Some(mut piece) = exported.recv().await {
            if let Some(Record::End(records)) = piece.last_mut() {
                *records += 2;
                piece.extend([stranger, outside].map(|key| Record::GpuHour(key, GpuHour::default())));
            }
            to.send(piece).await.unwrap();
        }
    };
    let (exporting, (), importing) = tokio::join!(written.ledger.export(from), spoil, copy.import(into));
    exporting.and(importing).unwrap();
    let checks = Written { ledger: copy, ..written }.checks().await;
    let told = check(&checks, "rows are of what is registered").to_string();
    assert!(told.contains("owner 77, which is not registered"), "{told}");
    assert!(told.contains("which was not seen then; the first in the hour 2026-03-29T05:00:00Z"), "{told}");
}

/// Files of closed days in memory.
struct Shelf {
    gpu: Vec<(GpuHourKey, GpuHour)>,
    node: Vec<(Hour, NodeKey, NodeHour)>,
    fault: Option<&'static str>,
}

#[async_trait]
impl ClosedDays for Shelf {
    async fn rows(&self, file: &DayFile, to: mpsc::Sender<DayRows>) -> Result<(), String> {
        if let Some(fault) = self.fault {
            return Err(fault.to_owned());
        }
        // Piece by piece: a GPU's hour may begin in one and end in the next.
        match file.table {
            Table::GpuHours => {
                for row in &self.gpu {
                    to.send(DayRows::Gpu(vec![*row])).await.unwrap();
                }
            }
            Table::NodeHours => to.send(DayRows::Node(self.node.clone())).await.unwrap(),
        }
        Ok(())
    }
}

/// Closes the one day of the ledger.
async fn closed(written: &Written) -> Shelf {
    let day = Day::of(written.row.hour);
    let mut gpu = written.ledger.gpu_rows(&Wanted::all(day.hours())).await.unwrap();
    gpu.sort_by_key(|(key, _)| (key.gpu, key.hour, key.owner));
    let node = written.ledger.node_hours(day.hours()).await.unwrap();
    let (mut gpu_sums, mut node_sums) = (Sums::default(), Sums::default());
    for (_, row) in &gpu {
        gpu_sums.add_gpu(row).unwrap();
    }
    for (_, _, row) in &node {
        node_sums.add_node(row).unwrap();
    }
    let tables = [
        (Table::GpuHours, gpu_sums, DayRows::Gpu(gpu.clone())),
        (Table::NodeHours, node_sums, DayRows::Node(node.clone())),
    ];
    for (table, sums, rows) in tables {
        let file = written.ledger.begin_file(table, day, 1).await.unwrap();
        let publish =
            Publish { file, replaces: 0, bytes: 9, sha256: [1; 32], sums, rows: Arc::new(rows), now_ms: 2 };
        assert_eq!(written.ledger.publish(publish).await.unwrap(), CommitOutcome::Committed);
    }
    Shelf { gpu, node, fault: None }
}

#[tokio::test]
async fn promises_hold_over_closed_days_and_what_came_late_for_them() {
    let written = written().await;
    let before = written.checks().await;
    let shelf = closed(&written).await;
    let after = examined(&written.ledger, Some(&shelf)).await;
    assert!(after.iter().all(PromiseCheck::holds), "{after:?}");
    assert_eq!(after[2..], before[2..], "the figures are those of the open day");
    // A row without a memory comes late: it counts with those of the file.
    written.slip_in(GpuHour { counter_mj: Millijoules(5), ..GpuHour::default() }).await;
    let late = examined(&written.ledger, Some(&shelf)).await;
    assert_eq!(names(&late), ["energy is conserved"]);
    assert!(check(&late, "energy is conserved").to_string().contains("rows hold 33333305 mJ"));
    assert_eq!(check(&late, "the states of an hour fit the hour").figures, "1 GPU hours, 1 node hours");
}

#[tokio::test]
async fn a_closed_day_that_changed_or_is_gone_is_found() {
    let written = written().await;
    let mut shelf = closed(&written).await;
    let name = "closed days are as they were written";
    let told = |checks: Vec<PromiseCheck>| check(&checks, name).to_string();

    let kept = shelf.gpu.clone();
    shelf.gpu[0].1.samples += 1;
    assert!(told(examined(&written.ledger, Some(&shelf)).await).contains("the manifest says"));
    shelf.gpu = kept.iter().chain(&kept).copied().collect();
    assert!(told(examined(&written.ledger, Some(&shelf)).await).contains("holds a row twice"));
    shelf.gpu[0].0.hour = Hour(1);
    assert!(told(examined(&written.ledger, Some(&shelf)).await).contains("holds a row of another day"));
    shelf.fault = Some("is missing");
    let missing = told(examined(&written.ledger, Some(&shelf)).await);
    assert!(missing.contains("gpu_hours/2026-03-29.v0001-") && missing.contains(" is missing"), "{missing}");
    assert!(told(examined(&written.ledger, None).await).contains("does not say where"));
}

#[tokio::test]
async fn what_has_expired_still_counts() {
    let written = written().await;
    let shelf = closed(&written).await;
    let (day, mut gpus) = (Day::of(written.row.hour), Vec::new());
    for (key, total) in &shelf.gpu {
        gpus.push(gpuledger_ledger::GpuTotal { gpu: key.gpu, total: *total });
    }
    let nodes = shelf.node.iter().map(|(_, node, total)| (*node, *total)).collect::<Vec<_>>();
    for file in written.ledger.files().await.unwrap() {
        let (gpus, nodes) = match file.table {
            Table::GpuHours => (gpus.clone(), Vec::new()),
            Table::NodeHours => (Vec::new(), nodes.clone()),
        };
        assert_eq!(
            written.ledger.expire(&file, gpus, nodes, 3).await.unwrap(),
            CommitOutcome::Committed,
            "{day}"
        );
    }
    let checks = examined(&written.ledger, None).await;
    assert!(checks.iter().all(PromiseCheck::holds), "{checks:?}");
    let energy = check(&checks, "energy is conserved").to_string();
    assert!(energy.contains("33333300 mJ in the rows of 2 devices"), "{energy}");
}
