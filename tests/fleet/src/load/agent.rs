//! One simulated agent: the agent's own recorder, spool and upload; only the sampler is simulated and
//! the spool's disk is memory.
//!
//! It connects and sends one sample, so that the collector knows its devices; the cost of that is told
//! apart. From the common beginning on it sends a batch of ten samples every ten seconds, at a phase of
//! its own. Its stamps follow the plan, not the clock: a generator that lags sends late, and what it
//! sends is the same.

use super::disk::MemoryDisk;
use super::values::{NodeValues, inventory, node_name};
use super::view::View;
use anyhow::Context as _;
use gpuledger_agent::record::{Identity, Recorder, RecorderOptions, SpoolHandle};
use gpuledger_agent::upload::{Credentials, UplinkConfig};
use gpuledger_proto::frame::Stamp;
use gpuledger_proto::ids::{Epoch, NodeName};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// Samples in a batch, one a second.
pub const SAMPLES_PER_BATCH: u64 = 10;
pub const SAMPLE_MS: u64 = 1_000;
const BATCH_MS: u64 = SAMPLES_PER_BATCH * SAMPLE_MS;
/// The opening sample's stamp lies so long before it is taken: further from the first batch than any
/// two samples of the run are apart, and than the collector's longest gap.
const OPENING_AGE_MS: u64 = 60_000;
/// The nodes were booted a day ago.
const UPTIME_MS: u64 = 86_400_000;
/// A spool that holds an hour, and has one segment as a real one has.
const SPOOL_BYTES: u64 = 64 << 20;

/// What all agents of a run have in common.
#[derive(Debug)]
pub struct Plan {
    pub nodes: u32,
    pub gpus: u32,
    /// Samples that each node takes, one a second.
    pub samples: u64,
    /// When the run was planned, by the wall clock.
    pub planned_ms: u64,
}

/// The common beginning: an instant, and what the wall clock showed then.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    pub at: Instant,
    pub wall_ms: u64,
}

/// One batch of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    /// Since the beginning: the time of its last sample.
    after_ms: u64,
    samples: u64,
}

impl Plan {
    /// Time between the beginning and a node's first batch.
    fn phase_ms(&self, node: u32) -> u64 {
        u64::from(node) * BATCH_MS / u64::from(self.nodes)
    }

    /// The batch that follows so many samples; `None` when all are taken.
    fn due(&self, node: u32, taken: u64) -> Option<Due> {
        let samples = (self.samples - taken).min(SAMPLES_PER_BATCH);
        let behind_first = (taken + samples).saturating_sub(SAMPLES_PER_BATCH) * SAMPLE_MS;
        (samples > 0).then(|| Due { after_ms: self.phase_ms(node) + behind_first, samples })
    }

    /// Batches of one node, without the opening one.
    pub fn batches(&self) -> u64 {
        self.samples.div_ceil(SAMPLES_PER_BATCH)
    }
}

/// One agent.
pub struct Agent {
    node: u32,
    plan: Arc<Plan>,
    view: Arc<View>,
    recorder: Recorder,
    spool: SpoolHandle,
    disk: MemoryDisk,
    values: NodeValues,
    acknowledged: watch::Receiver<u64>,
    /// Time of the last sample, by the wall clock.
    sampled_ms: Option<u64>,
    taken: u64,
    /// When the batches that are not acknowledged were made.
    waiting: VecDeque<Instant>,
    sent: Sent,
}

/// What an agent has sent in the end, and how it was taken.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub node: u32,
    /// The GPUs' counters at the opening sample and at the last one.
    pub first_mj: Vec<u64>,
    pub last_mj: Vec<u64>,
    /// Samples that close an interval short enough to be observed, and the length of all of these.
    pub samples: u64,
    pub observed_ms: u64,
    /// Batches that were never acknowledged.
    pub unacknowledged: u64,
    /// From the spool to the acknowledgement, in milliseconds.
    pub ack_ms: Vec<u32>,
    /// The most that a batch was made later than planned.
    pub late_ms_max: u32,
}

impl Agent {
    pub fn open(plan: Arc<Plan>, node: u32, view: Arc<View>) -> anyhow::Result<Self> {
        let options = RecorderOptions { cap_bytes: SPOOL_BYTES, batch_ms: BATCH_MS, journal: false };
        let identity = Identity {
            node: NodeName::new(&node_name(node))?,
            epoch: Epoch::begin(),
            boot_id: Some(Uuid::from_u64_pair(plan.planned_ms, u64::from(node))),
        };
        let disk = MemoryDisk::default();
        let opened = Recorder::open_on(Arc::new(disk.clone()), Path::new("/spool"), options, identity);
        let (mut recorder, spool) = opened.with_context(|| format!("the spool of {}", node_name(node)))?;
        recorder.set_inventory(inventory(node, plan.gpus)?)?;
        let values = NodeValues::new(node, plan.gpus);
        let sent = Sent { node, ..Sent::default() };
        let acknowledged = spool.acknowledged();
        let (taken, waiting) = (0, VecDeque::new());
        Ok(Self {
            node,
            plan,
            view,
            recorder,
            spool,
            disk,
            values,
            acknowledged,
            sampled_ms: None,
            taken,
            waiting,
            sent,
        })
    }

    /// Where its upload reads from, and as whom.
    pub fn uplink(
        &self,
        endpoint: &str,
        credentials: Option<Credentials>,
    ) -> anyhow::Result<(UplinkConfig, SpoolHandle)> {
        let node = NodeName::new(&node_name(self.node))?;
        let config = UplinkConfig { credentials, ..UplinkConfig::new(endpoint, node) };
        Ok((config, self.spool.clone()))
    }

    /// Sends one sample and waits until it is committed.
    pub async fn introduce(&mut self) -> anyhow::Result<()> {
        self.sample(self.plan.planned_ms - OPENING_AGE_MS)?;
        self.recorder.flush()?;
        self.sent.first_mj = self.values.counters_mj();
        self.spool.drained().await;
        self.disk.forget();
        Ok(())
    }

    /// Sends every batch when it is due; returns when all are acknowledged, or when it is given up.
    pub async fn run(mut self, begin: Begin, given_up: impl Future<Output = ()>) -> anyhow::Result<Sent> {
        tokio::pin!(given_up);
        loop {
            let due = self.plan.due(self.node, self.taken);
            if due.is_none() && self.waiting.is_empty() {
                break;
            }
            let at = begin.at + Duration::from_millis(due.map_or(0, |due| due.after_ms));
            tokio::select! {
                biased;
                () = &mut given_up => break,
                changed = self.acknowledged.changed() => {
                    changed.context("the spool is gone")?;
                    self.landed();
                }
                () = sleep_until(at), if due.is_some() => {
                    let Some(due) = due else { continue };
                    self.sent.late_ms_max = self.sent.late_ms_max.max(millis(at.elapsed()));
                    self.batch(begin, due)?;
                }
            }
        }
        self.sent.unacknowledged = self.waiting.len() as u64 + self.recorder.dropped_batches();
        self.sent.last_mj = self.values.counters_mj();
        Ok(self.sent)
    }

    fn batch(&mut self, begin: Begin, due: Due) -> anyhow::Result<()> {
        for before in (0..due.samples).rev() {
            self.sample(begin.wall_ms + due.after_ms - before * SAMPLE_MS)?;
        }
        self.taken += due.samples;
        self.recorder.flush()?;
        let now = Instant::now();
        if self.waiting.is_empty() {
            self.view.waits_since(now);
        }
        self.waiting.push_back(now);
        self.view.made();
        Ok(())
    }

    fn sample(&mut self, wall_ms: u64) -> anyhow::Result<()> {
        let since_ms = self.sampled_ms.map_or(0, |before| wall_ms - before);
        let boot_ms = wall_ms + UPTIME_MS - self.plan.planned_ms;
        let frame = self.values.frame(Stamp { wall_ms, boot_ms }, since_ms);
        self.recorder.push(frame)?;
        if self.sampled_ms.is_some() && since_ms <= SAMPLE_MS {
            self.sent.samples += 1;
            self.sent.observed_ms += since_ms;
        }
        self.sampled_ms = Some(wall_ms);
        Ok(())
    }

    /// Takes note of what was acknowledged.
    fn landed(&mut self) {
        let still = usize::try_from(self.spool.waiting_batches()).unwrap_or(usize::MAX);
        let landed = self.waiting.len().saturating_sub(still);
        for made in self.waiting.drain(..landed) {
            self.sent.ack_ms.push(millis(made.elapsed()));
            self.view.acknowledged(made);
        }
        if let Some(&oldest) = self.waiting.front() {
            self.view.waits_since(oldest);
        } else {
            self.view.waits_for_nothing();
            self.disk.forget();
        }
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::view::Views;

    #[test]
    fn batches_follow_each_other_every_ten_seconds_at_phases_that_fill_them() {
        let plan = Plan { nodes: 4, gpus: 1, samples: 23, planned_ms: 0 };
        let dues = |node| {
            let mut taken = 0;
            let mut dues = Vec::new();
            while let Some(due) = plan.due(node, taken) {
                taken += due.samples;
                dues.push((due.after_ms, due.samples));
            }
            dues
        };
        assert_eq!(dues(0), [(0, 10), (10_000, 10), (13_000, 3)]);
        assert_eq!(dues(3), [(7_500, 10), (17_500, 10), (20_500, 3)]);
        assert_eq!(plan.batches(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_nobody_acknowledges_says_so_when_it_is_given_up() {
        let plan = Arc::new(Plan { nodes: 1, gpus: 2, samples: 20, planned_ms: 1_790_000_000_000 });
        let begin = Begin { at: Instant::now(), wall_ms: plan.planned_ms + 5_000 };
        let view = Views::new(1).of(0);
        let mut agent = Agent::open(plan, 0, Arc::clone(&view)).unwrap();
        agent.sample(begin.wall_ms - OPENING_AGE_MS).unwrap();
        agent.recorder.flush().unwrap();
        let sent = agent.run(begin, tokio::time::sleep(Duration::from_secs(60))).await.unwrap();
        assert_eq!((sent.unacknowledged, sent.samples, sent.observed_ms), (2, 19, 19_000));
        assert_eq!((sent.ack_ms.len(), sent.last_mj.len()), (0, 2));
        assert!(view.is_behind(begin.at + Duration::from_secs(1)));
    }
}
