//! The thread that reads the queue, renders, and sends. A thread of its own, with a runtime of its
//! own: rendering and reading files must not take turns with ingest.

use super::deliver::{Deliverer, Stopped};
use super::events::{Events, Lost};
use super::progress::{Place, Progress};
use super::queue::{Found, Queue, Reader};
use super::record::Record;
use super::render::{Rendered, Renderer};
use crate::ingest::Clock;
use gpuledger_spool::SpoolError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often an idle sender looks at the time.
const LOOK: Duration = Duration::from_secs(1);
/// How long is sent on when the collector ends; the rest stays in the queue.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of the queue that may have to be rendered again after a crash, at least.
const KEEP_EVERY_BYTES: u64 = 256 * 1024;
/// A memory is written after reading so many times its size.
const KEEP_EVERY_FACTOR: u64 = 4;

pub struct Worker {
    pub queue: Arc<Queue>,
    pub progress: Progress,
    pub renderer: Renderer,
    pub deliverer: Deliverer,
    pub events: Arc<Events>,
    pub clock: Clock,
    pub stop: CancellationToken,
    /// What was answered before: records up to it are rendered and not sent.
    pub place: Place,
    /// The record that the renderer's memory ends with.
    pub record: u64,
    /// Most bytes to read before a memory is written.
    pub keep_bytes_max: u64,
}

/// Why the worker stands still for a while.
#[derive(Debug, thiserror::Error)]
enum Standstill {
    #[error("its queue cannot be read: {0}")]
    Queue(#[from] SpoolError),
    #[error("how far it has come cannot be noted: {0}")]
    Progress(#[from] io::Error),
}

/// What was read since a memory was written last.
#[derive(Debug, Default)]
struct Since {
    bytes: u64,
    memory_bytes: u64,
}

impl Worker {
    pub async fn run(mut self) {
        let mut reader = Reader::new(Arc::clone(&self.queue), self.record);
        let mut since = Since::default();
        let mut until: Option<Instant> = None;
        // From here on the place counts requests as this configuration makes them.
        let anchored = self.progress.note(self.place).map_err(Standstill::from);
        if let Err(why) = anchored.and_then(|()| self.keep(&mut since)) {
            self.events.queue_unread(&why);
        }
        loop {
            if self.stop.is_cancelled()
                && *until.get_or_insert_with(|| Instant::now() + DRAIN_WITHIN) <= Instant::now()
            {
                break;
            }
            match self.step(&mut reader, &mut since).await {
                Ok(Step::Sent) => {}
                Ok(Step::Idle) if self.stop.is_cancelled() => break,
                // The renderer is ahead of what was answered: what it remembers must not be kept.
                Ok(Step::Stopped) => return,
                Ok(Step::Idle) => {
                    self.queue.tick();
                    self.rest().await;
                }
                Err(why) => {
                    self.events.queue_unread(&why);
                    self.rest().await;
                }
            }
        }
        // Where it fails, the next start renders more of the queue again.
        let _ = self.keep(&mut since);
    }

    async fn rest(&self) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.queue.arrived.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }

    async fn step(&mut self, reader: &mut Reader, since: &mut Since) -> Result<Step, Standstill> {
        let (sequence, bytes, rendered, at_ms) = match reader.next()? {
            Found::Nothing => {
                self.events.waiting(0, 0);
                return Ok(Step::Idle);
            }
            Found::Unreadable { sequence, bytes } => {
                let rendered =
                    Rendered { unreadable: vec!["it is no record".to_owned()], ..Rendered::default() };
                (sequence, bytes, rendered, None)
            }
            Found::Record { sequence, bytes, record } => {
                let at_ms = oldest_ms(&record);
                (sequence, bytes, self.renderer.render(record), Some(at_ms))
            }
        };
        let is_replayed = sequence <= self.place.record;
        if !is_replayed && self.send(sequence, rendered, at_ms, since).await.is_err() {
            return Ok(Step::Stopped);
        }
        self.record = sequence;
        since.bytes += bytes;
        if !is_replayed {
            self.place = Place { record: sequence, requests: 0 };
            self.progress.note(self.place)?;
        }
        let enough = (KEEP_EVERY_FACTOR * since.memory_bytes).max(KEEP_EVERY_BYTES).min(self.keep_bytes_max);
        if since.bytes >= enough {
            self.keep(since)?;
        }
        Ok(Step::Sent)
    }

    /// Sends what a record holds but for what was answered before a restart.
    async fn send(
        &mut self,
        sequence: u64,
        rendered: Rendered,
        at_ms: Option<u64>,
        since: &Since,
    ) -> Result<(), Stopped> {
        let answered = if sequence == self.place.record + 1 { self.place.requests } else { 0 };
        if answered == 0 {
            self.tell(&rendered);
        }
        let skipped = usize::try_from(answered).unwrap_or(usize::MAX);
        for (position, request) in rendered.requests.into_iter().enumerate().skip(skipped) {
            let (queue, events, clock, read) = (&self.queue, &self.events, &self.clock, since.bytes);
            let waiting = || {
                let age_ms = at_ms.map_or(0, |at_ms| clock().saturating_sub(at_ms));
                events.waiting(queue.waiting_bytes().saturating_sub(read), age_ms);
            };
            self.deliverer.deliver(request, waiting).await?;
            let requests = position as u64 + 1;
            self.place = Place { record: sequence - 1, requests };
            if let Err(error) = self.progress.note(self.place) {
                // The worst that follows is that it is sent again after a crash.
                self.events.queue_unread(&error);
            }
        }
        Ok(())
    }

    fn tell(&self, rendered: &Rendered) {
        if rendered.missed > 0 {
            self.events.queue_overflowed(rendered.missed);
        }
        rendered.unreadable.iter().for_each(|why| self.events.unreadable(why));
        self.events.lost(Lost::Ahead, rendered.ahead, "");
    }

    /// Makes the memory durable and lets go of what lies before it.
    fn keep(&mut self, since: &mut Since) -> Result<(), Standstill> {
        let memory = self.renderer.to_bytes();
        self.progress.keep(self.record, &memory)?;
        self.queue.release(self.record)?;
        *since = Since { bytes: 0, memory_bytes: memory.len() as u64 };
        Ok(())
    }
}

enum Step {
    Sent,
    Idle,
    Stopped,
}

/// When the first batch of a record came.
fn oldest_ms(record: &Record) -> u64 {
    record.kept.iter().map(|kept| kept.arrived_ms).min().unwrap_or(record.at_ms)
}
