//! A collector is a peer too: whatever it says, the agent keeps its data and its processor.

use super::*;
use gpuledger_proto::limits::ANSWER_BYTES_MAX;

/// The collector does its worst for a while, and is a good one then: nothing was lost.
async fn nothing_is_lost_after(collector: Collector, mut agent: Agent, uplink: Uplink) {
    collector.set_manner(Manner::Good);
    agent.record(5);
    drained(&agent).await;
    let batches: Vec<u64> = (1..=15).collect();
    assert_eq!(collector.committed(agent.epoch), batches);
    assert_eq!((agent.spool.dropped_batches(), agent.counts().batches_set_aside), (0, 0));
    uplink.stop().await;
}

async fn begun(manner: Manner) -> (Collector, Agent, Uplink) {
    let collector = Collector::start(manner).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(10);
    let uplink = agent.uplink(&collector.endpoint());
    (collector, agent, uplink)
}

#[tokio::test]
async fn a_collector_that_talks_without_end_is_left_and_tried_again_later() {
    let (collector, agent, uplink) = begun(Manner::TalksWithoutEnd).await;
    until("three streams end", || agent.counts().links_lost >= 3).await;
    assert_eq!(agent.counts().batches_acknowledged, 0);
    // Each stream ends after the spare answers, and what was in the connection by then.
    let each = collector.unasked() / (agent.counts().links_lost + 1);
    assert!(each < 20_000, "{each} answers were listened to on each stream");
    nothing_is_lost_after(collector, agent, uplink).await;
}

#[tokio::test]
async fn a_reason_longer_than_an_answer_may_be_ends_the_stream_and_nothing_else() {
    let (collector, agent, uplink) = begun(Manner::RefusesAtLength(2 * ANSWER_BYTES_MAX)).await;
    until("three streams end", || agent.counts().links_lost >= 3).await;
    assert_eq!(agent.counts().refusals, 0, "it was not read that far");
    nothing_is_lost_after(collector, agent, uplink).await;
}

#[tokio::test]
async fn a_refusal_in_a_loop_is_met_with_pauses_and_loses_nothing() {
    let (collector, agent, uplink) = begun(Manner::RefusesAtLength(3_000)).await;
    until("ten refusals", || agent.counts().refusals >= 10).await;
    nothing_is_lost_after(collector, agent, uplink).await;
}
