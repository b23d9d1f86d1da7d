//! The recorder: journal, batch, spool.

use super::encode;
use super::handle::SpoolHandle;
use super::leftover::{self, Closed};
use gpuledger_proto::convert::{Malformed, inventory_from_wire, inventory_to_wire};
use gpuledger_proto::frame::{Frame, Inventory};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use gpuledger_proto::limits::{HOLDINGS_PER_BATCH_MAX, SAMPLES_PER_BATCH_MAX};
use gpuledger_proto::reading::Reading;
use gpuledger_spool::{Disk, Filesystem, Journal, Options, Recovery, Spool, SpoolError};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Readings of one batch: the worst encoding of so many stays below the largest message, and the
/// memory of an open batch below 8 MiB.
const READINGS_PER_BATCH_MAX: usize = 256 * 1024;
/// Bytes of closed batches that wait in memory while the disk takes nothing: about an hour of a
/// node with 8 GPUs.
const CLOSED_BYTES_MAX: usize = 1024 * 1024;
/// Batches that are appended with one sync after the disk was in trouble.
const BATCHES_PER_SYNC: usize = 64;

/// How samples are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderOptions {
    /// Bytes that the spool may take on the disk; when it is full the oldest segment is dropped.
    pub cap_bytes: u64,
    /// Time that a batch spans, by the boot-time clock.
    pub batch_ms: u64,
    /// Whether each frame is written to the journal at once. Without it, a killed process loses the
    /// batch that it was gathering: for a replay, which can be repeated.
    pub journal: bool,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        // A GiB holds about 40 days of a node with 8 GPUs.
        Self { cap_bytes: 1024 * 1024 * 1024, batch_ms: 10_000, journal: true }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the inventory cannot be recorded: {0}")]
    Inventory(Malformed),
    #[error("a frame with {given} devices does not belong to an inventory with {expected}")]
    Devices { given: usize, expected: usize },
    #[error(
        "the spool in {} was written by an agent of node {found:?}, and this one is of node {given:?}: start it \
         once more with node = {found:?} and stop it when all is sent, or move the folder away", folder.display()
    )]
    OtherNode { folder: PathBuf, found: String, given: NodeName },
    #[error("no inventory is set: a frame cannot be recorded before its devices are known")]
    NoInventory,
}

/// Who records: what every segment of this run says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub node: NodeName,
    /// Has to be new: see [`Epoch::begin`].
    pub epoch: Epoch,
    /// The kernel's boot; `None` where the system has no identity of it.
    pub boot_id: Option<Uuid>,
}

/// Turns frames into batches in the spool. Blocks on the disk: it lives on a thread of its own.
pub struct Recorder {
    spool: SpoolHandle,
    journal: Journal,
    options: RecorderOptions,
    identity: Identity,
    inventory: Option<InForce>,
    open: OpenBatch,
    /// Sequence of the open batch.
    sequence: Sequence,
    /// Batches that are not in the spool yet; more than one only while the disk is in trouble.
    closed: VecDeque<Closed>,
    closed_bytes: usize,
    /// Header of the spool's open segment.
    spool_header: Option<Arc<Vec<u8>>>,
    /// Header that the journal's next frame stands under.
    journal_header: Option<Arc<Vec<u8>>>,
    dropped_batches: u64,
    /// What the last failure said: trouble is logged when it begins and when it ends.
    trouble: Option<String>,
}

/// The inventory that frames refer to.
struct InForce {
    inventory: Inventory,
    devices: usize,
    header: Arc<Vec<u8>>,
}

#[derive(Default)]
struct OpenBatch {
    frames: Vec<Frame>,
    readings: usize,
    /// Upper bound of the shares of all different holdings, and so of the holdings.
    shares: usize,
}

impl Recorder {
    /// Opens the spool in a folder. What a killed process left in the journal becomes a batch of
    /// its own epoch. A spool that another node wrote is left as it is ([`RecordError::OtherNode`]).
    pub fn open(
        folder: &Path,
        options: RecorderOptions,
        identity: Identity,
    ) -> Result<(Self, SpoolHandle), RecordError> {
        Self::open_on(Arc::new(Disk), folder, options, identity)
    }

    /// [`Recorder::open`] on another file system.
    pub fn open_on(
        fs: Arc<dyn Filesystem>,
        folder: &Path,
        options: RecorderOptions,
        identity: Identity,
    ) -> Result<(Self, SpoolHandle), RecordError> {
        let spool_options = Options { cap_bytes: options.cap_bytes };
        let (mut spool, journal, entries, recovery) = Spool::open_on(fs, folder, spool_options)?;
        report(folder, &recovery);
        if let Some(found) = leftover::other_node(&entries, &mut spool, &identity.node)? {
            return Err(RecordError::OtherNode { folder: folder.to_owned(), found, given: identity.node });
        }
        let (closed, unreadable) = leftover::batches(&entries, &mut spool)?;
        if unreadable > 0 {
            tracing::warn!(folder = %folder.display(), unreadable, "left out journal entries that another version wrote or a power failure tore");
        }
        let spool = SpoolHandle::new(spool);
        let mut recorder = Self {
            spool: spool.clone(),
            journal,
            options,
            identity,
            inventory: None,
            open: OpenBatch::default(),
            sequence: Sequence(1),
            closed_bytes: closed.iter().map(|c| c.payload.len()).sum(),
            closed: closed.into(),
            spool_header: None,
            journal_header: None,
            dropped_batches: 0,
            trouble: None,
        };
        recorder.settle();
        Ok((recorder, spool))
    }

    /// What the positions in the frames from here on refer to. Closes the open batch; the same
    /// inventory again changes nothing.
    pub fn set_inventory(&mut self, inventory: Inventory) -> Result<(), RecordError> {
        if self.inventory.as_ref().is_some_and(|set| set.inventory == inventory) {
            return Ok(());
        }
        // A collector would refuse what we cannot read ourselves, and all that stands behind it.
        inventory_from_wire(inventory_to_wire(&inventory)).map_err(RecordError::Inventory)?;
        self.close();
        let header = Arc::new(encode::segment_header(&self.identity, &inventory));
        self.inventory = Some(InForce { devices: inventory.gpus.len() + 1, inventory, header });
        Ok(())
    }

    /// Takes a frame. It is refused only when it does not belong to the inventory: what the disk
    /// does not take now is kept in memory and tried again.
    pub fn push(&mut self, frame: Frame) -> Result<(), RecordError> {
        let expected = self.inventory.as_ref().ok_or(RecordError::NoInventory)?.devices;
        if frame.devices.len() != expected {
            return Err(RecordError::Devices { given: frame.devices.len(), expected });
        }
        if !self.open.takes(&frame, self.options.batch_ms) {
            self.close();
        }
        if self.options.journal {
            self.write_journal(&frame);
        }
        self.open.push(frame);
        Ok(())
    }

    /// Closes the open batch and writes everything to the spool. After an error it is still kept in
    /// memory.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.end_batch();
        let written = self.write_closed();
        self.note(written.as_ref().err());
        Ok(written?)
    }

    /// Batches that were dropped since the start: by a full spool, by a disk that took nothing for
    /// too long, or because they were damaged.
    pub fn dropped_batches(&self) -> u64 {
        self.dropped_batches + self.spool.dropped_batches()
    }

    /// Sequence of the batch that frames go into at present.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Closed batches that are in memory only, because the disk takes nothing.
    pub fn unsaved_batches(&self) -> usize {
        self.closed.len()
    }

    /// Bytes that wait to be acknowledged, on the disk and in memory.
    pub fn bytes(&self) -> u64 {
        self.spool.waiting_bytes() + self.closed_bytes as u64
    }

    fn close(&mut self) {
        self.end_batch();
        self.settle();
    }

    /// Turns the open frames into bytes that never change again.
    fn end_batch(&mut self) {
        let Some(set) = &self.inventory else { return };
        let open = std::mem::take(&mut self.open);
        if open.frames.is_empty() {
            return;
        }
        let sequence = self.sequence;
        self.sequence = sequence.next();
        match encode::batch(sequence, &open.frames, set.devices) {
            Ok(payload) => {
                self.closed_bytes += payload.len();
                self.closed.push_back(Closed { header: Arc::clone(&set.header), sequence, payload });
            }
            Err(error) => {
                self.dropped_batches += 1;
                tracing::error!(%sequence, %error, "dropped a batch that no collector would take");
            }
        }
    }

    /// Writes what is closed, and keeps within memory what the disk does not take.
    fn settle(&mut self) {
        let written = self.write_closed();
        self.note(written.as_ref().err());
        while self.closed_bytes > CLOSED_BYTES_MAX && !self.closed.is_empty() {
            self.forget_closed(1);
            self.dropped_batches += 1;
        }
    }

    /// Lets the oldest closed batches go: they are in the spool, or given up.
    fn forget_closed(&mut self, count: usize) {
        let bytes: usize = self.closed.drain(..count).map(|c| c.payload.len()).sum();
        self.closed_bytes -= bytes;
    }

    fn write_closed(&mut self) -> Result<(), SpoolError> {
        let mut most = BATCHES_PER_SYNC;
        while let Some(first) = self.closed.front() {
            let header = Arc::clone(&first.header);
            let run = self.closed.iter().enumerate().take(most).take_while(|(offset, closed)| {
                closed.header == header && closed.sequence.0 == first.sequence.0 + *offset as u64
            });
            let payloads: Vec<&[u8]> = run.map(|(_, closed)| closed.payload.as_slice()).collect();
            let count = payloads.len();
            let appended = self.spool.with(|spool| {
                let continues = self.spool_header.as_ref() == Some(&header);
                if !continues || spool.next_sequence() != Some(first.sequence.0) {
                    spool.begin_segment(&header, first.sequence.0)?;
                    self.spool_header = Some(header);
                }
                spool.append(&payloads)
            });
            match appended {
                Ok(_) => {
                    self.forget_closed(count);
                    self.spool.announce_appended();
                }
                // Together they are too large for a small cap.
                Err(SpoolError::TooLarge { .. }) if count > 1 => most = 1,
                // It will not fit later either.
                Err(SpoolError::TooLarge { .. }) => {
                    self.forget_closed(1);
                    self.dropped_batches += 1;
                    tracing::error!("dropped a batch that is too large for the spool's cap");
                }
                Err(error) => return Err(error),
            }
        }
        if self.open.frames.is_empty() {
            self.journal.clear()?;
            self.journal_header = None;
        }
        Ok(())
    }

    fn write_journal(&mut self, frame: &Frame) {
        let Some(set) = &self.inventory else { return };
        let bytes = encode::frame(&set.header, self.sequence, frame);
        let entry = (self.sequence.0, bytes.as_slice());
        let written = if self.journal_header.as_ref() == Some(&set.header) {
            self.journal.append(&[entry])
        } else {
            self.journal.append(&[(0, set.header.as_slice()), entry])
        };
        if written.is_ok() {
            self.journal_header = Some(Arc::clone(&set.header));
        }
        // A journal that works again does not end a trouble of the spool.
        if let Err(error) = &written {
            self.note(Some(error));
        }
    }

    /// Logs when the disk stops taking data, and when it takes them again.
    fn note(&mut self, error: Option<&SpoolError>) {
        match (error.map(ToString::to_string), &self.trouble) {
            (Some(now), None) => {
                tracing::warn!(error = %now, "cannot write to the spool; keeping samples in memory and trying again");
                self.trouble = Some(now);
            }
            (None, Some(before)) => {
                tracing::info!(was = %before, dropped = self.dropped_batches, "the spool takes samples again");
                self.trouble = None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

impl OpenBatch {
    /// Whether the frame still belongs into this batch.
    fn takes(&self, frame: &Frame, batch_ms: u64) -> bool {
        let (Some(first), Some(last)) = (self.frames.first(), self.frames.last()) else { return true };
        let now_ms = frame.stamp.boot_ms;
        // A clock that goes backwards has no place in one batch.
        now_ms >= last.stamp.boot_ms
            && now_ms - first.stamp.boot_ms < batch_ms
            && self.frames.len() < SAMPLES_PER_BATCH_MAX
            && self.readings + readings(frame) <= READINGS_PER_BATCH_MAX
            && self.shares + self.new_shares(frame) <= HOLDINGS_PER_BATCH_MAX
    }

    fn push(&mut self, frame: Frame) {
        self.readings += readings(&frame);
        self.shares += self.new_shares(&frame);
        self.frames.push(frame);
    }

    /// Shares of the holdings that differ from the frame before: at most so many are new to the
    /// batch. Their names bound its bytes together with the readings.
    fn new_shares(&self, frame: &Frame) -> usize {
        let before = self.frames.last();
        let new = |(position, device): (usize, &gpuledger_proto::frame::DeviceFrame)| {
            let same = before.and_then(|b| b.devices.get(position)).map(|d| &d.holding);
            match &device.holding {
                Some(Reading::Value(holding)) if same != Some(&device.holding) => holding.len(),
                _ => 0,
            }
        };
        frame.devices.iter().enumerate().map(new).sum()
    }
}

fn readings(frame: &Frame) -> usize {
    frame.devices.iter().map(|d| d.readings.len() + usize::from(d.holding.is_some())).sum()
}

fn report(folder: &Path, recovery: &Recovery) {
    for damage in &recovery.damaged {
        tracing::error!(
            segment = %damage.segment.display(), kept_batches = damage.kept_records, lost_bytes = damage.lost_bytes,
            copy = damage.copy.as_ref().map(|c| c.display().to_string()), "a spool segment is damaged; its sound beginning is kept"
        );
    }
    let (batches, torn_bytes) = (recovery.records, recovery.torn_bytes);
    if batches > 0 || torn_bytes > 0 {
        tracing::info!(folder = %folder.display(), batches, torn_bytes, "opened a spool that holds batches");
    }
}
