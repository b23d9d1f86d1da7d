//! Bytes as the history of a node: restarts, segments, batches with any readings and any clock, and
//! commits and reloads of the fold between them.
//!
//! Holds for any history: nothing panics; no hour of a GPU has more than an hour; the rows sum to what
//! the fold remembers to have counted; a batch that is refused changes nothing, and neither does it
//! matter how often was committed. The last two are shown by a second fold, which takes in what the
//! first accepted, and is committed once.

mod books;
mod history;

use crate::bytes::Bytes;
use books::Books;
use gpuledger_collector::fold::FoldError;
use gpuledger_proto::column::Columns;
use gpuledger_proto::convert::{batch_from_wire, batch_to_wire, columns_from_wire};
use history::Node;

/// Steps of one history. More find nothing that these do not, and take longer.
const STEPS_MAX: usize = 64;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let now_ms = if bytes.coin() { u64::MAX } else { history::BEGIN_MS };
    let mut node = Node::default();
    let (mut often, mut once) = (Books::default(), Books::default());
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        let told = match bytes.pick(8) {
            0 => {
                let segment = node.segment(&mut bytes, often.expected());
                often.begin(&segment);
                once.begin(&segment);
                Some(())
            }
            1 => often.commit(),
            2 => often.commit().map(|()| {
                often.reload();
                if let Some(segment) = node.last_segment() {
                    often.begin(segment);
                    once.begin(segment);
                }
            }),
            _ => batch(&mut bytes, &mut node, now_ms, &mut often, &mut once),
        };
        // Amounts beyond a row end a history: where they are noticed depends on when is committed.
        if told.is_none() {
            return;
        }
    }
    if often.commit().and_then(|()| once.commit()).is_some() {
        often.check();
        assert_eq!(often.rows(), once.rows());
    }
}

/// One batch, over the wire, to both folds: to one as ingest does, to the other as a whole. `None` where it
/// holds more than a row can.
fn batch(
    bytes: &mut Bytes<'_>,
    node: &mut Node,
    now_ms: u64,
    often: &mut Books,
    once: &mut Books,
) -> Option<()> {
    let wire = batch_to_wire(&node.batch(bytes, often.expected()));
    let mut columns = Columns::default();
    let read = columns_from_wire(&wire, wire.holdings.len(), node.devices(), &mut columns);
    let (Ok(sequence), Ok(batch)) = (read, batch_from_wire(wire, node.devices())) else { return Some(()) };
    let owners = history::owners(&batch);
    let Ok(folded) = often.fold_columns(now_ms, sequence, &columns, &owners) else { return Some(()) };
    match once.fold(now_ms, &batch, &owners) {
        Err(FoldError::Overflow(_)) => None,
        again => {
            assert_eq!(again, Ok(folded));
            Some(())
        }
    }
}
