//! The rows of the table of identities and outcomes that speak of batches and commits.

use super::identity::{COMMITS_MOVED, DROPPED, INVALID, MOVED, REFUSED_BATCHES, REPEATED};
use super::support::*;
use super::world::World;
use super::*;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1::agent_message::Kind as Message;

#[tokio::test]
async fn duplicate_batch() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    for sequence in [1, 2, 1, 2, 3, 3] {
        agent.send(batch(sequence)).await;
    }
    agent.acked(3).await;
    agent.send(batch(2)).await;
    agent.acked(3).await;
    assert_eq!(world.ledger.counted().await, truth(3));
    world.counts(REPEATED, 4).await;
}

#[tokio::test]
async fn batch_out_of_order() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    agent.send(batch(1)).await;
    agent.send(batch(3)).await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.reason(), INVALID);
    assert!(refusal.message.contains("batch 3") && refusal.message.contains("does not follow batch 1"));
    assert_eq!((refusal.epoch.len(), refusal.sequence), (0, 0), "the batch itself may be sound");
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    for sequence in 1..=3 {
        agent.send(batch(sequence)).await;
    }
    agent.acked(3).await;
    assert_eq!(world.ledger.counted().await, truth(3));
}

#[tokio::test]
async fn batch_that_cannot_be_read() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    let Message::Batch(mut bad) = batch(2) else { unreachable!() };
    bad.columns.truncate(7);
    agent.send(batch(1)).await;
    agent.send(Message::Batch(bad)).await;
    let refusal = agent.refusal().await;
    assert_eq!((refusal.reason(), refusal.sequence), (INVALID, 2));
    assert_eq!(refusal.epoch, epoch.0.as_bytes());
    world.counts(REFUSED_BATCHES, 1).await;
    // What came before is committed all the same. The agent goes on behind the batch that it set aside.
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    agent.send(batch(1)).await;
    agent.acked(1).await;
    agent.open("a", 3).await;
    agent.send(batch(3)).await;
    agent.acked(3).await;
    assert_eq!(world.ledger.counted().await, (truth(3).0 - 11_000, truth(3).1));
    world.counts(DROPPED, 1).await;
}

#[tokio::test]
async fn clock_days_ahead() {
    const AHEAD_S: u64 = 27 * 3_600;
    let world = World::by(Arc::new(|| START_MS));
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    agent.send(batch(1)).await;
    agent.send(batch_from(2, AHEAD_S)).await;
    agent.send(batch(3)).await;
    agent.acked(3).await;
    assert_eq!(world.ledger.counted().await, (truth(3).0 - 11_000, truth(3).1));
    world.counts("node_samples_ahead_total{node=\"a\"}", 10).await;
    assert_eq!(world.log.count("WARN", &["more than a day ahead"]), 1);
    assert_eq!(world.log.count("INFO", &["no longer a day ahead"]), 1);
}

#[tokio::test]
async fn two_collectors_at_once() {
    let world = World::new();
    let (there, _) = World::collector(&world.ledger);
    let epoch = Epoch::begin();
    let mut stays = world.agent("a", epoch, segment("a", epoch, 1)).await;
    stays.send(batch(1)).await;
    stays.acked(1).await;
    let mut moves = Agent::ready(&there, "a", epoch).await;
    moves.send(batch(2)).await;
    moves.acked(2).await;
    stays.send(batch(2)).await;
    assert_eq!(stays.refused().await.0, MOVED);
    let mut back = world.welcomed("a", epoch).await;
    assert_eq!(back.open("a", 1).await, 2);
    back.send(batch(3)).await;
    back.acked(3).await;
    assert_eq!(world.ledger.counted().await, truth(3));
    world.counts(COMMITS_MOVED, 1).await;
}

#[tokio::test]
async fn collector_replaced_in_mid_stream() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    agent.send(batch(1)).await;
    agent.acked(1).await;
    // From here on it folds, and gets no further.
    world.ledger.fail(true);
    agent.send(batch(2)).await;
    agent.send(batch(3)).await;
    world.counts("collector_batches_total{outcome=\"folded\"}", 3).await;
    let (successor, _) = World::collector(&world.ledger.elsewhere());
    let mut agent = Agent::connect(&successor, epoch);
    agent.send(hello("a")).await;
    agent.answer().await.unwrap();
    assert_eq!(agent.open("a", 1).await, 1);
    for sequence in 2..=4 {
        agent.send(batch(sequence)).await;
    }
    agent.acked(4).await;
    // The first one was not dead.
    world.ledger.fail(false);
    world.counts(COMMITS_MOVED, 1).await;
    assert_eq!(world.ledger.counted().await, truth(4));
}

#[tokio::test]
async fn batch_that_the_ledger_cannot_store() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    // A counter that runs from nothing to above half of the range, twice.
    let jumping = |sample: u64| if sample == 10 || sample == 12 { i64::MAX / 2 + 1_000_000_000 } else { 0 };
    let bad = || batch_of(2, 10, jumping);
    world.ledger.fail(true);
    for message in [batch(1), bad(), batch(3)] {
        agent.send(message).await;
    }
    world.counts("collector_batches_total{outcome=\"folded\"}", 3).await;
    world.ledger.fail(false);
    let refusal = agent.refusal().await;
    assert_eq!((refusal.reason(), refusal.sequence), (INVALID, 0), "{}", refusal.message);
    for _ in 0..2 {
        let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
        for message in [batch(1), bad(), batch(3)] {
            agent.send(message).await;
        }
        let refusal = agent.refusal().await;
        assert_eq!((refusal.reason(), refusal.sequence), (INVALID, 2), "{}", refusal.message);
    }
    let mut agent = world.agent("a", epoch, segment("a", epoch, 3)).await;
    agent.send(batch(3)).await;
    agent.acked(3).await;
    assert_eq!(world.ledger.counted().await, (truth(3).0 - 11_000, truth(3).1));
    world.counts(REFUSED_BATCHES, 2).await;
}
