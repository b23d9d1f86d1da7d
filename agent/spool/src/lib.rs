//! A durable queue of numbered records on disk. It knows bytes, not telemetry.
//!
//! # Layout
//!
//! A folder that belongs to one process (`lock`, held with flock) and holds
//!
//! | file | what |
//! |---|---|
//! | `00000000000000000007.segment` | records under one header; the number rises, the lowest is the oldest |
//! | `….segment.damaged` | a copy of a segment as it was when damage was found in it; for people only |
//! | `….segment.refused` | one record that the receiver will not take, as a segment; sent again under the name of one |
//! | `journal` | what is not a record yet (see [`Journal`]); written without fsync |
//!
//! # Format
//!
//! Integers are little-endian. A segment is a head and then records without gaps:
//!
//! ```text
//! head    magic "GLSPOOL\n"  8 | version  4 (= 1) | blob length  4 | first sequence  8 | crc  4 | blob
//! record  payload length     4 | crc      4       | sequence     8 | payload
//! ```
//!
//! Both checksums are CRC-32C over everything in the head or record but the checksum itself. The
//! blob is the caller's; sequences count by one from the first, which is at least 1. The journal has the same format
//! under the magic "GLJOURN\n", an empty blob, and the caller's tags in the place of sequences.
//!
//! # Numbers
//!
//! A blob is at most 256 KiB and a quarter of the cap, a record at most 8 MiB and, with all that is
//! appended in one call, half of the cap. A segment is closed at a sixteenth of the cap, but not
//! below 4 KiB nor above 16 MiB. The journal is at most 16 MiB.
//!
//! # Invariants
//!
//! 1. A record can be read only after it has been synced, and a segment takes a record only after
//!    its head and its name have been synced.
//! 2. Every record that was synced is read back exactly once and in order, until it is acknowledged
//!    or dropped. Only records whose append was never confirmed may come or be missing after a crash.
//! 3. Whatever fails, the synced records stay readable: a half-written record is cut off before
//!    anything else is written behind it, and a failed sync counts as "not written".
//! 4. The files together stay within the cap. What makes room is, in this order: copies of damaged
//!    segments and refused records, then the oldest segment; unacknowledged records in it are counted as dropped. The
//!    segment being written is never dropped.
//! 5. An acknowledgement costs no write. Whole segments vanish when all of their records are
//!    acknowledged; after a restart the receiver tells how far it had come.
//! 6. Opening never panics and never gives up sound records: a torn tail is cut off, a segment with
//!    damage keeps its sound beginning while a copy of the whole is set aside.
#![forbid(unsafe_code)]

mod aside;
mod error;
mod format;
mod fs;
mod journal;
mod read;
mod recover;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod spool;
mod write;

#[cfg(test)]
mod tests;

pub use aside::Aside;
pub use error::SpoolError;
pub use fs::{Disk, File, Filesystem};
pub use journal::{Entry, Journal};
pub use read::{Cursor, Next, Record};
pub use recover::{Damage, Recovery};
pub use spool::{Options, SegmentId, SegmentInfo, Spool};

/// Bytes of a segment's blob: an inventory of 256 GPUs takes about 40 KiB.
pub const BLOB_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one record: twice the largest message on the wire.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The last sequence that a segment may begin with: half of what there is, and more than anybody counts to.
pub const SEQUENCE_FIRST_MAX: u64 = u64::MAX / 2;
/// Bytes of the journal: hours of samples, so that it only fills up when nothing can be appended.
pub const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The smallest cap that leaves room for sixteen segments of the smallest size.
pub const CAP_BYTES_MIN: u64 = 64 * 1024;
