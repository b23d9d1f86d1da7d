//! The durable ledger: hour rows, sequences and the register of what was seen, behind one trait.
//!
//! What makes it exactly-once: rows, the fold's state and the sequences of a node are written in
//! one transaction, which first checks that the stored state version and sequences are the ones the
//! fold started from. A writer that lost the race writes nothing and starts again from what is stored.
//! So any number of collectors may serve one ledger, and a crash at any point loses nothing that
//! was acknowledged and counts nothing twice.
#![forbid(unsafe_code)]

mod columns;
mod error;
mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
mod store;
pub mod suite;
pub mod transfer;

pub use error::LedgerError;
pub use model::*;
pub use store::*;

use async_trait::async_trait;
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A half-open range of hours: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourRange {
    pub from: Hour,
    pub to: Hour,
}

impl HourRange {
    /// Every hour that there can be.
    pub const ALWAYS: Self = Self { from: Hour(0), to: Hour(u32::MAX) };
}

/// Which GPU rows somebody asks for. What is not asked for need not be read: that is what makes a
/// report over closed days cheap.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub range: HourRange,
    /// Only rows of these GPUs; `None` for all.
    pub gpus: Option<Arc<BTreeSet<GpuKey>>>,
    /// Columns that are needed. Others may be given too, or as their default.
    pub columns: Columns,
}

impl Wanted {
    /// Everything of a range.
    pub const fn all(range: HourRange) -> Self {
        Self { range, gpus: None, columns: Columns::ALL }
    }

    /// Whether rows of this GPU are asked for.
    pub fn has(&self, gpu: GpuKey) -> bool {
        self.gpus.as_ref().is_none_or(|gpus| gpus.contains(&gpu))
    }
}

/// A set of the columns of [`GpuHour`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns(u16);

impl Columns {
    pub const ALL: Self = Self(u16::MAX);
    /// The four states.
    pub const TIME: Self = Self(1);
    /// `counter_mj`, `gap_mj`, `estimated_mj`.
    pub const ENERGY: Self = Self(1 << 1);
    pub const ACTIVE_ENERGY: Self = Self(1 << 2);
    /// `busy_ppm_ms`, `busy_known_ms`.
    pub const BUSY: Self = Self(1 << 3);
    pub const MEMORY: Self = Self(1 << 4);
    pub const THROTTLED: Self = Self(1 << 5);
    /// Both maxima.
    pub const MAXIMA: Self = Self(1 << 6);
    pub const SAMPLES: Self = Self(1 << 7);

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A GPU's number, and the node whose memory its chain is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    pub key: GpuKey,
    pub holder: NodeKey,
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
    /// of the inventory. A new GPU is held by this node; one that is known stays with the node that
    /// holds it until a commit takes it over ([`NodeCommit::taken`]). Idempotent.
    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError>;

    /// Gives each owner's number, registering the new ones, in the order asked. Idempotent.
    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError>;

    /// The fold's memory of a node; version 0 and empty before its first commit.
    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError>;

    /// Last committed sequence of an epoch of a node; [`Sequence::NONE`] when there is none.
    /// An epoch belongs to the node that committed first: [`LedgerError::ForeignEpoch`] for others.
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

    /// GPU rows in the order (hour, GPU, owner). A store by itself refuses a range of which days are
    /// closed ([`LedgerError::Archived`]): rather nothing than too little.
    async fn gpu_hours(&self, wanted: &Wanted) -> Result<Vec<(GpuHourKey, GpuHour)>, LedgerError>;
    /// Node rows of a range in the order (hour, node).
    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError>;
    /// Sum over all rows of each GPU, by number. Maxima are over all rows.
    async fn gpu_totals(&self) -> Result<Vec<GpuTotal>, LedgerError>;

    /// Adds or replaces assets by serial, all or none.
    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError>;
    /// Every asset, by serial.
    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError>;
}
