//! Batches that the collector refuses for what is in them.
//!
//! Such a batch would be refused for ever, and with it everything behind it. After some refusals in a
//! row it is set aside: written into a file of its own, counted as dropped, and passed over. What is
//! behind it is announced with the hole, so that the collector knows of it too.

use super::session::Broken;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1;
use gpuledger_spool::Record;
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Refusals of one batch before it is set aside: with the pauses between them half a minute and more,
/// so that a collector that is just being mended is waited for.
const REFUSALS_MAX: u32 = 5;
/// Batches that are remembered as refused for good. One that is forgotten is tried anew.
const REMEMBERED_MAX: usize = 1_024;

type Batch = (Epoch, u64);

/// What was refused, over all streams of one uplink.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The batch that was refused last, and how often in a row.
    last: Option<(Batch, u32)>,
    for_good: VecDeque<Batch>,
    /// Those of them of which there is a copy.
    aside: VecDeque<Batch>,
}

impl Refused {
    /// Takes in why a stream ended. Only another batch ends a row: a link that breaks says nothing.
    pub fn note(&self, broken: &Broken) {
        let Broken::Refused { batch: Some(batch), .. } = *broken else { return };
        let mut state = self.state();
        let times = match state.last {
            Some((last, times)) if last == batch => times + 1,
            _ => 1,
        };
        state.last = Some((batch, times));
        if times >= REFUSALS_MAX && !state.for_good.contains(&batch) {
            remember(&mut state.for_good, batch);
        }
    }

    /// Whether a batch is not to be sent any more.
    pub fn is_for_good(&self, epoch: Epoch, sequence: u64) -> bool {
        self.state().for_good.contains(&(epoch, sequence))
    }

    /// Whether a copy of it was set aside already.
    pub fn is_aside(&self, epoch: Epoch, sequence: u64) -> bool {
        self.state().aside.contains(&(epoch, sequence))
    }

    /// A copy of it was set aside.
    pub fn set_aside(&self, epoch: Epoch, sequence: u64) {
        remember(&mut self.state().aside, (epoch, sequence));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A refused batch and its segment's header as they are set aside: as the only batch of an epoch of its
/// own. In the epoch that it was written in, the collector has gone beyond its sequence, and would take
/// it for one that it knows. The same batch always gets the same epoch, so that no copy counts twice.
pub(super) fn apart(header: &[u8], record: Record) -> (Vec<u8>, Record) {
    let read = || {
        let mut segment = v1::Segment::decode(header).ok()?;
        let epoch = Epoch::from_slice(&segment.epoch).ok()?;
        let own = epoch.0.as_u128() ^ u128::from(record.sequence);
        segment.epoch = own.to_be_bytes().to_vec();
        let batch = v1::Batch { sequence: 1, ..v1::Batch::decode(record.payload.as_slice()).ok()? };
        Some((segment.encode_to_vec(), Record { sequence: 1, payload: batch.encode_to_vec() }))
    };
    read().unwrap_or_else(|| (header.to_vec(), record))
}

fn remember(batches: &mut VecDeque<Batch>, batch: Batch) {
    if batches.len() == REMEMBERED_MAX {
        batches.pop_front();
    }
    batches.push_back(batch);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(batch: Option<Batch>) -> Broken {
        Broken::Refused { reason: 2, message: String::new(), batch }
    }

    #[test]
    fn only_refusals_of_one_batch_in_a_row_are_for_good() {
        let (refused, epoch) = (Refused::default(), Epoch::begin());
        for _ in 0..REFUSALS_MAX - 1 {
            refused.note(&refusal(Some((epoch, 1))));
        }
        refused.note(&refusal(Some((epoch, 2))));
        for _ in 0..REFUSALS_MAX - 1 {
            refused.note(&refusal(Some((epoch, 1))));
            refused.note(&refusal(None));
            refused.note(&Broken::Closed);
            assert!(!refused.is_for_good(epoch, 1));
        }
        refused.note(&refusal(Some((epoch, 1))));
        assert!(refused.is_for_good(epoch, 1));
        assert!(!refused.is_for_good(epoch, 2) && !refused.is_for_good(Epoch::begin(), 1));
    }

    #[test]
    fn a_batch_apart_is_the_first_of_an_epoch_that_is_always_the_same_and_no_other_s() {
        let epoch = Epoch::begin();
        let segment = v1::Segment {
            epoch: epoch.0.as_bytes().to_vec(),
            node: "n1".to_owned(),
            ..v1::Segment::default()
        };
        let header = segment.encode_to_vec();
        let of = |sequence| {
            let payload = v1::Batch { sequence, samples: 3, ..v1::Batch::default() }.encode_to_vec();
            let (header, record) = apart(&header, Record { sequence, payload });
            let batch = v1::Batch::decode(record.payload.as_slice()).unwrap();
            assert_eq!((record.sequence, batch.sequence, batch.samples), (1, 1, 3));
            let segment = v1::Segment::decode(header.as_slice()).unwrap();
            assert_eq!(segment.node, "n1");
            Epoch::from_slice(&segment.epoch).unwrap()
        };
        assert_eq!(of(4), of(4));
        assert!(of(4) != of(5) && of(4) != epoch);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (refused, epoch) = (Refused::default(), Epoch::begin());
        for sequence in 0..2_000 {
            for _ in 0..REFUSALS_MAX {
                refused.note(&refusal(Some((epoch, sequence))));
            }
        }
        assert_eq!(refused.state().for_good.len(), REMEMBERED_MAX);
        assert!(refused.is_for_good(epoch, 1_999) && !refused.is_for_good(epoch, 0));
    }
}
