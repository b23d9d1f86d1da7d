//! A node's clock against the collector's, by what its messages say.

use super::support::*;
use super::world::World;
use gpuledger_proto::ids::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test]
async fn skew_is_measured_shown_and_told_when_it_begins_and_ends() {
    let now = Arc::new(AtomicU64::new(START_MS));
    let clock = Arc::clone(&now);
    let world = World::by(Arc::new(move || clock.load(Ordering::SeqCst)));
    let epoch = Epoch::begin();
    let mut agent = world.agent("a", epoch, segment("a", epoch, 1)).await;
    let shown = || world.ingest.shared.latest.snapshot().first().and_then(|(_, node)| node.skew_ms);
    // Of an older agent nothing is known.
    agent.send(batch(1)).await;
    agent.acked(1).await;
    assert_eq!(shown(), None);
    let steps: [(i64, i64); 6] =
        [(12_000, 12_000), (7_000, 12_000), (-4_000, 12_000), (6_000, 7_000), (0, 6_000), (-30_000, 6_000)];
    for ((ahead_ms, smoothed_ms), sequence) in steps.into_iter().zip(2..) {
        let at_ms = START_MS + sequence * 50_000;
        now.store(at_ms, Ordering::SeqCst);
        // It arrives while the collector waits for it.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        agent.send_at(batch(sequence), at_ms.saturating_add_signed(ahead_ms)).await;
        agent.acked(sequence).await;
        assert_eq!(shown(), Some(smoothed_ms), "batch {sequence}");
    }
    assert_eq!(world.log.count("WARN", &["node=\"a\"", "clock is off", "skew_ms=12000"]), 1);
    assert_eq!(world.log.count("INFO", &["clock is right again"]), 0, "7 s is between both limits");
    now.fetch_add(200_000, Ordering::SeqCst);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    agent.send_at(batch(8), now.load(Ordering::SeqCst)).await;
    agent.acked(8).await;
    assert_eq!((shown(), world.log.count("INFO", &["clock is right again"])), (Some(0), 1));
}
