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
mod hours;
mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
mod store;
pub mod stream;
pub mod suite;
pub mod transfer;
mod wanted;

pub use error::LedgerError;
pub use hours::*;
pub use model::*;
pub use store::*;
pub use stream::{GpuHourStream, gather};
pub use wanted::*;

use async_trait::async_trait;
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};

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

/// What the ledger holds of all GPUs at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerTotals {
    /// By number.
    pub gpus: Vec<GpuTotal>,
    /// The version of every node's state, by number: a commit that began from this version or from a
    /// later one is not in the sums. A node that is not here has not committed.
    pub versions: Vec<(NodeKey, u64)>,
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

    /// GPU rows of one moment, piece by piece: day by day, each in the order (GPU, hour, owner), which is
    /// that of the files of closed days. A store by itself refuses a range of which days are closed
    /// ([`LedgerError::Archived`]): rather nothing than too little. The stream can end with
    /// [`LedgerError::Superseded`]: [`gather`] then begins anew.
    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError>;
    /// The same all at once in the order (hour, GPU, owner): for what is known to be small.
    async fn gpu_rows(&self, wanted: &Wanted) -> Result<Vec<(GpuHourKey, GpuHour)>, LedgerError> {
        let wanted = Wanted { columns: wanted.columns.and(Columns::KEYS), ..wanted.clone() };
        let take = |rows: &mut Vec<_>, piece: GpuHours| {
            rows.extend(piece.iter());
            Ok(())
        };
        let mut rows = gather(self, &wanted, Vec::new, take).await?;
        rows.sort_unstable_by_key(|(key, _)| *key);
        Ok(rows)
    }
    /// Node rows of a range in the order (hour, node).
    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError>;
    /// The version of the state of every node that has one: where none has risen, nothing was committed.
    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError>;
    /// Sum over all rows of each GPU, maxima over all rows, and which commits are in them.
    async fn totals(&self) -> Result<LedgerTotals, LedgerError>;
    /// The sums alone.
    async fn gpu_totals(&self) -> Result<Vec<GpuTotal>, LedgerError> {
        Ok(self.totals().await?.gpus)
    }

    /// Adds or replaces assets by serial, all or none.
    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError>;
    /// Every asset, by serial.
    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError>;
}
