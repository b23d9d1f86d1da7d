//! A segment opens: what it says is checked, its GPUs are found, and taken over where another node
//! holds them.

use super::holder::{self, TakenOver};
use super::stream::{End, Session, send};
use super::{Limit, Refusal};
use crate::latest::Slot;
use gpuledger_ledger::NodeRecord;
use gpuledger_proto::convert::{inventory_from_wire, sequence_from_wire};
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::v1;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use std::sync::Arc;
use uuid::Uuid;

/// What the batches refer to at present.
pub(super) struct Segment {
    pub epoch: Epoch,
    pub inventory: Arc<Inventory>,
    /// Where the node's last sample goes.
    pub latest: Arc<Slot>,
    /// Last sequence of the epoch that is committed, as far as this stream knows.
    pub committed: Sequence,
    /// Last sequence that the agent has sent on this stream, or was told to be committed when it
    /// opened the segment. A commit of what came on the stream before may be ahead of it.
    pub heard: Sequence,
}

impl Segment {
    /// Notes that a batch came; gives what to acknowledge where it is committed already.
    pub fn hear(&mut self, sequence: Sequence) -> Option<Sequence> {
        self.heard = self.heard.max(sequence);
        (sequence <= self.committed).then(|| self.acknowledged())
    }

    /// What the agent may be told: nothing that it has not sent on this stream, which it would take
    /// for a mistake.
    pub fn acknowledged(&self) -> Sequence {
        self.committed.min(self.heard)
    }
}

/// A segment as announced, checked.
struct Announced {
    epoch: Epoch,
    boot: Option<Uuid>,
    first: Sequence,
    inventory: Arc<Inventory>,
}

impl Session {
    pub(super) async fn open(&mut self, wire: v1::Segment) -> Result<(), End> {
        let Announced { epoch, boot, first, inventory } = self.check(wire)?;
        let ledger = &self.shared.ledger;
        // Before anything is registered: who sends another node's spool changes nothing.
        let stored = ledger.sequence(self.node.key, epoch).await.map_err(|e| Refusal::by_ledger(&e))?;
        if stored == Sequence::NONE && self.with_fold(|fold| fold.folded(epoch))?.is_none() {
            self.account.begin_epoch()?;
        }
        self.account.show_inventory(&inventory)?;
        let gpus = ledger.register(self.node.key, &inventory).await.map_err(|e| Refusal::by_ledger(&e))?;
        let uuids = inventory.gpus.iter().map(|gpu| gpu.uuid.as_str());
        let named: Vec<_> = gpus.iter().copied().zip(uuids).collect();
        let held = self.with_fold(|fold| holder::elsewhere(self.node.key, &named, fold))?;
        // Whose they are, for people.
        let holders = if held.is_empty() { Vec::new() } else { self.nodes().await? };
        for held in held {
            let state = ledger.state(held.from).await.map_err(|e| Refusal::by_ledger(&e))?;
            self.with_fold(|fold| fold.take_over(held.from, &state, &held.gpus))?
                .map_err(|error| self.unusable(error.to_string()))?;
            if let Some(record) = holders.iter().find(|record| record.key == held.from) {
                let taken = TakenOver { from: record.name.clone(), uuids: held.uuids };
                self.node.lock().taken_over.push(taken);
            }
        }
        let gpus = gpus.into_iter().map(|gpu| gpu.key).collect();
        self.with_fold(|fold| fold.begin_segment(epoch, boot, gpus, stored, first))?;
        let before = self.segment.as_ref().filter(|before| before.epoch == epoch);
        let heard = before.map_or(stored, |before| before.heard.max(stored));
        let latest = self.shared.latest.slot(&self.node.name);
        self.segment = Some(Segment { epoch, inventory, latest, committed: stored, heard });
        let opened = v1::Opened { epoch: epoch.0.as_bytes().to_vec(), committed_sequence: stored.0 };
        send(&self.out, Answer::Opened(opened)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, Refusal> {
        self.shared.ledger.nodes().await.map_err(|e| Refusal::by_ledger(&e))
    }

    fn check(&self, wire: v1::Segment) -> Result<Announced, Refusal> {
        let epoch =
            Epoch::from_slice(&wire.epoch).map_err(|e| Refusal::invalid(format!("segment.epoch: {e}")))?;
        let boot = match wire.boot_id.as_slice() {
            [] => None,
            bytes => Some(Uuid::from_slice(bytes).map_err(|_| {
                Refusal::invalid(format!("segment.boot_id: expected 16 bytes or none, not {}", bytes.len()))
            })?),
        };
        let first = sequence_from_wire(wire.first_sequence, "segment.first_sequence")
            .map_err(|e| Refusal::beyond(Limit::Sequence, e.to_string()))?;
        // Agents before the first that tells it leave it out.
        if !wire.node.is_empty() && wire.node != self.node.name.as_str() {
            let (wrote, sends) = (wire.node, &self.node.name);
            let message = format!(
                "segment.node: it was written by node {wrote:?}, and {:?} sends it: its spool was copied from there",
                sends.as_str()
            );
            return Err(Refusal::invalid(message));
        }
        let inventory =
            wire.inventory.ok_or_else(|| Refusal::invalid("segment.inventory: required field is missing"))?;
        let inventory =
            inventory_from_wire(inventory).map_err(|e| Refusal::beyond(Limit::Inventory, e.to_string()))?;
        Ok(Announced { epoch, boot, first, inventory: Arc::new(inventory) })
    }

    /// The fold is in no defined state: what waits is dropped with it, and comes again from the agent.
    fn unusable(&self, message: String) -> Refusal {
        let refusal = Refusal::invalid(message);
        self.node.discard(refusal.clone());
        refusal
    }
}
