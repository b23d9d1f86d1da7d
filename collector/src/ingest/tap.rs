//! Where whole batches leave ingest for somebody else, beside the ledger.
//!
//! A tap is offered every batch that was folded, as it came on the wire, and is synced before the
//! commit that holds the batch. So what an agent is told to forget is durable in the tap as well.
//! A batch whose commit failed comes again and is offered again: who drinks from the tap knows it by
//! its epoch and sequence.
//!
//! Invariant: a tap never holds ingest up and never fails it. What it cannot keep it drops, and says so.

use async_trait::async_trait;
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::{Epoch, NodeName};
use std::sync::Arc;

/// A batch that was folded.
#[derive(Debug, Clone)]
pub struct Offered {
    pub node: NodeName,
    pub epoch: Epoch,
    /// What the device positions in the batch refer to.
    pub inventory: Arc<Inventory>,
    /// The collector's wall clock when it came.
    pub arrived_ms: u64,
    /// The message `gpuledger.v1.Batch` that was checked and folded.
    pub wire: Vec<u8>,
}

#[async_trait]
pub trait Tap: Send + Sync {
    /// Takes a batch. Called with the node's lock held, before a commit can see the batch: returns at once.
    fn offer(&self, batch: Offered);

    /// Makes durable what was offered before the call, as far as the tap can.
    async fn sync(&self);
}
