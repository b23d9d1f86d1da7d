//! What the store holds, taken in as it is exported: all of it from one moment.

use super::sums::Sums;
use crate::fold::coverage::SPANS_MAX;
use crate::fold::state::{Device, DeviceMemory, NodeMemory};
use gpuledger_ledger::{
    Day, DayFile, FileStatus, GpuHour, GpuHourKey, GpuRecord, Hour, LedgerError, NodeHour, NodeKey,
    NodeRecord, NodeState, Record, Store, Table,
};
use gpuledger_proto::ids::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Pieces of an export that wait: one is read while the next is fetched.
const PIECES_WAITING: usize = 2;

/// A node or a GPU, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Node(u32),
    Gpu(u32),
}

/// The fold's memory in the figures of the rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remembered {
    pub covered_ms: u128,
    /// Gaps were closed because there were too many: more is covered than was counted.
    pub closed_gaps: bool,
    pub counted_mj: u128,
    pub estimated_mj: u128,
}

/// A ledger's content, without the rows themselves.
#[derive(Default)]
pub struct Content {
    pub nodes: BTreeMap<u32, NodeRecord>,
    pub gpus: BTreeMap<u32, GpuRecord>,
    pub owners: BTreeSet<u32>,
    /// What the folds remember, by what it is about. A GPU that several nodes remember is added up.
    pub memories: BTreeMap<Key, Remembered>,
    /// The nodes that remember each GPU.
    pub remembered_by: BTreeMap<u32, Vec<u32>>,
    /// The nodes that have committed under each epoch.
    pub epochs: BTreeMap<Epoch, Vec<u32>>,
    /// Nodes whose memory cannot be read.
    pub unreadable: Vec<String>,
    /// Every file of the manifest.
    pub files: Vec<DayFile>,
    /// Days that have a current file.
    closed_days: BTreeSet<(Table, Day)>,
    /// Sums over the rows that were seen so far.
    pub sums: Sums,
    /// Rows in the store of days that are closed: few, unless much has just arrived late.
    late_gpu_rows: BTreeMap<InFile, (GpuHourKey, GpuHour)>,
    late_node_rows: BTreeMap<(Hour, NodeKey), NodeHour>,
}

/// The place of a row in the files of closed days.
type InFile = (Day, u32, Hour, u32);

fn in_file(key: GpuHourKey) -> InFile {
    (Day::of(key.hour), key.gpu.0, key.hour, key.owner.0)
}

impl Content {
    /// Reads everything in the store and adds up the rows of its open days and what has expired.
    pub async fn read(store: &dyn Store) -> Result<Self, LedgerError> {
        let (to, mut from) = mpsc::channel(PIECES_WAITING);
        let take_in = async move {
            let mut content = Self::default();
            while let Some(piece) = from.recv().await {
                for record in piece {
                    content.take(record)?;
                }
            }
            content.sums.end_of_hour()?;
            Ok(content)
        };
        // Where taking in fails the export fails too, because nobody receives: ours is the reason.
        let (sent, content) = tokio::join!(store.export(to), take_in);
        content.and_then(|content| sent.map(|()| content))
    }

    fn take(&mut self, record: Record) -> Result<(), LedgerError> {
        match record {
            Record::Node { record, state } => self.take_node(record, &state),
            Record::Gpu(gpu) => drop(self.gpus.insert(gpu.key.0, gpu)),
            Record::Owner(owner) => drop(self.owners.insert(owner.key.0)),
            Record::Epoch { node, epoch, .. } => self.epochs.entry(epoch).or_default().push(node.0),
            Record::File(file) => self.take_file(file),
            Record::ExpiredGpu(gone) => self.sums.add_expired(Key::Gpu(gone.gpu.0), &gone.total)?,
            Record::ExpiredNode { node, total } => self.sums.add_expired_node(node, &total),
            Record::GpuHour(key, row) if self.is_closed(Table::GpuHours, key.hour) => {
                self.late_gpu_rows.insert(in_file(key), (key, row));
            }
            Record::NodeHour(hour, node, row) if self.is_closed(Table::NodeHours, hour) => {
                self.late_node_rows.insert((hour, node), row);
            }
            Record::GpuHour(key, row) => self.add_gpu_row(key, &row)?,
            Record::NodeHour(hour, node, row) => self.add_node_row(hour, node, &row),
            Record::Asset(_) | Record::ArchiveLocation(_) | Record::LastVersion { .. } | Record::End(_) => {}
        }
        Ok(())
    }

    fn take_node(&mut self, record: NodeRecord, state: &NodeState) {
        let node = record.key.0;
        match NodeMemory::decode(&state.blob) {
            Ok(memory) => self.remember(node, &memory),
            Err(error) => self.unreadable.push(format!("node {}: {error}", record.name)),
        }
        self.nodes.insert(node, record);
    }

    fn remember(&mut self, node: u32, memory: &NodeMemory) {
        for (device, memory) in &memory.devices {
            let key = match device {
                Device::Node => Key::Node(node),
                Device::Gpu(gpu) => {
                    self.remembered_by.entry(gpu.0).or_default().push(node);
                    Key::Gpu(gpu.0)
                }
            };
            self.memories.entry(key).or_default().add(memory);
        }
    }

    fn take_file(&mut self, file: DayFile) {
        if file.status == FileStatus::Current {
            self.closed_days.insert((file.table, file.day));
        }
        self.files.push(file);
    }

    fn is_closed(&self, table: Table, hour: Hour) -> bool {
        self.closed_days.contains(&(table, Day::of(hour)))
    }

    /// Adds up the late rows that come before this row of a file, so that all owners of an hour follow each
    /// other.
    pub fn add_late_gpu_rows_before(&mut self, key: GpuHourKey) -> Result<(), LedgerError> {
        while let Some(late) = self.late_gpu_rows.first_entry()
            && *late.key() <= in_file(key)
        {
            let (key, row) = late.remove();
            self.add_gpu_row(key, &row)?;
        }
        Ok(())
    }

    /// Adds up the late rows up to this day; all where none is given.
    pub fn add_late_rows(&mut self, day: Option<Day>) -> Result<(), LedgerError> {
        while let Some(late) = self.late_gpu_rows.first_entry()
            && day.is_none_or(|day| late.key().0 <= day)
        {
            let (key, row) = late.remove();
            self.add_gpu_row(key, &row)?;
        }
        while let Some(late) = self.late_node_rows.first_entry()
            && day.is_none_or(|day| Day::of(late.key().0) <= day)
        {
            let ((hour, node), row) = late.remove_entry();
            self.add_node_row(hour, node, &row);
        }
        self.sums.end_of_hour()
    }

    /// Adds up a row; all owners of a GPU's hour follow each other.
    pub fn add_gpu_row(&mut self, key: GpuHourKey, row: &GpuHour) -> Result<(), LedgerError> {
        let gpu = self.gpus.get(&key.gpu.0);
        self.sums.check_place(Key::Gpu(key.gpu.0), key.hour, gpu.map(|gpu| (gpu.first_ms, gpu.last_ms)));
        if key.owner >= gpuledger_ledger::OwnerKey::FIRST_NAMED && !self.owners.contains(&key.owner.0) {
            self.sums.misplaced(format!("owner {}, which is not registered", key.owner.0), key.hour);
        }
        self.sums.add_gpu(key, row)
    }

    pub fn add_node_row(&mut self, hour: Hour, node: NodeKey, row: &NodeHour) {
        let record = self.nodes.get(&node.0);
        let seen = record.map(|record| (record.first_ms, record.last_ms));
        self.sums.check_place(Key::Node(node.0), hour, seen);
        self.sums.add_node(hour, node, row);
    }

    /// Everything that rows or memory speak of.
    pub fn subjects(&self) -> BTreeSet<Key> {
        self.sums.amounts.keys().chain(self.memories.keys()).copied().collect()
    }

    /// A name for people.
    pub fn name(&self, key: Key) -> String {
        match key {
            Key::Node(node) => match self.nodes.get(&node) {
                Some(record) => format!("node {}", record.name),
                None => format!("node {node}"),
            },
            Key::Gpu(gpu) => match self.gpus.get(&gpu) {
                Some(record) => record.gpu.uuid.to_string(),
                None => format!("GPU {gpu}"),
            },
        }
    }
}

impl Remembered {
    fn add(&mut self, memory: &DeviceMemory) {
        let spans = memory.covered.spans();
        self.covered_ms += spans.iter().map(|span| u128::from(span.length())).sum::<u128>();
        self.closed_gaps |= spans.len() >= SPANS_MAX;
        self.counted_mj += u128::from(memory.counted_mj);
        self.estimated_mj += u128::from(memory.estimated_mj);
    }
}
