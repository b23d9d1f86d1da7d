//! The embedded store: one SQLite file.
//!
//! Format: an SQLite 3 database with application id `GPUL`, the schema version in `user_version`,
//! write-ahead log, `synchronous = FULL`. Row keys are one integer, so that a row costs one B-tree
//! step and a range of hours is a range of keys (see [`key`]).
//!
//! Invariants:
//! - one thread owns the only connection that writes; reads have their own read-only connections and
//!   never wait for it;
//! - a connection that met a fault of the file is closed, and the file that lies in the ledger's place is
//!   opened anew: the ledger goes on by itself once it is mended, or restored (see [`site`]);
//! - whatever is told as done is on disk;
//! - an update of rows only adds, and a sum that does not fit in 63 bits fails the whole
//!   transaction: a column can neither wrap nor turn into a float (tables are `STRICT`).

mod backup;
mod check;
mod commit;
mod days;
mod fault;
mod identity;
pub(crate) mod key;
mod migrations;
mod open;
mod read;
mod register;
mod rows;
mod site;
mod statements;
mod store;
mod stream;
mod transfer;
mod writer;

pub use backup::{BackedUp, BackupError};

use crate::{
    CommitOutcome, DayFile, GpuHourStream, GpuRecord, Hour, HourRange, Ledger, LedgerError, LedgerTotals,
    NodeCommit, NodeHour, NodeKey, NodeRecord, NodeState, OwnerKey, OwnerRecord, Registered, Store,
    StoredAsset, Wanted,
};
use async_trait::async_trait;
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use read::{Read, Readers};
use site::Site;
use std::path::Path;
use std::sync::Arc;
use writer::Writer;

/// A ledger in one SQLite file. Cheap to share behind an `Arc`; closes cleanly when dropped.
pub struct SqliteLedger {
    // Dropped before the writer: the last connection to close folds the write-ahead log back, and
    // only the writer's may do that.
    readers: Arc<Readers>,
    /// `None` where the ledger was opened for reading only.
    writer: Option<Writer>,
}

impl SqliteLedger {
    /// Opens the ledger for writing, creating it when there is no file. Brings an older schema up to
    /// this build's, and examines the file when the last process to write did not close it.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let connection = open::for_writing(path)?;
        let site = Arc::new(Site::of(path));
        let writer = Writer::start(connection, &site)?;
        Ok(Self { readers: Arc::new(Readers::new(site, None)?), writer: Some(writer) })
    }

    /// Opens a ledger that exists, for reading only: nothing is created, migrated or written.
    pub fn open_existing(path: &Path) -> Result<Self, LedgerError> {
        let connection = open::existing(path)?;
        let site = Arc::new(Site::of(path));
        Ok(Self { readers: Arc::new(Readers::new(site, Some(connection))?), writer: None })
    }

    async fn write<T, F>(&self, operation: &'static str, job: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut rusqlite::Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.run(operation, job).await,
            None => Err(LedgerError::ReadOnly { operation }),
        }
    }

    async fn read<T, F>(&self, operation: &'static str, job: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.ask(operation, move |connection| job(connection).map_err(fault::at(operation))).await
    }

    /// A read that can also fail for what it finds.
    async fn ask<T, F>(&self, operation: &'static str, job: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        let job = match read::run(Arc::clone(&self.readers), operation, job).await {
            Read::Done(answer) => return answer,
            Read::Unsettled(job) => job,
        };
        // Who writes opens the file that came in the place of the other, then it can be read.
        let writer = self.writer.as_ref().ok_or(LedgerError::Replaced { operation })?;
        writer.run(operation, |_| Ok(())).await?;
        match read::run(Arc::clone(&self.readers), operation, job).await {
            Read::Done(answer) => answer,
            Read::Unsettled(_) => Err(LedgerError::Replaced { operation }),
        }
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError> {
        let name = name.clone();
        self.write("register a node", move |c| register::node(c, &name)).await
    }

    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError> {
        let inventory = inventory.clone();
        self.write("register GPUs", move |c| register::inventory(c, node, &inventory)).await
    }

    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
        let owners = owners.to_vec();
        self.write("register owners", move |c| register::owners(c, &owners)).await
    }

    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError> {
        self.read("read a node's state", move |c| read::state(c, node)).await
    }

    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
        self.ask("read a node's sequence", move |c| read::sequence(c, node, epoch)).await
    }

    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError> {
        self.write("commit rows", move |c| commit::all(c, &commits)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        self.read("list nodes", register::all_nodes).await
    }

    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError> {
        self.read("list GPUs", register::all_gpus).await
    }

    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError> {
        self.read("list owners", register::all_owners).await
    }

    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        alone("read GPU hours", self.open_gpu_hours(wanted).await?)
    }

    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        alone("read node hours", self.open_node_hours(range).await?)
    }

    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError> {
        self.read("read the nodes' versions", read::versions).await
    }

    async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        alone("sum GPU hours", self.open_totals().await?)
    }

    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.write("store assets", move |c| register::put_assets(c, &assets)).await
    }

    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.read("list assets", register::all_assets).await
    }
}

/// Open rows as an answer of the store alone: where files belong to it, it would say too little.
fn alone<T>(operation: &'static str, (rows, files): (T, Vec<DayFile>)) -> Result<T, LedgerError> {
    if files.is_empty() { Ok(rows) } else { Err(LedgerError::Archived { operation }) }
}
