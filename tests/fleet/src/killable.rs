//! One simulated agent that may be killed at any moment and started again, as a process of its own.
//!
//! As the agent does, it journals every sample, keeps batches in a spool and sends them; only the
//! sampler is simulated. It samples its node's part of the history at a pace, so that kills fall into
//! it, and ends when the history is recorded and everything is acknowledged.
//!
//! How far it is stands in the file `sampled`, beside the spool: the time of a sample that was pushed,
//! in decimal. It is written after the push, and not after every one: what was pushed behind it is
//! sampled again after a kill, under a new epoch, so that kills do make samples that must count once.

use crate::agents::{ReplayError, open_when_free};
use crate::frames::NodeFrames;
use crate::model::{Fleet, Run};
use gpuledger_agent::record::{RecordError, Recorder, RecorderOptions, SpoolHandle};
use gpuledger_agent::upload::{self, UplinkConfig};
use gpuledger_proto::ids::NodeName;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Samples in a batch: so few that batches wait, and the collector commits all the time.
const SAMPLES_PER_BATCH: u64 = 2;
/// A small spool has small segments, which are removed soon: what is then acknowledged and not
/// committed is lost, as it must be for a test to see it.
const SPOOL_BYTES: u64 = 128 * 1024;
/// Samples between two notes of how far it is.
const SAMPLES_PER_NOTE: u64 = 5;
/// Digits of the file `sampled`.
const DIGITS: usize = 20;

/// What one agent has to do.
#[derive(Debug, Clone)]
pub struct Job {
    pub fleet: Arc<Fleet>,
    pub node: u32,
    /// Time between two samples of the history.
    pub step_ms: u64,
    /// The last sample of the history that is taken.
    pub until_ms: u64,
    /// Time that a sample takes.
    pub pace: Duration,
    /// `http://HOST:PORT` of the collector.
    pub endpoint: String,
    /// Where the spool and the file `sampled` are.
    pub folder: PathBuf,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("cannot keep in {path} how far the agent is: {source}")]
    Sampled { path: PathBuf, source: io::Error },
    #[error("the history of node {node} has nothing until {until_ms}")]
    Nothing { node: u32, until_ms: u64 },
}

impl Job {
    /// Goes on behind the last sample that it knows of. Returns when the collector has committed
    /// everything, with the number of samples that this process took.
    pub async fn run(self) -> Result<u64, JobError> {
        let mark = Mark::open(&self.folder)?;
        let runs = self.fleet.runs_until(self.node, self.step_ms, self.until_ms);
        let nothing = JobError::Nothing { node: self.node, until_ms: self.until_ms };
        let (&first, &last) = runs.first().zip(runs.last()).ok_or(nothing)?;
        let frames = NodeFrames::new(&self.fleet, self.node, first).map_err(ReplayError::from)?;
        let name = self.fleet.node_name(self.node);
        let mut sampler = Sampler { job: self, name, frames, mark, taken: 0 };
        for run in runs {
            sampler.frames.begin(run);
            if run == last {
                sampler = sampler.live(run, true).await?;
            } else if sampler.mark.at_ms < run.last_ms {
                sampler = sampler.live(run, false).await?;
            } else {
                // Only to know what the node's counters showed at its end.
                sampler.frames.frame(run.last_ms);
            }
        }
        Ok(sampler.taken)
    }
}

/// The simulated sampler, which goes from one run of the agent to the next.
struct Sampler {
    job: Job,
    /// The node's.
    name: String,
    frames: NodeFrames,
    mark: Mark,
    taken: u64,
}

impl Sampler {
    /// One run of the agent, under an epoch of its own; the last one waits until all is acknowledged.
    async fn live(self, run: Run, is_last: bool) -> Result<Self, JobError> {
        let name = self.name.clone();
        let node = NodeName::new(&name).map_err(ReplayError::from)?;
        let (mut recorder, spool) = self.open(run, &node).await.map_err(|source| recording(&name, source))?;
        recorder.set_inventory(self.frames.inventory().clone()).map_err(|source| recording(&name, source))?;
        let config = UplinkConfig {
            // Kills come several times a second: who waits for long meets none.
            backoff_first: Duration::from_millis(20),
            backoff_most: Duration::from_millis(200),
            ..UplinkConfig::new(self.job.endpoint.clone(), node)
        };
        let cancel = CancellationToken::new();
        let mut uplink = tokio::spawn(upload::run(config, spool.clone(), Arc::default(), cancel.clone()));
        let done = tokio::task::spawn_blocking(move || self.sample(run, recorder)).await;
        let (sampler, recorder) = done.map_err(ReplayError::from)??;
        let mut ended = None;
        if is_last {
            ended = tokio::select! {
                biased;
                ended = &mut uplink => Some(ended),
                () = spool.drained() => None,
            };
        }
        cancel.cancel();
        let ended = match ended {
            Some(ended) => ended,
            None => uplink.await,
        };
        ended
            .map_err(ReplayError::from)?
            .map_err(|source| ReplayError::Upload { node: name.clone(), source })?;
        match recorder.dropped_batches() {
            0 => Ok(sampler),
            dropped => Err(ReplayError::Dropped { node: name, dropped }.into()),
        }
    }

    async fn open(&self, run: Run, node: &NodeName) -> Result<(Recorder, SpoolHandle), RecordError> {
        let job = &self.job;
        let batch_ms = SAMPLES_PER_BATCH * job.step_ms;
        let options = RecorderOptions { cap_bytes: SPOOL_BYTES, batch_ms, ..RecorderOptions::default() };
        // The same boot has the same identity in every process.
        let boot = Uuid::from_u64_pair(job.fleet.seed, u64::from(run.node) << 32 | u64::from(run.boot));
        open_when_free(&job.folder.join("spool"), options, node, boot).await
    }

    /// Takes every sample of the run that it does not know to be taken. Blocks.
    fn sample(mut self, run: Run, mut recorder: Recorder) -> Result<(Self, Recorder), JobError> {
        let mut at_ms = run.first_ms;
        if self.mark.at_ms >= at_ms {
            at_ms = self.mark.at_ms + self.job.step_ms;
        }
        while at_ms <= run.last_ms {
            let pushed = recorder.push(self.frames.frame(at_ms));
            pushed.map_err(|source| recording(&self.name, source))?;
            self.taken += 1;
            if self.taken.is_multiple_of(SAMPLES_PER_NOTE) {
                self.mark.note(at_ms)?;
            }
            std::thread::sleep(self.job.pace);
            at_ms += self.job.step_ms;
        }
        recorder.flush().map_err(|source| recording(&self.name, source))?;
        self.mark.note(run.last_ms)?;
        Ok((self, recorder))
    }
}

fn recording(node: &str, source: RecordError) -> ReplayError {
    ReplayError::Record { node: node.to_owned(), source }
}

/// The time of a sample that was pushed, and all before it; 0 while there is none.
struct Mark {
    file: File,
    path: PathBuf,
    at_ms: u64,
}

impl Mark {
    fn open(folder: &Path) -> Result<Self, JobError> {
        let path = folder.join("sampled");
        let failed = |source| JobError::Sampled { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(failed)?;
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let at_ms = match text.trim() {
            "" => 0,
            digits => digits.parse().map_err(|error| failed(io::Error::other(error)))?,
        };
        Ok(Self { file, path, at_ms })
    }

    /// Overwrites the time in one write of a fixed length, so that a kill leaves the old or the new.
    fn note(&mut self, at_ms: u64) -> Result<(), JobError> {
        let text = format!("{at_ms:0DIGITS$}\n");
        let written = self.file.write_all_at(text.as_bytes(), 0);
        written.map_err(|source| JobError::Sampled { path: self.path.clone(), source })?;
        self.at_ms = at_ms;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_outlives_the_process_and_nothing_is_known_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = Mark::open(folder.path()).unwrap();
        assert_eq!(mark.at_ms, 0);
        for at_ms in [1_790_000_000_000, 7] {
            mark.note(at_ms).unwrap();
            assert_eq!(Mark::open(folder.path()).unwrap().at_ms, at_ms);
        }
    }

    #[tokio::test]
    async fn a_history_that_has_not_begun_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let job = Job {
            fleet: Arc::new(Fleet::of_bad_days(1_790_000_000_000, 1, 1, 1, 5)),
            node: 0,
            step_ms: 60_000,
            until_ms: 1,
            pace: Duration::ZERO,
            endpoint: "http://127.0.0.1:1".to_owned(),
            folder: folder.path().to_owned(),
        };
        assert!(matches!(job.run().await, Err(JobError::Nothing { node: 0, until_ms: 1 })));
    }
}
