//! From samples to the spool: each frame is journalled at once, frames become a batch, and a batch
//! becomes a synced record that [`upload`](crate::upload) sends.
//!
//! What is on the disk: a spool segment's header is an encoded `v1::Segment` (with
//! `first_sequence` 0: the spool knows it) and its records are encoded `v1::Batch` messages; a
//! journal entry tagged 0 is such a header, and any other entry is one frame, encoded as a batch of
//! one sample behind the CRC-32C of its header, and tagged with the sequence of the batch that it goes
//! into.
//!
//! Invariants:
//! - a sequence of an epoch never has two contents: a batch keeps its bytes from the moment it is
//!   closed, whatever fails;
//! - a frame that was pushed survives the death of the process (in the journal) and, once its batch
//!   is closed, of the machine (in the spool);
//! - frames of a killed process become a batch of its own epoch, at most once: a batch that is in
//!   the spool already is not made from the journal again;
//! - while the disk takes nothing, closed batches wait in bounded memory; the oldest go first and
//!   are counted.

mod encode;
mod handle;
mod leftover;
mod recorder;
#[cfg(test)]
mod tests;

pub use handle::SpoolHandle;
pub use recorder::{Identity, RecordError, Recorder, RecorderOptions};
