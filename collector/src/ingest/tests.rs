//! The protocol and its promises, against a real ledger file.

mod crowd;
mod identity;
mod identity_of_batches;
mod limits;
mod skew;
mod support;
mod tap;
mod world;

use super::node::UNCOMMITTED_BATCHES_MAX;
use super::*;
use gpuledger_ledger::Store as _;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{Hour, HourRange, OwnerKey, Wanted};
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1::RefusalReason;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use support::{Agent, TestLedger, batch, batch_of, hello, segment, start, truth, user};

#[tokio::test]
async fn batches_are_folded_committed_and_acknowledged() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    for sequence in 1..=30 {
        agent.send(batch(sequence)).await;
    }
    agent.acked(30).await;
    assert_eq!(ledger.counted().await, truth(30));
    assert_eq!(ledger.committed("a", agent.epoch).await, 30);
    let hours = ledger.gpu_rows(&Wanted::all(HourRange { from: Hour(0), to: Hour(u32::MAX) })).await.unwrap();
    assert_eq!(hours.len(), 1);
    assert_eq!(hours[0].0.owner, OwnerKey::FIRST_NAMED, "anna");
    assert_eq!(ledger.inner.check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_store_fails_and_all_is_when_it_is_back() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    ledger.fail(true);
    agent.send(batch(1)).await;
    while ingest.unready().is_none() {
        tokio::task::yield_now().await;
    }
    agent.send(batch(2)).await;
    assert!(ingest.unready().unwrap().contains("disk is full"));
    assert!(agent.nothing_arrived());
    assert_eq!(ledger.committed("a", agent.epoch).await, 0);
    ledger.fail(false);
    agent.acked(2).await;
    assert_eq!(ingest.unready(), None);
    assert_eq!(ledger.counted().await, truth(2));
}

#[tokio::test]
async fn a_full_node_is_not_read_and_goes_on_when_the_store_is_back() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    ledger.fail(true);
    let last = u64::try_from(UNCOMMITTED_BATCHES_MAX).unwrap() + 20;
    let full = async {
        loop {
            let node = ingest.shared.nodes.lock().unwrap().values().next().cloned();
            if node.is_some_and(|node| node.lock().is_full()) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(ledger.attempts.load(std::sync::atomic::Ordering::SeqCst) > 0);
        ledger.fail(false);
    };
    let send = async {
        for sequence in 1..=last {
            agent.send(batch(sequence)).await;
        }
    };
    tokio::join!(full, send);
    agent.acked(last).await;
    assert_eq!(ledger.counted().await, truth(last));
}

#[tokio::test]
async fn an_agent_that_lost_the_acknowledgement_sends_again_and_counts_once() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let epoch = Epoch::begin();
    let mut before = Agent::ready(&ingest, "a", epoch).await;
    before.send(batch(1)).await;
    before.acked(1).await;
    before.send(batch(2)).await;
    drop(before);
    let mut after = Agent::connect(&ingest, epoch);
    after.send(hello("a")).await;
    assert!(matches!(after.answer().await, Some(Answer::Welcome(_))));
    assert!((1..=2).contains(&after.open("a", 1).await));
    for sequence in 1..=3 {
        after.send(batch(sequence)).await;
    }
    after.acked(3).await;
    assert_eq!(ledger.counted().await, truth(3));
}

#[tokio::test]
async fn a_commit_of_what_came_before_is_acknowledged_only_as_far_as_it_is_sent_again() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let epoch = Epoch::begin();
    let before = Agent::ready(&ingest, "a", epoch).await;
    ledger.fail(true);
    for sequence in 1..=3 {
        before.send(batch(sequence)).await;
    }
    let node = ingest.shared.nodes.lock().unwrap().values().next().cloned().unwrap();
    while node.lock().uncommitted() < 3 {
        tokio::task::yield_now().await;
    }
    drop(before);
    let mut after = Agent::ready(&ingest, "a", epoch).await;
    after.send(batch(1)).await;
    ledger.fail(false);
    after.acked(1).await;
    after.send(batch(2)).await;
    after.send(batch(3)).await;
    after.acked(2).await;
    after.acked(3).await;
    assert_eq!(ledger.counted().await, truth(3));
}

#[tokio::test]
async fn what_was_sent_before_the_next_segment_of_an_epoch_is_acknowledged_after_it() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    ledger.fail(true);
    agent.send(batch(1)).await;
    agent.send(batch(2)).await;
    assert_eq!(agent.open("a", 3).await, 0);
    ledger.fail(false);
    agent.acked(2).await;
}

#[tokio::test]
async fn a_node_whose_amounts_cannot_be_stored_does_not_hold_up_the_others() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut good = Agent::ready(&ingest, "good", Epoch::begin()).await;
    let mut bad = Agent::ready(&ingest, "bad", Epoch::begin()).await;
    // A counter that runs from nothing to the end of the range again and again.
    let jumping = |sample: u64| if sample.is_multiple_of(2) { 0 } else { i64::MAX };
    ledger.fail(true);
    bad.send(batch_of(1, 0, |sample| jumping(sample.min(3)))).await;
    good.send(batch(1)).await;
    while ingest.unready().is_none() {
        tokio::task::yield_now().await;
    }
    ledger.fail(false);
    let (reason, message) = bad.refused().await;
    assert_eq!(reason, RefusalReason::Invalid);
    assert!(message.contains("cannot add to a row"), "{message}");
    good.acked(1).await;
    assert_eq!(ledger.counted().await, truth(1));
}

/// A backup is moved into the place of the ledger, and has given the owner's number to somebody else.
#[tokio::test]
async fn a_ledger_that_another_took_the_place_of_is_begun_anew_with_its_own_numbers() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    let backup = ledger.path().with_extension("backup");
    SqliteLedger::backup(&ledger.path(), &backup, |_, _| {}).unwrap();
    agent.send(batch(1)).await;
    agent.acked(1).await;
    let restored = SqliteLedger::open(&backup).unwrap();
    assert_eq!(restored.owners(&[user("zoe")]).await.unwrap(), [OwnerKey::FIRST_NAMED], "who was anna");
    drop(restored);
    std::fs::rename(&backup, ledger.path()).unwrap();

    agent.send(batch(2)).await;
    assert_eq!(agent.refused().await.0, RefusalReason::Moved);
    assert_eq!(ingest.unready(), None);
    let mut again = Agent::connect(&ingest, agent.epoch);
    again.send(hello("a")).await;
    again.answer().await.unwrap();
    assert_eq!(again.open("a", 1).await, 0);
    for sequence in 1..=3 {
        again.send(batch(sequence)).await;
    }
    again.acked(3).await;
    assert_eq!(ledger.counted().await, truth(3));
    let hours = ledger.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap();
    let owners = ledger.all_owners().await.unwrap();
    let name = |key| &owners.iter().find(|owner| owner.key == key).unwrap().owner.name;
    assert_eq!(hours.iter().map(|(key, _)| name(key.owner)).collect::<Vec<_>>(), ["anna"]);
}

#[tokio::test]
async fn the_end_of_the_collector_commits_acknowledges_and_says_so() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    let mut silent = Agent::connect(&ingest, Epoch::begin());
    agent.send(batch(1)).await;
    agent.send(batch(2)).await;
    while ingest.shared.latest.snapshot().is_empty() {
        tokio::task::yield_now().await;
    }
    ingest.drain().await.unwrap();
    let (reason, _) = agent.refused().await;
    assert_eq!(reason, RefusalReason::Unavailable);
    assert_eq!(silent.refused().await.0, RefusalReason::Unavailable);
    let committed = ledger.committed("a", agent.epoch).await;
    assert!((1..=2).contains(&committed));
    assert_eq!(ledger.counted().await, truth(committed));
}

#[tokio::test]
async fn an_end_with_a_failing_store_is_told_and_does_not_last() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    ledger.fail(true);
    agent.send(batch(1)).await;
    while ingest.unready().is_none() {
        tokio::task::yield_now().await;
    }
    let ended = ingest.drain().await;
    assert!(matches!(ended, Err(LedgerError::DiskFull { .. })), "{ended:?}");
}

#[tokio::test]
async fn an_agent_that_ends_its_half_still_gets_its_acknowledgements() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut agent = Agent::ready(&ingest, "a", Epoch::begin()).await;
    agent.send(batch(1)).await;
    agent.send(batch(2)).await;
    agent.end_sending();
    agent.acked(2).await;
    assert!(agent.answer().await.is_none());
    while !ingest.shared.nodes.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused_with_a_reason() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let epoch = Epoch::begin();
    let open = || segment("a", epoch, 1);
    let v1_segment = |change: fn(&mut v1::Segment)| {
        let Message::Segment(mut segment) = open() else { unreachable!() };
        change(&mut segment);
        Message::Segment(segment)
    };
    let garbage = |change: fn(&mut v1::Batch)| {
        let Message::Batch(mut batch) = batch(1) else { unreachable!() };
        change(&mut batch);
        Message::Batch(batch)
    };
    let table = [
        (vec![batch(1)], "the first message is not a hello"),
        (vec![hello("a b")], "hello.node: node name \"a b\" is not valid"),
        (vec![Message::Hello(v1::Hello { node: "a".into(), ..v1::Hello::default() })], "hello.protocol"),
        (vec![hello("a"), hello("a")], "a second hello"),
        (vec![hello("a"), batch(1)], "a batch came before its segment"),
        (vec![hello("a"), v1_segment(|s| s.epoch.truncate(3))], "segment.epoch"),
        (vec![hello("a"), v1_segment(|s| s.boot_id = vec![1])], "segment.boot_id: expected 16 bytes or none"),
        (vec![hello("a"), v1_segment(|s| s.first_sequence = 0)], "segment.first_sequence"),
        (vec![hello("a"), v1_segment(|s| s.inventory = None)], "segment.inventory"),
        (vec![hello("a"), open(), garbage(|b| b.columns = vec![0xff; 100])], "columns"),
        (vec![hello("a"), open(), garbage(|b| b.sequence = 0)], "batch.sequence"),
        (vec![hello("a"), open(), garbage(|b| b.samples = u32::MAX)], "samples"),
        (vec![hello("a"), open(), garbage(|b| b.holdings.clear())], "holding"),
        (vec![hello("a"), open(), garbage(|b| b.sequence = u64::MAX)], "does not follow batch 0"),
    ];
    for (messages, expected) in table {
        let mut agent = Agent::connect(&ingest, epoch);
        let count = messages.len();
        for message in messages {
            agent.send(message).await;
        }
        // Hello and segment are answered; what follows is the refusal.
        for _ in 1..count {
            let answer = agent.answer().await;
            assert!(matches!(answer, Some(Answer::Welcome(_) | Answer::Opened(_))), "{answer:?}");
        }
        let (reason, message) = agent.refused().await;
        assert_eq!(reason, RefusalReason::Invalid, "{expected}");
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
    assert_eq!(ledger.counted().await, (0, 0));
}
