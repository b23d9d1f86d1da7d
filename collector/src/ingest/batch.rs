//! A batch comes: it is new and next, or known already, or refused.

use super::stream::{End, HURRY_BATCHES, Session, acknowledge};
use super::tap::Offered;
use super::{Limit, Refusal};
use crate::latest::Arrival;
use gpuledger_ledger::OwnerKey;
use gpuledger_proto::column::Columns;
use gpuledger_proto::convert::{Malformed, columns_from_wire, holdings_from_wire};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::v1;
use prost::Message;
use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

/// Bytes of the buffers that a thread keeps: of batches of a minute of a large node. What a larger one took
/// is given back.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

thread_local! {
    static BUFFERS: RefCell<Columns> = RefCell::default();
}

/// Works with buffers that this thread keeps for one batch after the other.
fn with_buffers<T>(work: impl FnOnce(&mut Columns) -> T) -> T {
    BUFFERS.with_borrow_mut(|columns| {
        let done = work(columns);
        if columns.capacity_bytes() > BUFFER_BYTES_KEPT {
            *columns = Columns::default();
        }
        done
    })
}

impl Session {
    /// Gives the work that the batch was, in units of an [`allowance`](super::allowance).
    pub(super) async fn take_in(&mut self, mut wire: v1::Batch) -> Result<u32, End> {
        let Some(segment) = &self.segment else {
            return Err(Refusal::invalid("a batch came before its segment").into());
        };
        let (epoch, inventory) = (segment.epoch, Arc::clone(&segment.inventory));
        let latest = Arc::clone(&segment.latest);
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
        with_buffers(|columns| {
            columns_from_wire(&wire, holdings.len(), inventory.gpus.len() + 1, columns)
                .map_err(unreadable)?;
            let arrival = Arrival { at_ms: (self.shared.clock)(), skew_ms: self.skew.ms() };
            let offered = kept.map(|wire| Offered {
                node: self.node.name.clone(),
                epoch,
                inventory: Arc::clone(&inventory),
                arrived_ms: arrival.at_ms,
                wire,
            });
            let additions = self.fold((epoch, got), columns, &owners, offered, arrival.at_ms)?;
            self.shared.events.batch_folded(columns.points());
            latest.update(&inventory, columns, &holdings, arrival);
            Ok(u32::try_from(columns.points() + additions).unwrap_or(u32::MAX))
        })
    }

    /// Folds, offers to the tap, and counts the batch as waiting under the same lock: the commit task
    /// sees all of it or nothing. Gives the additions to rows.
    fn fold(
        &self,
        (epoch, sequence): (Epoch, Sequence),
        columns: &Columns,
        owners: &[Vec<(OwnerKey, u32)>],
        offered: Option<Offered>,
        now_ms: u64,
    ) -> Result<usize, Refusal> {
        let mut inner = self.node.lock();
        let folded = inner
            .fold_of(&self.mailbox)?
            .fold_columns(now_ms, sequence, columns, owners)
            .map_err(|error| Refusal::of_batch(epoch, sequence, error.to_string()))?;
        if let (Some(tap), Some(offered)) = (&self.shared.tap, offered) {
            tap.offer(offered);
        }
        inner.waiting += 1;
        inner.count_rows();
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
