//! Remote write: whole series to any receiver that speaks Prometheus' protocol, 2.0 or 1.0.
//!
//! ```text
//! ingest ─▶ tap ─▶ queue on disk ─▶ render ─▶ requests ─▶ encode ─▶ deliver ─▶ receiver
//!                        ▲                                              │
//!                        └────────────── progress ◀─────────────────────┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`queue`], [`record`] | batches as they came, durable before they are acknowledged, bounded |
//! | [`render`], [`batch`], [`more`], [`node`] | records → requests: which samples, which series, where they end |
//! | [`selection`], [`labels`], [`request`] | families, labels, samples |
//! | [`encode`], [`protocol`] | requests → messages of 1.0 and 2.0 |
//! | [`deliver`], [`answer`], [`target`] | one request after another, each until it is answered for good |
//! | [`progress`], [`state`] | how far that has come, durable |
//! | [`worker`] | the thread that does it |
//! | [`events`] | what happened, for operators |
//!
//! # Once
//!
//! A batch is in the queue before its agent is told to forget it, and is known in it by its epoch and
//! sequence. What is rendered depends on the queue alone, so after a crash the same requests come out,
//! and those that were answered are not sent again. One request may have been on its way: it is sent
//! again as it was, with the same times and values, which receivers take for the same samples.

mod answer;
mod batch;
mod deliver;
mod encode;
pub(super) mod events;
mod labels;
mod more;
mod node;
mod progress;
mod protocol;
mod queue;
mod record;
mod render;
mod request;
mod selection;
mod state;
mod target;
mod worker;

pub use deliver::Choice;
pub use labels::Labels;
pub use protocol::Protocol;
pub use selection::names;
pub use target::{Access, Target};

use super::Health;
use crate::ingest::Clock;
use crate::ingest::tap::Tap;
use deliver::Deliverer;
use events::Events;
use gpuledger_spool::{Disk, Filesystem, SpoolError};
use progress::{Place, Progress};
use queue::{Count, Queue, QueueTap};
use render::{Renderer, Shape};
use selection::Selection;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::Worker;

/// The part of the queue's cap after which a memory is written in any case.
const KEEPS_PER_CAP: u64 = 16;

/// What is sent where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub target: Target,
    pub choice: Choice,
    /// Names of the families that are sent, see [`names`].
    pub families: Vec<&'static str>,
    /// Time between two samples of a series that are sent; 0 sends every sample.
    pub resolution_ms: u64,
    /// Labels of every series.
    pub labels: Labels,
    /// Folder of the queue, and how much it may hold.
    pub queue: PathBuf,
    pub queue_bytes: u64,
}

/// Why remote write did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the queue of remote write cannot be used: {0}")]
    Queue(#[from] SpoolError),
    #[error("the queue of remote write in {folder} cannot be used: {source}")]
    Progress { folder: PathBuf, source: io::Error },
    #[error("remote write: {0}")]
    Target(String),
    #[error("the counters of remote write cannot be set up: {0}")]
    Counters(#[from] prometheus::Error),
    #[error("the thread of remote write cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Remote write that runs.
pub struct RemoteWrite {
    tap: Arc<QueueTap>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl RemoteWrite {
    /// Opens the queue and begins to send.
    pub fn start(options: Options, health: &Health, clock: Clock) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        let (queue, worker) = build(Arc::new(Disk), options, health, clock, stop.clone())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("remote-write".to_owned());
        let thread = thread.spawn(move || runtime.block_on(worker.run()))?;
        Ok(Self { tap: Arc::new(QueueTap(queue)), stop, thread })
    }

    /// What ingest offers its batches to.
    pub fn tap(&self) -> Arc<dyn Tap> {
        Arc::clone(&self.tap) as Arc<dyn Tap>
    }

    /// Sends on for a few seconds; what is left stays in the queue. Called when ingest has ended.
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("remote write did not end well: what it has not sent is still in its queue");
        }
    }
}

fn build(
    fs: Arc<dyn Filesystem>,
    options: Options,
    health: &Health,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(Arc<Queue>, Worker), StartError> {
    let folder = options.queue;
    let events = Arc::new(Events::new(health.registry())?);
    let selection = Selection::of(|name| options.families.contains(&name));
    let (resolution_ms, extra) = (options.resolution_ms, options.labels);
    let shape = Arc::new(Shape { selection: selection.clone(), resolution_ms, extra });
    let unusable = |source| StartError::Progress { folder: folder.clone(), source };
    fs.create_folder(&folder).map_err(unusable)?;
    let (progress, found) = Progress::open(Arc::clone(&fs), &folder).map_err(unusable)?;
    let memory = found.memory.as_ref();
    let memory = memory.and_then(|(record, bytes)| Some((*record, Renderer::from_bytes(bytes, &shape)?)));
    let (record, (renderer, is_same)) = memory.unwrap_or_else(|| (0, (Renderer::new(shape), true)));
    let (place, begun) = resume(found.place, record, is_same);
    let after = Count { sequence: begun, batches: renderer.batches() };
    let (cap_bytes, times) = (options.queue_bytes, (Arc::clone(&clock), Arc::clone(&clock)));
    let queue = Queue::open(fs, &folder, cap_bytes, after, times.0, Arc::clone(&events))?;
    let mut deliverer =
        Deliverer::new(options.target, options.choice, selection, Arc::clone(&events), times.1, stop.clone())
            .map_err(StartError::Target)?;
    // The spool itself does not remember what was acknowledged.
    queue.release(record)?;
    // What waits may have been on its way when the process before ended.
    if queue.waiting_bytes() > 0 {
        deliverer.doubt();
    }
    let keep_bytes_max = cap_bytes / KEEPS_PER_CAP;
    let worker = Worker {
        queue: Arc::clone(&queue),
        progress,
        renderer,
        deliverer,
        events,
        clock,
        stop,
        place,
        record,
        keep_bytes_max,
    };
    Ok((queue, worker))
}

/// Where sending goes on behind a memory that ends with a record, and the last record that there was.
fn resume(found: Place, record: u64, is_same: bool) -> (Place, u64) {
    // A record of which some requests were answered was there as well.
    let begun = found.record.saturating_add(u64::from(found.requests > 0)).max(record);
    if found.record < record {
        return (Place { record, requests: 0 }, begun);
    }
    // Other requests are made of it now: those that were answered cannot be told from the others.
    let requests = if is_same { found.requests } else { 0 };
    (Place { requests, ..found }, begun)
}

#[cfg(test)]
mod tests;
