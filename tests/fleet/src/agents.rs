//! Simulated agents: the model's frames through the agent's own recorder, spool and upload.
//!
//! Only the sampler is simulated. Each node's agent has a spool on disk and a stream of its own, and
//! runs as often as the model says: where it was away or its node was down, the recorder is closed
//! with batches still unsent and opened again under a new epoch, which sends them first.
//!
//! The history is sampled every [`Plan::step_ms`] in long batches, without the journal that would
//! only guard against a crash of a replay that can be repeated. Going on live, every sample is a
//! batch of its own, so that it is seen at once.

use crate::frames::NodeFrames;
use crate::model::{Fleet, Run};
use gpuledger_agent::record::{Identity, RecordError, Recorder, RecorderOptions, SpoolHandle};
use gpuledger_agent::upload::{self, UplinkConfig, UplinkEvents, UploadError};
use gpuledger_proto::ids::{Epoch, InvalidId, NodeName};
use gpuledger_spool::SpoolError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Samples in one batch of the history: four hours of minutes. Short of every limit of the wire, and
/// seldom enough to be fsynced.
const SAMPLES_PER_BATCH: u64 = 240;

/// How often and how long apart a spool that is still locked is tried: ten seconds in all.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What is replayed, how finely and where to.
#[derive(Debug, Clone)]
pub struct Plan {
    pub fleet: Arc<Fleet>,
    /// Time between two samples of the history. Slots must be multiples of it.
    pub step_ms: u64,
    /// `http://HOST:PORT` of the collector.
    pub endpoint: String,
    /// Where the spools go.
    pub folder: PathBuf,
}

/// How far the replay is, for whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Samples in the spools.
    recorded: AtomicU64,
    uplinks: std::sync::Mutex<Vec<Arc<UplinkEvents>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the simulated fleet has a name that is not valid: {0}")]
    Name(#[from] InvalidId),
    #[error("cannot record in the spool of {node}: {source}")]
    Record { node: String, source: RecordError },
    #[error("the upload of {node} ended: {source}")]
    Upload { node: String, source: UploadError },
    #[error("{dropped} batches of {node} were dropped: the spool's disk is full or slow")]
    Dropped { node: String, dropped: u64 },
    #[error("a task of the replay failed: {0}")]
    Task(#[from] JoinError),
}

impl Progress {
    /// Samples in the spools, over all nodes.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Batches that the collector has acknowledged, over all nodes.
    pub fn acknowledged(&self) -> u64 {
        let uplinks = self.uplinks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        uplinks.iter().map(|events| events.read().batches_acknowledged).sum()
    }
}

impl Plan {
    fn runs(&self, node: u32) -> Vec<Run> {
        self.fleet.faults.runs(node, self.fleet.from_ms, self.fleet.to_ms, self.step_ms)
    }

    /// Samples of the whole history.
    pub fn samples(&self) -> u64 {
        self.over_runs(|samples| samples)
    }

    /// Batches of the whole history.
    pub fn batches(&self) -> u64 {
        self.over_runs(|samples| samples.div_ceil(SAMPLES_PER_BATCH))
    }

    fn over_runs(&self, of: impl Fn(u64) -> u64) -> u64 {
        let runs = (0..self.fleet.nodes).flat_map(|node| self.runs(node));
        runs.map(|run| of((run.last_ms - run.first_ms) / self.step_ms + 1)).sum()
    }

    /// Replays one node's history into its spool and on to the collector. Gives the agent as it is
    /// at the end, which may have sent everything or not.
    pub async fn replay(&self, node: u32, progress: Arc<Progress>) -> Result<Agent, ReplayError> {
        let runs = self.runs(node);
        let mut frames = NodeFrames::new(&self.fleet, node, runs[0])?;
        let events = Arc::new(UplinkEvents::default());
        progress.uplinks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Arc::clone(&events));
        let (last, earlier) = (runs[runs.len() - 1], &runs[..runs.len() - 1]);
        for run in earlier {
            let agent = Agent::start(self, *run, frames, &events)
                .await?
                .record_history(self.step_ms, &progress)
                .await?;
            frames = agent.stop().await?;
        }
        Agent::start(self, last, frames, &events).await?.record_history(self.step_ms, &progress).await
    }
}

/// One running agent of a simulated node.
pub struct Agent {
    node: String,
    run: Run,
    frames: NodeFrames,
    recorder: Recorder,
    spool: SpoolHandle,
    cancel: CancellationToken,
    uplink: JoinHandle<Result<(), UploadError>>,
}

impl Agent {
    async fn start(
        plan: &Plan,
        run: Run,
        mut frames: NodeFrames,
        events: &Arc<UplinkEvents>,
    ) -> Result<Self, ReplayError> {
        let node = plan.fleet.node_name(run.node);
        let options = RecorderOptions {
            batch_ms: SAMPLES_PER_BATCH * plan.step_ms,
            journal: false,
            ..RecorderOptions::default()
        };
        // The same boot has the same identity in every run of the replay.
        let boot = Uuid::from_u64_pair(plan.fleet.seed, u64::from(run.node) << 32 | u64::from(run.boot));
        let folder = plan.folder.join(&node);
        let opened = open_when_free(&folder, options, &NodeName::new(&node)?, boot).await;
        let (mut recorder, spool) =
            opened.map_err(|source| ReplayError::Record { node: node.clone(), source })?;
        frames.begin(run);
        let set = recorder.set_inventory(frames.inventory().clone());
        set.map_err(|source| ReplayError::Record { node: node.clone(), source })?;
        let config = UplinkConfig {
            backoff_first: Duration::from_millis(200),
            backoff_most: Duration::from_secs(5),
            ..UplinkConfig::new(plan.endpoint.clone(), NodeName::new(&node)?)
        };
        let cancel = CancellationToken::new();
        let uplink = tokio::spawn(upload::run(config, spool.clone(), Arc::clone(events), cancel.clone()));
        Ok(Self { node, run, frames, recorder, spool, cancel, uplink })
    }

    /// Records everything from the run's first sample to its last.
    async fn record_history(mut self, step_ms: u64, progress: &Arc<Progress>) -> Result<Self, ReplayError> {
        let progress = Arc::clone(progress);
        tokio::task::spawn_blocking(move || {
            let mut at_ms = self.run.first_ms;
            while at_ms <= self.run.last_ms {
                let pushed = self.recorder.push(self.frames.frame(at_ms));
                pushed.map_err(|source| self.failed(source))?;
                progress.recorded.fetch_add(1, Ordering::Relaxed);
                at_ms += step_ms;
            }
            self.recorder.flush().map_err(|source| self.failed(source))?;
            Ok(self)
        })
        .await?
    }

    fn failed(&self, source: RecordError) -> ReplayError {
        ReplayError::Record { node: self.node.clone(), source }
    }

    /// Ends as a stopped agent does: what is not acknowledged stays in the spool.
    pub async fn stop(self) -> Result<NodeFrames, ReplayError> {
        let Self { node, frames, recorder, spool, cancel, uplink, .. } = self;
        cancel.cancel();
        let ended = uplink.await?;
        drop((recorder, spool));
        ended.map_err(|source| ReplayError::Upload { node, source })?;
        Ok(frames)
    }

    /// Returns once the collector has committed everything that was recorded.
    pub async fn committed(&mut self) -> Result<(), ReplayError> {
        let ended = tokio::select! {
            biased;
            () = self.spool.drained() => None,
            ended = &mut self.uplink => Some(ended?),
        };
        if let Some(Err(source)) = ended {
            return Err(ReplayError::Upload { node: self.node.clone(), source });
        }
        match self.recorder.dropped_batches() {
            0 => Ok(()),
            dropped => Err(ReplayError::Dropped { node: self.node.clone(), dropped }),
        }
    }

    /// Goes on after the history: first what was missed until now, then a sample every `tick`,
    /// until cancelled. `now_ms` tells the wall clock.
    pub async fn live(
        mut self,
        step_ms: u64,
        tick: Duration,
        now_ms: impl Fn() -> u64,
        cancel: CancellationToken,
    ) -> Result<(), ReplayError> {
        let mut at_ms = self.run.last_ms;
        let mut ticks = tokio::time::interval(tick);
        while cancel.run_until_cancelled(ticks.tick()).await.is_some() {
            let now_ms = now_ms();
            // The recorder blocks on the disk.
            (self, at_ms) = tokio::task::spawn_blocking(move || {
                // A clock that was set back shows nothing new.
                while at_ms < now_ms {
                    at_ms = (at_ms + step_ms).min(now_ms);
                    let pushed = self.recorder.push(self.frames.frame(at_ms));
                    pushed.map_err(|source| self.failed(source))?;
                }
                match self.recorder.flush() {
                    Ok(()) => Ok((self, at_ms)),
                    Err(source) => Err(self.failed(source)),
                }
            })
            .await??;
        }
        self.stop().await.map(drop)
    }
}

/// Opens the spool. The agent before may have been stopped in the middle of reading it, off the async
/// threads; its lock is gone when that is done.
pub(crate) async fn open_when_free(
    folder: &Path,
    options: RecorderOptions,
    node: &NodeName,
    boot: Uuid,
) -> Result<(Recorder, SpoolHandle), RecordError> {
    let mut tries = 0;
    loop {
        let identity = Identity { node: node.clone(), epoch: Epoch::begin(), boot_id: Some(boot) };
        match Recorder::open(folder, options, identity) {
            Err(RecordError::Spool(SpoolError::Locked { .. })) if tries < LOCK_TRIES => {
                tries += 1;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            opened => return opened,
        }
    }
}
