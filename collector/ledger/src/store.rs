//! What an archive, a backup and a migration ask of a transactional store, beside the [`Ledger`].
//!
//! # Closed days
//!
//! A day that is over is moved out of the store: its rows are written into a file elsewhere, and then
//! one transaction enters the file and deletes exactly the rows that are in it. The store knows of
//! each file what is in it ([`Sums`]), where it is and in which state:
//!
//! ```text
//! begin_file ─▶ pending ── publish ──▶ current ── publish of a newer one ──▶ superseded
//!                  │                      │                                      │
//!                  └─── forget_files ─────┼────── expire ──▶ (sums are kept) ────┘─▶ forget_files
//! ```
//!
//! Invariants:
//! - a row is either in the store or in the current file of its day, never in both and never in
//!   neither: whoever reads asks for rows and files at one moment;
//! - a file is entered as pending before its first byte is written, so that whatever lies in the
//!   folder and is not entered belongs to nobody;
//! - to publish needs the pending entry: who clears up after a dead process cannot disturb one that
//!   lives, which finds its entry gone and writes nothing, or has its file current by the time that the
//!   entry is to be forgotten;
//! - a version is given to one file of a day only, whatever became of it;
//! - rows of a closed day that arrive later lie in the store again and are merged when the day is
//!   read, until a newer file of that day takes them in.
//!
//! # Transfer
//!
//! [`Store::export`] gives the whole content in one order that both stores share, from one moment;
//! [`Store::import`] fills an empty store with it, all or nothing. [`Record::End`] closes it: what ends
//! without was cut off, and nothing of it is kept.

use crate::{
    CommitOutcome, Day, GpuHour, GpuHourKey, GpuHourStream, GpuRecord, GpuTotal, Hour, HourRange, Ledger,
    LedgerError, LedgerTotals, NodeHour, NodeKey, NodeRecord, NodeState, OwnerRecord, StoredAsset, Wanted,
};
use async_trait::async_trait;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Overflow;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Which of the two kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    GpuHours,
    NodeHours,
}

impl Table {
    pub const ALL: [Self; 2] = [Self::GpuHours, Self::NodeHours];

    /// The name in paths, columns and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GpuHours => "gpu_hours",
            Self::NodeHours => "node_hours",
        }
    }
}

/// Sums over the rows of one file: they say whether a file still holds what it was written with.
/// Time of node rows counts as `observed_ms`, of GPU rows as the sum of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    pub rows: u64,
    pub observed_ms: u64,
    pub counter_mj: u64,
    pub gap_mj: u64,
    pub estimated_mj: u64,
    pub samples: u64,
}

impl Sums {
    /// Counts a GPU row in.
    pub fn add_gpu(&mut self, row: &GpuHour) -> Result<(), Overflow> {
        self.add([1, row.observed()?.0, row.counter_mj.0, row.gap_mj.0, row.estimated_mj.0, row.samples])
    }

    /// Counts a node row in.
    pub fn add_node(&mut self, row: &NodeHour) -> Result<(), Overflow> {
        self.add([1, row.observed_ms.0, row.counter_mj.0, row.gap_mj.0, row.estimated_mj.0, row.samples])
    }

    fn add(&mut self, [rows, observed, counter, gap, estimated, samples]: [u64; 6]) -> Result<(), Overflow> {
        let sum = |sum: u64, more: u64, what| sum.checked_add(more).ok_or(Overflow(what));
        *self = Self {
            rows: sum(self.rows, rows, "rows")?,
            observed_ms: sum(self.observed_ms, observed, "observed_ms")?,
            counter_mj: sum(self.counter_mj, counter, "counter_mj")?,
            gap_mj: sum(self.gap_mj, gap, "gap_mj")?,
            estimated_mj: sum(self.estimated_mj, estimated, "estimated_mj")?,
            samples: sum(self.samples, samples, "samples")?,
        };
        Ok(())
    }
}

/// A file that is being written: the right to publish it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingFile {
    pub table: Table,
    pub day: Day,
    /// Rises with every file of the table and day; none is given again, even after its entry is gone.
    pub version: u32,
    /// Path below the archive's root. Unique: no file is ever written twice under one name.
    pub path: String,
}

impl PendingFile {
    /// A new file, under a name that no other file ever has: a ledger that was restored from a backup
    /// counts its versions anew, so the version alone would not do.
    pub fn new(table: Table, day: Day, version: u32) -> Self {
        let random = uuid::Uuid::now_v7().into_bytes();
        let random = u32::from_be_bytes([0, random[13], random[14], random[15]]);
        let path = format!("{}/{day}.v{version:04}-{random:06x}.parquet", table.name());
        Self { table, day, version, path }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// Being written, or left by a process that died.
    Pending,
    /// Holds the rows of its day.
    Current,
    /// A newer file holds them. Readers that began before may still read it.
    Superseded,
    /// Was older than what is to be kept: the file may go, its sums stay.
    Expired,
}

impl FileStatus {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Current, Self::Superseded, Self::Expired];

    /// The name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }
}

/// A file as the manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayFile {
    pub table: Table,
    pub day: Day,
    pub version: u32,
    pub path: String,
    pub status: FileStatus,
    /// When it got this status, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Size in bytes; 0 while pending.
    pub bytes: u64,
    /// SHA-256 of the file; zeros while pending.
    pub sha256: [u8; 32],
    pub sums: Sums,
}

impl PendingFile {
    /// Its entry in the manifest, while it is written.
    pub(crate) fn entry(&self, since_ms: u64) -> DayFile {
        DayFile {
            table: self.table,
            day: self.day,
            version: self.version,
            path: self.path.clone(),
            status: FileStatus::Pending,
            since_ms,
            bytes: 0,
            sha256: [0; 32],
            sums: Sums::default(),
        }
    }
}

impl Publish {
    /// The file's entry from then on.
    pub(crate) fn entry(&self) -> DayFile {
        DayFile {
            status: FileStatus::Current,
            bytes: self.bytes,
            sha256: self.sha256,
            sums: self.sums,
            ..self.file.entry(self.now_ms)
        }
    }
}

/// Rows of a day: all of them, or a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayRows {
    Gpu(Vec<(GpuHourKey, GpuHour)>),
    Node(Vec<(Hour, NodeKey, NodeHour)>),
}

/// Pieces of a day's rows; each key is in one of them.
pub type Pieces<'a> = Box<dyn Iterator<Item = Result<DayRows, LedgerError>> + Send + 'a>;

/// The rows that a file takes over from the store, piece by piece and as often as they are asked for:
/// those of a large fleet are not held as rows.
pub trait TakenRows: std::fmt::Debug + Send + Sync {
    fn pieces(&self) -> Pieces<'_>;
}

impl TakenRows for DayRows {
    fn pieces(&self) -> Pieces<'_> {
        Box::new(std::iter::once(Ok(self.clone())))
    }
}

/// One transaction: the pending file becomes current, the one before it superseded, and the rows that
/// it took over are deleted.
#[derive(Debug, Clone)]
pub struct Publish {
    pub file: PendingFile,
    /// The version that was current when the rows were read; 0 when none was.
    pub replaces: u32,
    pub bytes: u64,
    pub sha256: [u8; 32],
    pub sums: Sums,
    /// The rows that lay in the store when they were read: exactly these are deleted. Where a commit
    /// has changed one of them meanwhile, the outcome is [`CommitOutcome::Moved`].
    pub rows: Arc<dyn TakenRows>,
    pub now_ms: u64,
}

/// One piece of a ledger's whole content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Node {
        record: NodeRecord,
        state: NodeState,
    },
    Gpu(GpuRecord),
    Owner(OwnerRecord),
    Epoch {
        node: NodeKey,
        epoch: Epoch,
        sequence: Sequence,
    },
    Asset(StoredAsset),
    /// The last version that a file of a day was given.
    LastVersion {
        table: Table,
        day: Day,
        version: u32,
    },
    File(DayFile),
    ExpiredGpu(GpuTotal),
    ExpiredNode {
        node: NodeKey,
        total: NodeHour,
    },
    GpuHour(GpuHourKey, GpuHour),
    NodeHour(Hour, NodeKey, NodeHour),
    /// Where the archive's files are, as last set.
    ArchiveLocation(String),
    /// The last piece: how many came before it.
    End(u64),
}

/// A transactional store.
#[async_trait]
pub trait Store: Ledger {
    /// Checks what lies in the store: structure of the file and the invariants of the rows. One line for
    /// each fault found; empty means sound.
    async fn check(&self) -> Result<Vec<String>, LedgerError>;
    /// What the store takes on its disk, its log included; closed days are not in it.
    async fn size_bytes(&self) -> Result<u64, LedgerError>;

    /// The rows that lie in the store, in the order of [`Ledger::gpu_hours`], and the current files of the
    /// range by day, at one moment: that moment lasts until the stream ends or is dropped.
    async fn open_gpu_hours(&self, wanted: &Wanted) -> Result<(GpuHourStream, Vec<DayFile>), LedgerError>;
    /// The same all at once, in the order (hour, GPU, owner).
    async fn open_gpu_rows(
        &self,
        wanted: &Wanted,
    ) -> Result<(Vec<(GpuHourKey, GpuHour)>, Vec<DayFile>), LedgerError> {
        let (rows, files) = self.open_gpu_hours(wanted).await?;
        Ok((rows.rows().await?, files))
    }
    /// The same for nodes, in the order (hour, node).
    async fn open_node_hours(
        &self,
        range: HourRange,
    ) -> Result<(Vec<(Hour, NodeKey, NodeHour)>, Vec<DayFile>), LedgerError>;
    /// Sums of what lies in the store and of what has expired, by GPU, the versions of all nodes and all
    /// current files of GPU rows, at one moment.
    async fn open_totals(&self) -> Result<(LedgerTotals, Vec<DayFile>), LedgerError>;
    /// What has expired, in all: by GPU and by node.
    async fn expired(&self) -> Result<(Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>), LedgerError>;

    /// Days before this one of which rows lie in the store, oldest first.
    async fn open_days(&self, table: Table, before: Day) -> Result<Vec<Day>, LedgerError>;
    /// Every file of the manifest, by table, day and version.
    async fn files(&self) -> Result<Vec<DayFile>, LedgerError>;
    /// Enters a file of the day as pending. Another pending one of the same day is removed: its
    /// writer finds out when it publishes.
    async fn begin_file(&self, table: Table, day: Day, now_ms: u64) -> Result<PendingFile, LedgerError>;
    async fn publish(&self, publish: Publish) -> Result<CommitOutcome, LedgerError>;
    /// The current file of a day expires: its totals are added to what has expired, the file leaves
    /// the reports. [`CommitOutcome::Moved`] where another version is current by now.
    async fn expire(
        &self,
        file: &DayFile,
        gpus: Vec<GpuTotal>,
        nodes: Vec<(NodeKey, NodeHour)>,
        now_ms: u64,
    ) -> Result<CommitOutcome, LedgerError>;
    /// Removes pending and superseded entries by path, before their files are removed.
    async fn forget_files(&self, paths: &[String]) -> Result<(), LedgerError>;
    /// Where the archive's files are: a URL, or a folder beside the ledger. `None` before the first.
    async fn archive_location(&self) -> Result<Option<String>, LedgerError>;
    async fn set_archive_location(&self, location: &str) -> Result<(), LedgerError>;
    /// What tells this ledger from its copies, where it has needed that yet: an archive is claimed
    /// under it. [`Store::export`] leaves it out.
    async fn identity(&self) -> Result<Option<String>, LedgerError>;
    /// Gives the ledger an identity, where it has none yet; `None` takes it away from a copy.
    async fn set_identity(&self, identity: Option<&str>) -> Result<(), LedgerError>;

    /// Sends everything, from one moment, in this order: location, nodes, GPUs, owners, epochs
    /// (by node and epoch), assets, last versions and files (by table and day), expired, GPU hours (by
    /// hour, GPU, owner), node hours, end.
    async fn export(&self, to: mpsc::Sender<Vec<Record>>) -> Result<(), LedgerError>;
    /// Takes what another store exported into an empty one, in one transaction.
    /// [`LedgerError::NotEmpty`] where there is anything already.
    async fn import(&self, from: mpsc::Receiver<Vec<Record>>) -> Result<(), LedgerError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_its_table_day_and_version_and_never_twice() {
        let one = PendingFile::new(Table::GpuHours, Day(20_541), 3);
        let other = PendingFile::new(Table::GpuHours, Day(20_541), 3);
        let random = one.path.strip_prefix("gpu_hours/2026-03-29.v0003-").unwrap();
        let random = random.strip_suffix(".parquet").unwrap();
        assert!(random.len() == 6 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{random}");
        assert_ne!(one.path, other.path);
    }
}
