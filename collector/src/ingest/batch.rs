//! A batch comes: it is new and next, or known already, or refused.

use super::Refusal;
use super::stream::{End, HURRY_BATCHES, Session, acknowledge};
use super::tap::Offered;
use crate::latest::Arrival;
use gpuledger_ledger::OwnerKey;
use gpuledger_proto::convert::batch_from_wire;
use gpuledger_proto::frame::Batch;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::v1;
use prost::Message;
use std::sync::{Arc, PoisonError};

impl Session {
    pub(super) async fn take_in(&mut self, wire: v1::Batch) -> Result<(), End> {
        let Some(segment) = &self.segment else {
            return Err(Refusal::invalid("a batch came before its segment").into());
        };
        let (epoch, inventory) = (segment.epoch, Arc::clone(&segment.inventory));
        let got = Sequence(wire.sequence);
        let (folded, expected) = self.with_fold(|fold| (fold.folded(epoch), fold.expected()))?;
        let folded = folded.unwrap_or(Sequence::NONE);
        if got > folded && expected.is_some_and(|expected| got != expected) {
            let message = format!("batch {got} of epoch {epoch} does not follow batch {folded}");
            return Err(Refusal::invalid(message).into());
        }
        let settled = self.segment.as_mut().and_then(|segment| segment.hear(got));
        if got <= folded && got > Sequence::NONE {
            self.shared.events.batch_repeated();
            return match settled {
                Some(up_to) => acknowledge(&self.out, epoch, up_to).await,
                None => Ok(()),
            };
        }
        let kept = self.shared.tap.is_some().then(|| wire.encode_to_vec());
        let batch = batch_from_wire(wire, inventory.gpus.len() + 1)
            .map_err(|error| Refusal::of_batch(epoch, got, error.to_string()))?;
        let owners = self.shared.owners.resolve(&*self.shared.ledger, &batch.holdings).await?;
        let arrival = Arrival { at_ms: (self.shared.clock)(), skew_ms: self.skew.ms() };
        let offered = kept.map(|wire| Offered {
            node: self.node.name.clone(),
            epoch,
            inventory: Arc::clone(&inventory),
            arrived_ms: arrival.at_ms,
            wire,
        });
        self.fold(epoch, &batch, &owners, offered)?;
        self.shared.events.batch_folded(batch.points());
        self.shared.latest.update(&self.node.name, &inventory, &batch, arrival);
        Ok(())
    }

    /// Folds, offers to the tap, and counts the batch as waiting under the same lock: the commit task
    /// sees all of it or nothing.
    fn fold(
        &self,
        epoch: Epoch,
        batch: &Batch,
        owners: &[Vec<(OwnerKey, u32)>],
        offered: Option<Offered>,
    ) -> Result<(), Refusal> {
        let now_ms = (self.shared.clock)();
        let mut inner = self.node.lock();
        let folded = match inner.fold_of(&self.mailbox)?.fold_by(now_ms, batch, owners) {
            Ok(folded) => folded,
            Err(error) => return Err(Refusal::of_batch(epoch, batch.sequence, error.to_string())),
        };
        if let (Some(tap), Some(offered)) = (&self.shared.tap, offered) {
            tap.offer(offered);
        }
        inner.waiting += 1;
        inner.lost_batches += folded.lost_batches;
        inner.ahead_samples += folded.ahead_samples;
        let hurry = inner.waiting >= HURRY_BATCHES || inner.is_full();
        let listed = std::mem::replace(&mut inner.listed, true);
        drop(inner);
        if !listed {
            let mut changed = self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner);
            changed.push(Arc::clone(&self.node));
        }
        if hurry {
            self.shared.hurry.notify_one();
        }
        self.shared.events.clock_ahead(&self.node.name, folded.ahead_samples > 0);
        Ok(())
    }
}
