//! The rows of the table of identities and outcomes, each as one case of the same name: of streams and
//! segments here, of batches and commits in `identity_of_batches.rs`.

use super::support::*;
use super::world::{World, counts};
use super::*;
use gpuledger_ledger::Store as _;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1::RefusalReason;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use std::collections::BTreeSet;

pub(super) const MOVED: RefusalReason = RefusalReason::Moved;
pub(super) const INVALID: RefusalReason = RefusalReason::Invalid;
/// The counters, without their prefix.
pub(super) const REFUSED_INVALID: &str = "collector_refusals_total{reason=\"invalid\"}";
pub(super) const REFUSED_MOVED: &str = "collector_refusals_total{reason=\"moved\"}";
pub(super) const REPEATED: &str = "collector_batches_total{outcome=\"repeated\"}";
pub(super) const DROPPED: &str = "collector_batches_total{outcome=\"dropped\"}";
pub(super) const REFUSED_BATCHES: &str = "collector_batches_total{outcome=\"refused\"}";
pub(super) const COMMITS_MOVED: &str = "collector_commits_total{outcome=\"moved\"}";

#[test]
fn every_row_of_the_table_is_a_case_and_every_case_a_row() {
    let rows: BTreeSet<&str> = include_str!("../identity.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next())
        .collect();
    let cases: BTreeSet<&str> = [include_str!("identity.rs"), include_str!("identity_of_batches.rs")]
        .into_iter()
        .flat_map(|file| file.split("#[tokio::test]\nasync fn ").skip(1))
        .filter_map(|case| case.split('(').next())
        .collect();
    assert!(rows.len() > 20);
    assert_eq!(rows, cases);
}

#[tokio::test]
async fn collector_ends() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    agent.send(batch(1)).await;
    world.counts("collector_batches_total{outcome=\"folded\"}", 1).await;
    world.ingest.drain().await.unwrap();
    assert_eq!(agent.refused().await.0, RefusalReason::Unavailable);
    assert_eq!(world.ledger.counted().await, truth(1));
    world.log.has("INFO", &["stream refused: not available", "shutting down"]);
}

#[tokio::test]
async fn store_that_fails() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    world.ledger.fail(true);
    agent.send(batch(1)).await;
    while world.ingest.unready().is_none() {
        tokio::task::yield_now().await;
    }
    assert!(agent.nothing_arrived());
    assert!(world.ingest.unready().unwrap().contains("disk is full"), "what /readyz says");
    world.ledger.fail(false);
    agent.acked(1).await;
    assert_eq!(world.ledger.counted().await, truth(1));
}

#[tokio::test]
async fn no_hello() {
    let world = World::new();
    let mut unnamed = hello("a");
    if let Message::Hello(hello) = &mut unnamed {
        hello.protocol = 0;
    }
    for (first, why) in [(batch(1), "not a hello"), (hello("a b"), "hello.node"), (unnamed, "hello.protocol")]
    {
        let mut agent = Agent::connect(&world.ingest, Epoch::begin());
        agent.send(first).await;
        let (reason, message) = agent.refused().await;
        assert!(reason == INVALID && message.contains(why), "{message}");
        world.log.has("WARN", &["what it sent is not valid", why]);
    }
    world.counts(REFUSED_INVALID, 3).await;
    assert_eq!(world.ledger.counted().await, (0, 0));
}

#[tokio::test]
async fn another_node_s_certificate() {
    let ledger = TestLedger::new();
    let ingest = start(&ledger);
    let mut impostor = Agent::connect_as(&ingest, Some("a"), Epoch::begin());
    impostor.send(hello("b")).await;
    let (reason, message) = impostor.refused().await;
    assert_eq!(reason, RefusalReason::Invalid);
    assert!(message.contains("it is node b, and its certificate is of node a"), "{message}");
    assert!(ledger.inner.nodes().await.unwrap().is_empty(), "nothing is registered");
    let mut itself = Agent::connect_as(&ingest, Some("a"), Epoch::begin());
    itself.send(hello("a")).await;
    assert!(matches!(itself.answer().await, Some(Answer::Welcome(_))));
    // A segment that another node wrote is refused as ever, whoever's the certificate is.
    itself.send(segment("b", itself.epoch, 1)).await;
    assert_eq!(itself.refused().await.0, RefusalReason::Invalid);
}

#[tokio::test]
async fn later_protocol() {
    let world = World::new();
    let mut agent = Agent::connect(&world.ingest, Epoch::begin());
    let mut later = hello("a");
    if let Message::Hello(hello) = &mut later {
        hello.protocol = 7;
    }
    agent.send(later).await;
    agent.answer().await.unwrap();
    agent.open("a", 1).await;
    agent.send_nothing().await;
    agent.send(batch(1)).await;
    agent.acked(1).await;
    assert_eq!(world.ledger.counted().await, truth(1));
    world.log.has("INFO", &["stream opened", "agent_version=\"test\""]);
}

#[tokio::test]
async fn two_streams_of_one_node() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut older = world.agent("a", epoch, segment("a", epoch, 1)).await;
    world.ledger.fail(true);
    older.send(batch(1)).await;
    world.counts("collector_batches_total{outcome=\"folded\"}", 1).await;
    let mut newer = world.agent("a", epoch, segment("a", epoch, 1)).await;
    assert_eq!(older.refused().await.0, MOVED);
    world.ledger.fail(false);
    newer.send(batch(1)).await;
    newer.send(batch(2)).await;
    newer.acked(2).await;
    assert_eq!(world.ledger.counted().await, truth(2));
    world.counts(REFUSED_MOVED, 1).await;
}

/// Both machines have the spool of the first one's run `copied`, and then runs and a GPU of their own.
#[tokio::test]
async fn one_name_on_two_machines() {
    let world = World::new();
    let copied = Epoch::begin();
    let own = [Epoch::begin(), Epoch::begin()];
    let mut before: Option<Agent> = None;
    for turn in 0..8 {
        let (machine, sequence) = (usize::from(turn % 2 == 1), turn / 2 + 1);
        let mut agent = world.agent("a", copied, segment_of("a", "GPU-0", copied, 1)).await;
        if let Some(mut before) = before.take() {
            assert_eq!(before.refused().await.0, MOVED);
        }
        for sequence in 1..=3 {
            agent.send(batch(sequence)).await;
        }
        agent.acked(3).await;
        agent.epoch = own[machine];
        let gpu = format!("GPU-{machine}");
        assert_eq!(agent.opened(segment_of("a", &gpu, agent.epoch, 1)).await, sequence - 1);
        agent.send(batch_from(sequence, (sequence + 2) * 10)).await;
        agent.acked(sequence).await;
        before = Some(agent);
    }
    let (first, second) = (truth(3 + 4), truth(4));
    assert_eq!(world.ledger.counted().await, (first.0 + second.0, first.1 + second.1));
    assert_eq!(world.log.count("WARN", &["streams of this node replace each other"]), 1);
    world.counts("collector_nodes_contested_total", 1).await;
}

#[tokio::test]
async fn spool_of_another_node() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.welcomed("b", epoch).await;
    agent.send(segment("a", epoch, 1)).await;
    let (reason, message) = agent.refused().await;
    assert_eq!(reason, INVALID);
    assert!(message.contains("written by node \"a\"") && message.contains("\"b\" sends it"), "{message}");
    assert!(world.ledger.gpus().await.unwrap().is_empty());
    world.log.has("WARN", &["node=\"b\"", "its spool was copied"]);
}

#[tokio::test]
async fn epoch_of_another_node() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut owner = world.agent("a", epoch, segment("a", epoch, 1)).await;
    owner.send(batch(1)).await;
    owner.acked(1).await;
    let nameless = |epoch| {
        let Message::Segment(mut nameless) = segment_of("", "GPU-b", epoch, 1) else { unreachable!() };
        nameless.node.clear();
        Message::Segment(nameless)
    };
    let mut other = world.welcomed("b", epoch).await;
    other.send(nameless(epoch)).await;
    let (reason, message) = other.refused().await;
    assert_eq!(reason, INVALID);
    assert!(message.contains("belongs to node \"a\""), "{message}");
    assert_eq!(world.ledger.gpus().await.unwrap().len(), 1);
    // Its own epoch it may send without a name.
    let epoch = Epoch::begin();
    let mut other = world.agent("b", epoch, nameless(epoch)).await;
    other.send(batch(1)).await;
    other.acked(1).await;
    assert_eq!(world.ledger.counted().await, (2 * truth(1).0, 2 * truth(1).1));
}

#[tokio::test]
async fn batch_before_segment() {
    let world = World::new();
    let mut agent = world.welcomed("a", Epoch::begin()).await;
    agent.send(batch(1)).await;
    let (reason, message) = agent.refused().await;
    assert!(reason == INVALID && message.contains("before its segment"), "{message}");
    world.counts(REFUSED_INVALID, 1).await;
}

#[tokio::test]
async fn old_spool_sent_again() {
    let world = World::new();
    let (old, new) = (Epoch::begin(), Epoch::begin());
    let mut agent = world.agent("a", old, segment("a", old, 1)).await;
    for sequence in 1..=3 {
        agent.send(batch(sequence)).await;
    }
    agent.acked(3).await;
    agent.epoch = new;
    agent.open("a", 1).await;
    agent.send(batch_from(1, 30)).await;
    agent.acked(1).await;
    let mut again = world.welcomed("a", old).await;
    assert_eq!(again.open("a", 1).await, 3);
    for sequence in 1..=3 {
        again.send(batch(sequence)).await;
    }
    again.acked(3).await;
    assert_eq!(world.ledger.counted().await, truth(4));
    world.counts(REPEATED, 3).await;
}

/// Two agents: one has let go of everything, the other still has what the backup lacks.
#[tokio::test]
async fn ledger_restored_from_a_backup() {
    for kept in [5, 3] {
        let world = World::new();
        let epoch = Epoch::begin();
        let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
        for sequence in 1..=2 {
            agent.send(batch(sequence)).await;
        }
        agent.acked(2).await;
        let backup = world.ledger.backup().await;
        for sequence in 3..=4 {
            agent.send(batch(sequence)).await;
        }
        agent.acked(4).await;

        let (restored, health) = World::collector(&backup);
        let mut agent = Agent::connect(&restored, epoch);
        agent.send(hello("a")).await;
        agent.answer().await.unwrap();
        assert_eq!(agent.open("a", kept).await, 2);
        for sequence in kept..=5 {
            agent.send(batch(sequence)).await;
        }
        agent.acked(5).await;
        let lost_ms = (kept - 3) * 10_000 + u64::from(kept > 3) * 1_000;
        assert_eq!(backup.counted().await, (truth(5).0 - lost_ms, truth(5).1));
        counts(&health, DROPPED, kept - 3).await;
        assert_eq!(world.log.count("WARN", &["restored from a backup"]), usize::from(kept > 3));
    }
}

#[tokio::test]
async fn batches_that_the_agent_dropped() {
    let world = World::new();
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    agent.send(batch(1)).await;
    agent.acked(1).await;
    // Announced more than once before a batch comes: told once.
    assert_eq!(agent.open("a", 5).await, 1);
    assert_eq!(agent.open("a", 5).await, 1);
    agent.send(batch(5)).await;
    agent.acked(5).await;
    assert_eq!(world.ledger.counted().await, (truth(5).0 - 31_000, truth(5).1));
    world.counts(DROPPED, 3).await;
    assert_eq!(world.log.count("WARN", &["batches=3", "batches are missing"]), 1);
}

#[tokio::test]
async fn reinstalled_agent() {
    let world = World::new();
    let (before, after) = (Epoch::begin(), Epoch::begin());
    let mut agent = world.agent("a", before, segment("a", before, 1)).await;
    agent.send(batch(1)).await;
    agent.acked(1).await;
    let mut agent = world.welcomed("a", after).await;
    assert_eq!(agent.open("a", 1).await, 0);
    // A minute later.
    agent.send(batch_from(1, 60)).await;
    agent.acked(1).await;
    assert_eq!(world.ledger.counted().await, (9_000 + 9_000, truth(7).1));
    world.counts(DROPPED, 0).await;
}

#[tokio::test]
async fn gpu_moved_to_another_node() {
    let world = World::new();
    let (here, there) = (Epoch::begin(), Epoch::begin());
    let mut agent = world.agent("a", here, segment_of("a", "GPU-1", here, 1)).await;
    agent.send(batch(1)).await;
    agent.acked(1).await;
    // Its first stream breaks before anything came.
    let broken = world.agent("b", there, segment_of("b", "GPU-1", there, 1)).await;
    let mut agent = world.agent("b", there, segment_of("b", "GPU-1", there, 1)).await;
    drop(broken);
    agent.send(batch_from(1, 10)).await;
    agent.send(batch_from(2, 20)).await;
    agent.acked(2).await;
    assert_eq!(world.ledger.counted().await, truth(3));
    let holder = world.ledger.gpus().await.unwrap()[0].node;
    assert_eq!(world.ledger.node(&NodeName::new("b").unwrap()).await.unwrap(), holder);
    world.counts("collector_gpus_moved_total", 1).await;
    assert_eq!(world.log.count("WARN", &["node=\"b\"", "from=\"a\"", "took GPUs over", "GPU-1"]), 1);
}

/// Two agents that report the same GPU at the same time, each sending again what it was refused.
#[tokio::test]
async fn gpu_on_two_nodes_at_once() {
    const BATCHES: u64 = 6;
    let world = World::new();
    let all = |node: &'static str| {
        let world = &world;
        async move {
            let epoch = Epoch::begin();
            let mut moved = 0;
            loop {
                let mut agent = world.welcomed(node, epoch).await;
                let committed = agent.opened(segment_of(node, "GPU-1", epoch, 1)).await;
                for sequence in committed + 1..=BATCHES {
                    agent.send(batch(sequence)).await;
                    // One at a time, so that both get their turn.
                    if !agent.acked_or_moved(sequence).await {
                        moved += 1;
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                if world.ledger.committed(node, epoch).await == BATCHES {
                    return moved;
                }
            }
        }
    };
    let moved = tokio::join!(all("a"), all("b"));
    assert_eq!(world.ledger.counted().await, truth(BATCHES));
    assert!(moved.0 + moved.1 > 0, "they never met");
    world.log.has("WARN", &["took GPUs over", "both report them"]);
    assert_eq!(world.ledger.inner.check().await.unwrap(), Vec::<String>::new());
}
