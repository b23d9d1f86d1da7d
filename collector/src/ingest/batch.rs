//! A batch comes: it is new and next, or known already, or refused.

use super::stream::{End, HURRY_BATCHES, Session, acknowledge};
use super::tap::Offered;
use super::{Limit, Refusal};
use crate::latest::Arrival;
use gpuledger_ledger::OwnerKey;
use gpuledger_proto::convert::{Malformed, batch_with_holdings, holdings_from_wire};
use gpuledger_proto::frame::Batch;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::v1;
use prost::Message;
use std::sync::{Arc, PoisonError};

impl Session {
    /// Gives the work that the batch was, in units of an [`allowance`](super::allowance).
    pub(super) async fn take_in(&mut self, mut wire: v1::Batch) -> Result<u32, End> {
        let Some(segment) = &self.segment else {
            return Err(Refusal::invalid("a batch came before its segment").into());
        };
        let (epoch, inventory) = (segment.epoch, Arc::clone(&segment.inventory));
        let got = Sequence(wire.sequence);
        let (folded, expected) = self.with_fold(|fold| (fold.folded(epoch), fold.expected()))?;
        let folded = folded.unwrap_or(Sequence::NONE);
        if got > folded && expected.is_some_and(|expected| got != expected) {
            let message = format!("batch {got} of epoch {epoch} does not follow batch {folded}");
            return Err(Refusal::beyond(Limit::Sequence, message).into());
        }
        let settled = self.segment.as_mut().and_then(|segment| segment.hear(got));
        if got <= folded && got > Sequence::NONE {
            self.shared.events.batch_repeated();
            if let Some(up_to) = settled {
                acknowledge(&self.out, epoch, up_to).await?;
            }
            return Ok(0);
        }
        let kept = self.shared.tap.is_some().then(|| wire.encode_to_vec());
        let unreadable = |error: Malformed| Refusal::of_batch(epoch, got, error.to_string());
        let holdings = holdings_from_wire(std::mem::take(&mut wire.holdings)).map_err(unreadable)?;
        let may_ask = |new| self.account.name_owners(new);
        let owners = self.shared.owners.resolve(&*self.shared.ledger, &holdings, may_ask).await?;
        // Decoded only now: a batch is many times as large then, and does not wait for anything any more.
        let batch = batch_with_holdings(&wire, holdings, inventory.gpus.len() + 1).map_err(unreadable)?;
        let arrival = Arrival { at_ms: (self.shared.clock)(), skew_ms: self.skew.ms() };
        let offered = kept.map(|wire| Offered {
            node: self.node.name.clone(),
            epoch,
            inventory: Arc::clone(&inventory),
            arrived_ms: arrival.at_ms,
            wire,
        });
        let additions = self.fold(epoch, &batch, &owners, offered)?;
        self.shared.events.batch_folded(batch.points());
        self.shared.latest.update(&self.node.name, &inventory, &batch, arrival);
        Ok(u32::try_from(batch.points() + additions).unwrap_or(u32::MAX))
    }

    /// Folds, offers to the tap, and counts the batch as waiting under the same lock: the commit task
    /// sees all of it or nothing. Gives the additions to rows.
    fn fold(
        &self,
        epoch: Epoch,
        batch: &Batch,
        owners: &[Vec<(OwnerKey, u32)>],
        offered: Option<Offered>,
    ) -> Result<usize, Refusal> {
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
        Ok(folded.additions)
    }
}
