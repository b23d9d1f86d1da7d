//! What a tap is offered, and when it is synced.

use super::support::*;
use crate::export::Health;
use crate::fold::FoldOptions;
use crate::ingest::tap::{Offered, Tap};
use crate::ingest::{Ingest, IngestOptions};
use crate::latest::Latest;
use async_trait::async_trait;
use gpuledger_ledger::Ledger;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1::{self, agent_message::Kind as Message};
use prost::Message as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Remembers what it was offered, and how much of it was there at the last sync.
#[derive(Default)]
struct Glass {
    offered: Mutex<Vec<Offered>>,
    synced: AtomicUsize,
    /// Commits that were tried when the last sync began.
    attempts: AtomicUsize,
    ledger: Option<Arc<TestLedger>>,
}

impl Glass {
    fn sequences(&self) -> Vec<u64> {
        let offered = self.offered.lock().unwrap();
        offered.iter().map(|batch| v1::Batch::decode(batch.wire.as_slice()).unwrap().sequence).collect()
    }
}

#[async_trait]
impl Tap for Glass {
    fn offer(&self, batch: Offered) {
        self.offered.lock().unwrap().push(batch);
    }

    async fn sync(&self) {
        self.synced.store(self.offered.lock().unwrap().len(), Ordering::SeqCst);
        let ledger = self.ledger.as_ref().unwrap();
        self.attempts.store(ledger.attempts.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn start(ledger: &Arc<TestLedger>) -> (Arc<Ingest>, Arc<Glass>) {
    let glass = Arc::new(Glass { ledger: Some(Arc::clone(ledger)), ..Glass::default() });
    let options = IngestOptions { fold: FoldOptions::default(), commit_interval: Duration::from_millis(20) };
    let (latest, health) = (Arc::new(Latest::default()), Arc::new(Health::new().unwrap()));
    let tap = Arc::clone(&glass) as Arc<dyn Tap>;
    (Ingest::start(Arc::clone(ledger) as Arc<dyn Ledger>, latest, health, options, Some(tap)), glass)
}

#[tokio::test]
async fn a_batch_is_offered_once_as_it_came_and_synced_before_it_is_acknowledged() {
    let ledger = TestLedger::new();
    let (ingest, glass) = start(&ledger);
    let epoch = Epoch::begin();
    let mut agent = Agent::ready(&ingest, "n1", epoch).await;
    for sequence in 1..=3 {
        agent.send(batch(sequence)).await;
        agent.acked(sequence).await;
        let synced = glass.synced.load(Ordering::SeqCst);
        assert_eq!(synced as u64, sequence, "acknowledged before it was durable in the tap");
    }
    // A known one is acknowledged and not offered.
    agent.send(batch(2)).await;
    agent.acked(3).await;
    assert_eq!(glass.sequences(), [1, 2, 3]);
    let offered = glass.offered.lock().unwrap()[0].clone();
    assert_eq!((offered.node.as_str(), offered.epoch), ("n1", epoch));
    assert_eq!(offered.inventory.gpus.len(), 1);
    let Message::Batch(sent) = batch(1) else { unreachable!() };
    assert_eq!(offered.wire, sent.encode_to_vec());
}

#[tokio::test]
async fn the_tap_is_synced_once_a_round_however_often_the_commit_is_tried() {
    let ledger = TestLedger::new();
    let (ingest, glass) = start(&ledger);
    ledger.fail(true);
    let mut agent = Agent::ready(&ingest, "n1", Epoch::begin()).await;
    agent.send(batch(1)).await;
    while ledger.attempts.load(Ordering::SeqCst) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(glass.attempts.load(Ordering::SeqCst), 0, "it was synced before the first attempt");
    ledger.fail(false);
    agent.acked(1).await;
    assert_eq!(glass.sequences(), [1]);
}

#[tokio::test]
async fn what_is_refused_is_not_offered() {
    let ledger = TestLedger::new();
    let (ingest, glass) = start(&ledger);
    let mut agent = Agent::ready(&ingest, "n1", Epoch::begin()).await;
    let Message::Batch(mut broken) = batch(1) else { unreachable!() };
    broken.columns.truncate(9);
    agent.send(Message::Batch(broken)).await;
    agent.refused().await;
    assert_eq!(glass.sequences(), [0; 0]);
}
