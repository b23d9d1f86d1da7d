//! The bounded queue on disk between ingest and the receiver.
//!
//! Batches gather in memory until the commit that holds them, then one [`Record`] after another is
//! appended and synced. What gathers faster than commits come is spilled to the disk early, so memory
//! stays bounded however long a commit takes. A full queue drops its oldest segment. A queue that
//! cannot be written drops what came: ingest goes on in every case, and what was dropped is counted.
//!
//! Invariant: the lock of the spool is taken before what gathered is taken, so records are in the order
//! in which batches were offered.

use super::events::Events;
use super::record::{Kept, Record, Source};
use crate::ingest::Clock;
use crate::ingest::tap::{Offered, Tap};
use async_trait::async_trait;
use gpuledger_proto::convert::inventory_to_wire;
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::Epoch;
use gpuledger_spool::{Cursor, Filesystem, Next, Options, SegmentId, Spool, SpoolError};
use prost::Message;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes of batches that gather before they are written without waiting for a commit.
const SPILL_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of batches that may wait for a disk that does not keep up; what comes then is dropped.
const GATHERED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of batches in one record, if there are several: what is decoded and rendered at one time.
const RECORD_BYTES: usize = 1024 * 1024;
/// Parts of the cap that a segment takes at most, and its largest size. Half of what the spool itself
/// would put into one, so that it never begins another by itself.
const SEGMENTS_PER_CAP: u64 = 32;
const SEGMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Says whose segments these are.
const HEADER: &[u8] = b"gpuledger remote write 1";
/// Silence after which a record carries the time alone.
const TICK_MS: u64 = 30_000;

pub struct Queue {
    written: Mutex<Written>,
    gathered: Mutex<Gathered>,
    /// Something was written.
    pub arrived: Notify,
    clock: Clock,
    events: Arc<Events>,
}

/// What is on the disk.
struct Written {
    spool: Spool,
    /// Bytes of records in the open segment.
    segment_bytes: u64,
    segment_bytes_max: u64,
    segment: Option<SegmentId>,
    /// Whose batches can be told by their epoch alone in the open segment.
    known: HashMap<Epoch, Arc<Inventory>>,
    next_sequence: u64,
    /// Batches that were ever queued.
    batches: u64,
    /// When the last record was written, by the collector's clock.
    at_ms: u64,
}

#[derive(Default)]
struct Gathered {
    batches: Vec<Offered>,
    bytes: usize,
    spilling: bool,
}

/// Where the queue goes on when nothing is left in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub sequence: u64,
    pub batches: u64,
}

impl Queue {
    /// Opens the queue in a folder. `after` is what is known to have been in it.
    pub fn open(
        fs: Arc<dyn Filesystem>,
        folder: &Path,
        cap_bytes: u64,
        after: Count,
        clock: Clock,
        events: Arc<Events>,
    ) -> Result<Arc<Self>, SpoolError> {
        let (mut spool, _journal, _entries, recovery) = Spool::open_on(fs, folder, Options { cap_bytes })?;
        for damage in &recovery.damaged {
            Events::queue_damaged(damage);
        }
        let last = last_count(&mut spool)?;
        let written = Written {
            spool,
            segment_bytes: 0,
            segment_bytes_max: (cap_bytes / SEGMENTS_PER_CAP).min(SEGMENT_BYTES_MAX),
            segment: None,
            known: HashMap::new(),
            next_sequence: last.sequence.max(after.sequence).saturating_add(1),
            batches: last.batches.max(after.batches),
            at_ms: 0,
        };
        Ok(Arc::new(Self {
            written: Mutex::new(written),
            gathered: Mutex::default(),
            arrived: Notify::new(),
            clock,
            events,
        }))
    }

    /// Writes and syncs what has gathered.
    pub fn flush(&self) {
        let mut written = lock(&self.written);
        let gathered = std::mem::take(&mut *lock(&self.gathered));
        if gathered.batches.is_empty() {
            return;
        }
        let now_ms = (self.clock)();
        for batches in in_records(&gathered.batches) {
            match written.append(batches, now_ms) {
                Ok(()) => self.events.queue_works(),
                Err(error) => self.events.queue_failed(batches.len(), &error),
            }
        }
        drop(written);
        self.arrived.notify_one();
    }

    /// Lets time go on for who reads, where nothing else did for a while.
    pub fn tick(&self) {
        let now_ms = (self.clock)();
        let mut written = lock(&self.written);
        if now_ms.abs_diff(written.at_ms) >= TICK_MS {
            // What cannot be written is told by the next batch: time alone is no loss.
            let _ = written.append(&[], now_ms);
        }
    }

    /// Everything up to this record is done with, for good.
    pub fn release(&self, sequence: u64) -> Result<(), SpoolError> {
        let mut written = lock(&self.written);
        let done: Vec<_> = written.spool.segments().filter(|s| s.first_sequence <= sequence).collect();
        done.into_iter().try_for_each(|segment| written.spool.acknowledge(segment.id, sequence))
    }

    /// Bytes of records that were not released.
    pub fn waiting_bytes(&self) -> u64 {
        lock(&self.written).spool.waiting_bytes()
    }
}

/// The queue as ingest sees it.
pub struct QueueTap(pub Arc<Queue>);

#[async_trait]
impl Tap for QueueTap {
    fn offer(&self, batch: Offered) {
        let queue = &self.0;
        let mut gathered = lock(&queue.gathered);
        if gathered.bytes + batch.wire.len() > GATHERED_BYTES_MAX {
            drop(gathered);
            return queue.events.queue_behind();
        }
        gathered.bytes += batch.wire.len();
        gathered.batches.push(batch);
        if gathered.bytes >= SPILL_BYTES && !std::mem::replace(&mut gathered.spilling, true) {
            let queue = Arc::clone(queue);
            // What gathers then has a new flag: nothing waits for this task.
            drop(tokio::task::spawn_blocking(move || queue.flush()));
        }
    }

    async fn sync(&self) {
        let queue = Arc::clone(&self.0);
        // It fails only when the process ends: then nothing is acknowledged either.
        let _ = tokio::task::spawn_blocking(move || queue.flush()).await;
    }
}

impl Written {
    fn append(&mut self, batches: &[Offered], now_ms: u64) -> Result<(), SpoolError> {
        let done = self.try_append(batches, now_ms);
        if done.is_err() {
            // Nobody knows which sources lie in the segment.
            self.known.clear();
        }
        done
    }

    fn try_append(&mut self, batches: &[Offered], now_ms: u64) -> Result<(), SpoolError> {
        if self.segment.is_none() {
            self.begin_segment()?;
        }
        let mut payload = self.record(batches, now_ms);
        if self.segment_bytes > 0 && self.segment_bytes + payload.len() as u64 > self.segment_bytes_max {
            self.begin_segment()?;
            payload = self.record(batches, now_ms);
        }
        let sequence = self.spool.append(&[&payload])?;
        self.segment_bytes += payload.len() as u64;
        self.next_sequence = sequence.saturating_add(1);
        self.batches += batches.len() as u64;
        self.at_ms = now_ms;
        let segment = self.spool.segments().last().map(|segment| segment.id);
        if segment != self.segment {
            // The one before was damaged, and the spool has begun another one.
            self.known.clear();
            self.segment = segment;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        self.segment = Some(self.spool.begin_segment(HEADER, self.next_sequence)?);
        self.segment_bytes = 0;
        self.known.clear();
        Ok(())
    }

    fn record(&mut self, batches: &[Offered], now_ms: u64) -> Vec<u8> {
        let kept = batches.iter().map(|batch| Kept {
            epoch: batch.epoch.0.as_bytes().to_vec(),
            arrived_ms: batch.arrived_ms,
            batch: batch.wire.clone(),
            source: self.source(batch),
        });
        let kept = kept.collect();
        Record { at_ms: now_ms, first: self.batches, kept }.encode_to_vec()
    }

    /// Whose batch it is, unless the segment says so already.
    fn source(&mut self, batch: &Offered) -> Option<Source> {
        let known = self.known.get(&batch.epoch);
        let is_known =
            |known: &Arc<Inventory>| Arc::ptr_eq(known, &batch.inventory) || **known == *batch.inventory;
        if known.is_some_and(is_known) {
            return None;
        }
        self.known.insert(batch.epoch, Arc::clone(&batch.inventory));
        Some(Source {
            node: batch.node.as_str().to_owned(),
            inventory: Some(inventory_to_wire(&batch.inventory)),
        })
    }
}

/// Batches in runs that make one record each.
fn in_records(batches: &[Offered]) -> impl Iterator<Item = &[Offered]> {
    let mut rest = batches;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |batch: &&Offered| {
            bytes += batch.wire.len();
            bytes <= RECORD_BYTES
        };
        let run = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (now, later) = rest.split_at(run);
        rest = later;
        (run > 0).then_some(now)
    })
}

/// The last record in the spool.
fn last_count(spool: &mut Spool) -> Result<Count, SpoolError> {
    let Some(last) = spool.segments().filter(|s| s.next_sequence > s.first_sequence).last() else {
        return Ok(Count::default());
    };
    let sequence = last.next_sequence - 1;
    let mut count = Count { sequence, batches: 0 };
    if let Some(mut cursor) = spool.cursor(last.id, sequence.saturating_sub(1))?
        && let Next::Record(found) = spool.next(&mut cursor)?
        && let Ok(record) = Record::decode(found.payload.as_slice())
    {
        count.batches = record.first.saturating_add(record.kept.len() as u64);
    }
    Ok(count)
}

/// Reads the queue from behind a record.
pub struct Reader {
    queue: Arc<Queue>,
    cursor: Option<Cursor>,
    segment: Option<SegmentId>,
    after: u64,
}

/// What comes next in the queue.
#[derive(Debug, PartialEq)]
pub enum Found {
    Record {
        sequence: u64,
        bytes: u64,
        record: Record,
    },
    /// A record that this version cannot read.
    Unreadable {
        sequence: u64,
        bytes: u64,
    },
    /// Nothing yet.
    Nothing,
}

impl Reader {
    pub fn new(queue: Arc<Queue>, after: u64) -> Self {
        Self { queue, cursor: None, segment: None, after }
    }

    pub fn next(&mut self) -> Result<Found, SpoolError> {
        let mut written = lock(&self.queue.written);
        let spool = &mut written.spool;
        loop {
            if self.cursor.is_none() {
                let Some(next) = spool.segment_after(self.segment) else { return Ok(Found::Nothing) };
                self.cursor = spool.cursor(next.id, self.after)?;
                self.segment = Some(next.id);
            }
            let Some(cursor) = &mut self.cursor else { continue };
            match spool.next(cursor)? {
                Next::Record(found) => {
                    let (sequence, bytes) = (found.sequence, found.payload.len() as u64);
                    self.after = sequence;
                    return Ok(match Record::decode(found.payload.as_slice()) {
                        Ok(record) => Found::Record { sequence, bytes, record },
                        Err(_) => Found::Unreadable { sequence, bytes },
                    });
                }
                Next::Wait => return Ok(Found::Nothing),
                Next::End | Next::Gone => self.cursor = None,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub mod tests;
