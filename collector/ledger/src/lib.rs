//! The durable ledger: hour rows, sequences and the register of what was seen, behind one trait.
//!
//! What makes it exactly-once: rows, the fold's state and the sequences of a node are written in
//! one transaction, which first checks that the stored state version and sequences are the ones the
//! fold started from. A writer that lost the race writes nothing and starts again from what is stored.
//! So any number of collectors may serve one ledger, and a crash at any point loses nothing that
//! was acknowledged and counts nothing twice.
#![forbid(unsafe_code)]

mod error;
mod model;
pub mod sqlite;
pub mod suite;

pub use error::LedgerError;
pub use model::*;

use async_trait::async_trait;
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};

/// A half-open range of hours: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourRange {
    pub from: Hour,
    pub to: Hour,
}

/// What was counted so far for one GPU, over all owners and hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuTotal {
    pub gpu: GpuKey,
    pub total: GpuHour,
}

/// An asset that was imported: one opaque document under its serial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAsset {
    pub serial: String,
    /// JSON; the collector's register knows its form.
    pub document: String,
}

/// The transactional store.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Gets the node's number, registering it when it is new. Idempotent.
    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError>;

    /// Records what the node says of itself and its GPUs and gives each GPU's number, in the order
    /// of the inventory. Idempotent.
    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<GpuKey>, LedgerError>;

    /// Gives each owner's number, registering the new ones, in the order asked. Idempotent.
    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError>;

    /// The fold's memory of a node; version 0 and empty before its first commit.
    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError>;

    /// Last committed sequence of an epoch of a node; [`Sequence::NONE`] when there is none.
    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError>;

    /// Commits all in one durable transaction and gives each outcome, in the order given.
    /// A node that has [`CommitOutcome::Moved`] does not keep the others from being committed.
    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError>;

    /// Every node, by number.
    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError>;
    /// Every GPU, by number.
    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError>;
    /// Every named owner, by number.
    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError>;

    /// GPU rows of a range in the order (hour, GPU, owner).
    async fn gpu_hours(&self, range: HourRange) -> Result<Vec<(GpuHourKey, GpuHour)>, LedgerError>;
    /// Node rows of a range in the order (hour, node).
    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError>;
    /// Sum over all rows of each GPU, by number. Maxima are over all rows.
    async fn gpu_totals(&self) -> Result<Vec<GpuTotal>, LedgerError>;

    /// Adds or replaces assets by serial, all or none.
    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError>;
    /// Every asset, by serial.
    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError>;

    /// Checks the store itself: structure of the file and the invariants of the rows. One line for
    /// each fault found; empty means sound.
    async fn check(&self) -> Result<Vec<String>, LedgerError>;
}
