//! Whatever crashes when, every sample of every batch is stored once.
//!
//! An agent, a tap, the queue on a disk that loses what was not synced, the worker, and a receiver that
//! keeps samples as Prometheus does. The process is killed at a point that the seed chooses: before a
//! sync, while a request is on its way, after it was stored and before its answer. The agent then sends
//! again what was not acknowledged.

use super::super::progress::Progress;
use super::super::queue::QueueTap;
use super::super::target::{Access, Target};
use super::super::{Choice, Options, build, names};
use super::receiver::{Act, Receiver};
use super::samples::*;
use crate::export::Health;
use crate::export::remote_write::Labels;
use crate::ingest::Clock;
use crate::ingest::tap::{Offered, Tap};
use gpuledger_spool::sim::SimDisk;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What ends one life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Killed after so many requests were dealt with, in the middle of whatever follows.
    Killed { after: usize },
    /// Killed between what was offered and the sync.
    BeforeSync,
    /// The power fails; the queue is durable, the progress is not.
    Power { after: usize, seed: u64 },
    /// Killed when so many records were answered.
    Answered { records: u64 },
    /// It ends in an orderly way.
    Orderly,
}

/// One life: how many batches come, how the receiver behaves, how it ends.
#[derive(Debug, Clone)]
struct Life {
    batches: usize,
    acts: Vec<Act>,
    end: End,
}

fn life() -> impl Strategy<Value = Life> {
    let act = prop_oneof![
        6 => Just(Act::Store),
        1 => Just(Act::StoreSilently),
        1 => Just(Act::Say(503, "")),
        1 => Just(Act::Reset),
    ];
    let end = prop_oneof![
        (0..4_usize).prop_map(|after| End::Killed { after }),
        Just(End::BeforeSync),
        (0..4_usize, any::<u64>()).prop_map(|(after, seed)| End::Power { after, seed }),
        Just(End::Orderly),
    ];
    (0..5_usize, proptest::collection::vec(act, 0..6), end).prop_map(|(batches, acts, end)| Life {
        batches,
        acts,
        end,
    })
}

/// The agent's side: what it has, and how much of it was acknowledged.
struct Agents {
    batches: Vec<Offered>,
    acknowledged: usize,
}

impl Agents {
    fn new(batches: usize) -> Self {
        let inventories = [inventory(&["GPU-1"]), inventory(&["GPU-2", "GPU-3"])];
        let batch = |number: usize| {
            // Two nodes in turn; each has a run of its own and counts its own batches.
            let (node, round) = (number % 2, number as u64 / 2);
            let seconds = round * 3..round * 3 + 3;
            batch(["a", "b"][node], node as u128 + 1, round + 1, &inventories[node], seconds, busy)
        };
        Self { batches: (0..batches).map(batch).collect(), acknowledged: 0 }
    }
}

struct World {
    disk: SimDisk,
    receiver: Receiver,
    now: Arc<AtomicU64>,
}

impl World {
    fn options(&self) -> Options {
        Options {
            target: Target { url: self.receiver.url.clone(), access: Access::Open, ca: None },
            choice: Choice::Auto,
            families: names().collect(),
            resolution_ms: 0,
            labels: Labels::default(),
            queue: "/queue".into(),
            queue_bytes: 1 << 20,
        }
    }

    /// Runs one life of the process.
    async fn live(&self, agents: &mut Agents, life: &Life) {
        self.disk.kill_process();
        self.receiver.with(|state| state.script = life.acts.iter().cloned().collect());
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || now.fetch_add(10, Ordering::Relaxed));
        let stop = CancellationToken::new();
        let health = Health::new().unwrap();
        let disk = Arc::new(self.disk.clone());
        let (queue, worker) = build(disk, self.options(), &health, clock, stop.clone()).unwrap();
        let working = tokio::spawn(worker.run());
        let tap = QueueTap(queue);
        // After a restart everything that was not acknowledged comes again.
        let upto = (agents.acknowledged + life.batches).min(agents.batches.len());
        for number in agents.acknowledged..upto {
            tap.offer(agents.batches[number].clone());
            if life.end != End::BeforeSync {
                tap.sync().await;
                agents.acknowledged = number + 1;
            }
        }
        match &life.end {
            End::Killed { after } | End::Power { after, .. } => {
                for _ in 0..*after {
                    let dealt =
                        tokio::time::timeout(Duration::from_millis(100), self.receiver.dealt.notified());
                    drop(dealt.await);
                }
                working.abort();
                drop(working.await);
            }
            End::Answered { records } => {
                while answered(&self.disk) < *records {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                working.abort();
                drop(working.await);
            }
            End::BeforeSync => {
                working.abort();
                drop(working.await);
            }
            End::Orderly => {
                stop.cancel();
                working.await.unwrap();
            }
        }
        if let End::Power { seed, .. } = life.end {
            self.disk.fail_power(seed);
        }
    }
}

/// How many records were answered whole, as the next process would find it.
fn answered(disk: &SimDisk) -> u64 {
    Progress::open(Arc::new(disk.copy()), Path::new("/queue")).unwrap().1.place.record
}

#[tokio::test]
async fn what_was_answered_is_not_sent_again_after_a_kill() {
    let receiver = Receiver::start(true, &[]).await;
    let world = World { disk: SimDisk::default(), receiver, now: Arc::new(AtomicU64::new(START_MS)) };
    let mut agents = Agents::new(6);
    for records in [3, 6] {
        let life = Life { batches: 3, acts: vec![], end: End::Answered { records } };
        world.live(&mut agents, &life).await;
    }
    world.live(&mut agents, &Life { batches: 0, acts: vec![], end: End::Orderly }).await;
    assert_eq!(world.receiver.with(|state| state.seen.len()), 6, "one request a record, each once");
    assert_eq!(world.receiver.once().len(), expected(&agents));
}

/// Every sample of the batches.
fn expected(agents: &Agents) -> usize {
    // A second of node a has 3 readings and 2 descriptions (node, GPU); of node b 2 GPUs more or less.
    agents.batches.iter().map(|batch| 3 * (1 + 1 + 3 * batch.inventory.gpus.len())).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_of_every_batch_is_stored_once(lives in proptest::collection::vec(life(), 1..6)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let receiver = Receiver::start(true, &[]).await;
            let world = World { disk: SimDisk::default(), receiver, now: Arc::new(AtomicU64::new(START_MS)) };
            let mut agents = Agents::new(12);
            for life in &lives {
                world.live(&mut agents, life).await;
            }
            world.live(&mut agents, &Life { batches: 12, acts: vec![], end: End::Orderly }).await;
            let stored = world.receiver.once();
            prop_assert_eq!(stored.len(), expected(&agents), "{:#?}", stored);
            Ok(())
        })?;
    }
}
