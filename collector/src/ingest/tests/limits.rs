//! Each limit that ingest keeps: who breaks it is told, counted and cut off, and the others go on.

use super::super::refusal::Limit;
use super::super::stream::{End, send};
use super::*;
use gpuledger_proto::limits::{DEVICES_PER_NODE_MAX, HOLDINGS_PER_BATCH_MAX, SEQUENCE_MAX};
use support::{segment_of, start_with};

/// A collector whose counters are at hand, and a node that does nothing wrong.
struct Scene {
    ledger: Arc<TestLedger>,
    health: Arc<Health>,
    ingest: Arc<Ingest>,
    good: Agent,
}

impl Scene {
    async fn new() -> Self {
        let ledger = TestLedger::new();
        let health = Arc::new(Health::new().unwrap());
        let ingest = start_with(&ledger, &health, Arc::new(wall_ms));
        let mut good = Agent::ready(&ingest, "good", Epoch::begin()).await;
        good.send(batch(1)).await;
        good.acked(1).await;
        Self { ledger, health, ingest, good }
    }

    async fn bad(&self) -> Agent {
        Agent::ready(&self.ingest, "bad", Epoch::begin()).await
    }

    /// The refusal is told, counted under its limit, and the other node's batches still count.
    async fn cuts_off(mut self, bad: &mut Agent, limit: Limit, reason: RefusalReason, message: &str) {
        let (told, text) = bad.refused().await;
        assert_eq!(told, reason, "{text}");
        assert!(text.contains(message), "{text:?} does not say {message:?}");
        let line = format!("gpuledger_collector_limits_broken_total{{limit=\"{}\"}} 1\n", limit.name());
        assert!(self.health.text().contains(&line), "{line}");
        self.good.send(batch(2)).await;
        self.good.acked(2).await;
        assert_eq!(self.ledger.inner.check().await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_the_transport_cannot_read_is_told_and_not_taken_for_a_broken_link() {
    for (status, limit, message) in [
        (Status::out_of_range("found 9000000 bytes"), Limit::MessageBytes, "found 9000000 bytes"),
        (Status::internal("invalid wire type"), Limit::MessageForm, "invalid wire type"),
        (Status::deadline_exceeded("not within 30 s"), Limit::MessageTime, "not within 30 s"),
    ] {
        let scene = Scene::new().await;
        let mut bad = scene.bad().await;
        bad.fail(status.clone()).await;
        scene.cuts_off(&mut bad, limit, RefusalReason::Invalid, message).await;

        let scene = Scene::new().await;
        let mut silent = Agent::connect(&scene.ingest, Epoch::begin());
        silent.fail(status).await;
        scene.cuts_off(&mut silent, limit, RefusalReason::Invalid, message).await;
    }
}

#[tokio::test]
async fn sequences_beyond_the_last_or_behind_a_hole_are_refused() {
    let scene = Scene::new().await;
    let mut bad = Agent::connect(&scene.ingest, Epoch::begin());
    bad.send(hello("bad")).await;
    bad.answer().await.unwrap();
    bad.send(segment("bad", bad.epoch, SEQUENCE_MAX + 1)).await;
    let message = "segment.first_sequence: sequence 1099511627777 is out of range";
    scene.cuts_off(&mut bad, Limit::Sequence, RefusalReason::Invalid, message).await;

    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    bad.send(batch(2)).await;
    scene.cuts_off(&mut bad, Limit::Sequence, RefusalReason::Invalid, "does not follow batch 0").await;
}

#[tokio::test]
async fn the_last_sequence_there_is_can_be_reached_and_counts_what_was_passed_over() {
    let scene = Scene::new().await;
    let mut far = Agent::connect(&scene.ingest, Epoch::begin());
    far.send(hello("far")).await;
    far.answer().await.unwrap();
    far.open("far", SEQUENCE_MAX).await;
    let Message::Batch(last) = batch(1) else { unreachable!() };
    far.send(Message::Batch(v1::Batch { sequence: SEQUENCE_MAX, ..last })).await;
    far.acked(SEQUENCE_MAX).await;
    let line = format!("batches_total{{outcome=\"dropped\"}} {}\n", SEQUENCE_MAX - 1);
    assert!(scene.health.text().contains(&line));
}

#[tokio::test]
async fn an_inventory_and_a_batch_beyond_their_limits_are_refused() {
    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    let Message::Segment(mut many) = segment("bad", bad.epoch, 1) else { unreachable!() };
    many.inventory.as_mut().unwrap().gpus = vec![v1::GpuInfo::default(); DEVICES_PER_NODE_MAX];
    bad.send(Message::Segment(many)).await;
    scene.cuts_off(&mut bad, Limit::Inventory, RefusalReason::Invalid, "number of GPUs 257").await;

    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    let Message::Batch(many) = batch(1) else { unreachable!() };
    bad.send(Message::Batch(v1::Batch { samples: 5_000, ..many })).await;
    scene.cuts_off(&mut bad, Limit::Batch, RefusalReason::Invalid, "samples 5000 is out of range").await;
}

#[tokio::test]
async fn a_node_that_comes_again_and_again_waits_and_no_other_does() {
    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    loop {
        let mut next = Agent::connect(&scene.ingest, bad.epoch);
        next.send(hello("bad")).await;
        match next.answer().await.unwrap() {
            Answer::Welcome(_) => bad = next,
            Answer::Refusal(refusal) => {
                assert_eq!(refusal.reason(), RefusalReason::Unavailable);
                assert!(refusal.message.contains("opens streams too often"), "{}", refusal.message);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // The stream that was welcomed last goes on.
    bad.open("bad", 1).await;
    bad.send(batch(1)).await;
    bad.acked(1).await;
}

#[tokio::test]
async fn a_node_that_begins_epochs_without_end_waits() {
    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    for _ in 1..512 {
        bad.epoch = Epoch::begin();
        bad.open("bad", 1).await;
    }
    bad.send(segment("bad", Epoch::begin(), 1)).await;
    let message = "begins epochs too often";
    scene.cuts_off(&mut bad, Limit::Epochs, RefusalReason::Unavailable, message).await;
}

#[tokio::test]
async fn a_node_that_names_gpus_without_end_waits_and_fills_no_register() {
    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    let epoch = bad.epoch;
    for number in 1..1_024 {
        bad.opened(segment_of("bad", &format!("GPU-{number}"), epoch, 1)).await;
    }
    bad.send(segment_of("bad", "GPU-more", epoch, 1)).await;
    let ledger = Arc::clone(&scene.ledger);
    let message = "names new GPUs too often";
    scene.cuts_off(&mut bad, Limit::Gpus, RefusalReason::Unavailable, message).await;
    assert_eq!(ledger.gpus().await.unwrap().len(), 1_025, "and one of the good node");
}

#[tokio::test]
async fn a_node_that_names_owners_without_end_waits_and_fills_no_register() {
    let scene = Scene::new().await;
    let mut bad = scene.bad().await;
    let named = |sequence: u64| {
        let Message::Batch(mut batch) = batch(sequence) else { unreachable!() };
        batch.holdings = (0..HOLDINGS_PER_BATCH_MAX)
            .map(|number| {
                let owner = v1::Owner { name: format!("{sequence}-{number}"), ..v1::Owner::default() };
                v1::Holding { shares: vec![v1::Share { owner: Some(owner), share_ppm: 1_000_000 }] }
            })
            .collect();
        Message::Batch(batch)
    };
    for sequence in 1..=9 {
        bad.send(named(sequence)).await;
    }
    let ledger = Arc::clone(&scene.ledger);
    let message = "names new owners too often";
    scene.cuts_off(&mut bad, Limit::Owners, RefusalReason::Unavailable, message).await;
    assert!(ledger.all_owners().await.unwrap().len() < 9 * HOLDINGS_PER_BATCH_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_takes_no_answers_is_cut_off() {
    let (out, _unread) = mpsc::channel(1);
    let answer = || Answer::Ack(v1::Ack::default());
    assert!(send(&out, answer()).await.is_ok());
    let Err(End::Refused(refusal)) = send(&out, answer()).await else { panic!("it was sent") };
    assert_eq!(refusal.limit, Some(Limit::Answers));
}
