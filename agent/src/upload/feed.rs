//! The half of a stream that sends: segments in order, and the batches behind what is committed.

use super::config::UplinkConfig;
use super::events::UplinkEvents;
use super::flight::Flight;
use super::refused::{self, Refused};
use super::session::Broken;
use crate::clock::WallClock;
use crate::record::SpoolHandle;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::{PROTOCOL_REVISION, v1};
use gpuledger_spool::{Cursor, Next, Record, SegmentId, SegmentInfo, SpoolError};
use prost::Message;
use tokio::sync::{mpsc, watch};
use v1::agent_message::Kind;

/// Bytes and batches that one visit to the disk reads at most: bounds memory and the time for which
/// the recorder waits.
const VISIT_BYTES: usize = 256 * 1024;
const VISIT_BATCHES: usize = 64;

pub(super) struct Feed<'a> {
    pub spool: &'a SpoolHandle,
    pub events: &'a UplinkEvents,
    pub flight: &'a Flight,
    pub outbound: mpsc::Sender<v1::AgentMessage>,
    pub opened: mpsc::Receiver<v1::Opened>,
    pub appended: watch::Receiver<u64>,
    pub clock: &'a WallClock,
    pub refused: &'a Refused,
}

/// A segment and its header.
type Segment = (SegmentInfo, Vec<u8>);

impl Feed<'_> {
    /// Sends for ever: it waits where there is nothing to send.
    pub async fn run(mut self) -> Broken {
        let mut after = None;
        loop {
            match self.next_segment(after).await {
                Ok((info, header)) => {
                    after = Some(info.id);
                    if let Err(broken) = self.send_segment(info, &header).await {
                        return broken;
                    }
                }
                Err(broken) => return broken,
            }
        }
    }

    async fn next_segment(&mut self, after: Option<SegmentId>) -> Result<Segment, Broken> {
        loop {
            self.appended.mark_unchanged();
            let found = self.spool.on_disk(move |spool| -> Result<Option<Segment>, SpoolError> {
                let mut after = after;
                while let Some(info) = spool.segment_after(after) {
                    // A segment whose header has been damaged is gone: take the next one.
                    if let Some(header) = spool.header(info.id)? {
                        return Ok(Some((info, header)));
                    }
                    after = Some(info.id);
                }
                Ok(None)
            });
            if let Some(segment) = found.await?? {
                return Ok(segment);
            }
            self.appended.changed().await.map_err(|_| Broken::Closed)?;
        }
    }

    /// Sends one segment to its end, waiting for more as long as it is open.
    async fn send_segment(&mut self, info: SegmentInfo, header: &[u8]) -> Result<(), Broken> {
        let segment = v1::Segment::decode(header).unwrap_or_default();
        let Ok(epoch) = Epoch::from_slice(&segment.epoch) else {
            // It stays in the spool for a version that can read it, and holds up nothing.
            self.events.unreadable(info.next_sequence.saturating_sub(info.first_sequence));
            return Ok(());
        };
        let mut first = info.first_sequence;
        loop {
            let announced = v1::Segment { first_sequence: first, ..segment.clone() };
            match self.send_from(info.id, epoch, announced).await? {
                // The collector takes a hole only at the beginning of what is announced.
                Some(behind_hole) => first = behind_hole,
                None => return Ok(()),
            }
        }
    }

    /// Announces a segment and sends its batches to its end (`None`), or to one that has to be
    /// passed over: then it gives the sequence to go on from.
    async fn send_from(
        &mut self,
        id: SegmentId,
        epoch: Epoch,
        segment: v1::Segment,
    ) -> Result<Option<u64>, Broken> {
        let before_first = segment.first_sequence.saturating_sub(1);
        self.flight.opening();
        self.send(Kind::Segment(segment)).await?;
        let opened = self.opened.recv().await.ok_or(Broken::Closed)?;
        if opened.epoch != epoch.0.as_bytes() {
            return Err(Broken::Protocol("it opened another epoch than it was asked for"));
        }
        let committed = opened.committed_sequence;
        let sent = committed.max(before_first);
        self.flight.begin(id, epoch, sent);
        let Some(mut cursor) = self.commit(id, committed, sent).await? else { return Ok(None) };
        loop {
            self.appended.mark_unchanged();
            let (back, records, then) = self.visit(cursor).await?;
            cursor = back;
            for record in records {
                if let Some(behind_hole) = self.send_batch(record, id, epoch, committed).await? {
                    return Ok(Some(behind_hole));
                }
            }
            match then {
                Some(Next::End | Next::Gone) => {
                    // Dropped or damaged batches do not wait any more either.
                    self.spool.announce_acknowledged();
                    return Ok(None);
                }
                Some(Next::Wait) => self.appended.changed().await.map_err(|_| Broken::Closed)?,
                Some(Next::Record(_)) | None => {}
            }
        }
    }

    /// Takes what Opened says into account and gives a cursor behind `sent`; `None` when the segment
    /// is gone.
    async fn commit(&self, id: SegmentId, committed: u64, sent: u64) -> Result<Option<Cursor>, Broken> {
        let cursor = self
            .spool
            .on_disk(move |spool| -> Result<_, SpoolError> {
                let cursor = spool.cursor(id, sent)?;
                spool.acknowledge(id, committed)?;
                Ok(cursor)
            })
            .await??;
        self.spool.announce_acknowledged();
        Ok(cursor)
    }

    /// Reads some records, and says what stopped it before its limits did.
    async fn visit(&self, mut cursor: Cursor) -> Result<(Cursor, Vec<Record>, Option<Next>), Broken> {
        let visit = self.spool.on_disk(move |spool| -> Result<_, SpoolError> {
            let (mut records, mut bytes) = (Vec::new(), 0);
            while records.len() < VISIT_BATCHES && bytes < VISIT_BYTES {
                match spool.next(&mut cursor)? {
                    Next::Record(record) => {
                        bytes += record.payload.len();
                        records.push(record);
                    }
                    stop => return Ok((cursor, records, Some(stop))),
                }
            }
            Ok((cursor, records, None))
        });
        Ok(visit.await??)
    }

    /// Gives the sequence behind the batch where it had to be passed over.
    async fn send_batch(
        &mut self,
        record: Record,
        id: SegmentId,
        epoch: Epoch,
        committed: u64,
    ) -> Result<Option<u64>, Broken> {
        if record.sequence > committed && self.refused.is_for_good(epoch, record.sequence) {
            return self.pass_over(record, id, epoch).await.map(Some);
        }
        let Record { sequence, payload } = record;
        if sequence <= committed {
            // The cursor was set behind what was committed, so this was written after it was.
            self.events.disowned(sequence, committed);
            self.let_go(id, sequence).await?;
            return Ok(None);
        }
        let batch = match v1::Batch::decode(payload.as_slice()) {
            Ok(batch) => batch,
            Err(error) => {
                self.events.unsendable(sequence, &error);
                self.flight.all_landed().await;
                self.let_go(id, sequence).await?;
                return Ok(Some(sequence.saturating_add(1)));
            }
        };
        self.flight.take_off(sequence, payload.len()).await;
        self.events.sent(payload.len());
        self.send(Kind::Batch(batch)).await?;
        Ok(None)
    }

    /// Sets a batch aside that the collector will never take; gives the sequence behind it.
    async fn pass_over(&self, record: Record, id: SegmentId, epoch: Epoch) -> Result<u64, Broken> {
        let sequence = record.sequence;
        // What is before it must not be let go of with it.
        self.flight.all_landed().await;
        if !self.refused.is_aside(epoch, sequence) {
            let done = self.spool.on_disk(move |spool| {
                let header = spool.header(id)?.unwrap_or_default();
                let (header, record) = refused::apart(&header, record);
                spool.set_record_aside(&header, &record)
            });
            let done = done.await??;
            self.refused.set_aside(epoch, sequence);
            self.events.set_aside(sequence, &done);
        }
        self.let_go(id, sequence).await?;
        Ok(sequence.saturating_add(1))
    }

    /// Lets go of a batch that nobody will acknowledge, and of all before it.
    async fn let_go(&self, id: SegmentId, sequence: u64) -> Result<(), Broken> {
        self.spool.on_disk(move |spool| spool.acknowledge(id, sequence)).await??;
        self.spool.announce_acknowledged();
        Ok(())
    }

    async fn send(&self, kind: Kind) -> Result<(), Broken> {
        let message = v1::AgentMessage { kind: Some(kind), wall_ms: Some(self.clock.now_ms()) };
        self.outbound.send(message).await.map_err(|_| Broken::Closed)
    }
}

pub(super) fn hello(config: &UplinkConfig) -> v1::AgentMessage {
    v1::AgentMessage {
        kind: Some(Kind::Hello(v1::Hello {
            node: config.node.as_str().to_owned(),
            agent_version: config.agent_version.clone(),
            protocol: PROTOCOL_REVISION,
        })),
        wall_ms: Some(config.clock.now_ms()),
    }
}
