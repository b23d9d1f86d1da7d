//! A store that stalls under many nodes: what waits is bounded, and every node goes on in its turn.

use super::support::{Agent, TestLedger, batch, start_crowded};
use crate::ingest::Ingest;
use gpuledger_proto::ids::Epoch;

/// Batches of each node that wait for a commit, by name.
fn waiting(ingest: &Ingest) -> Vec<usize> {
    let nodes = ingest.shared.nodes.lock().unwrap();
    nodes.values().map(|node| node.lock().uncommitted()).collect()
}

async fn until_waiting(ingest: &Ingest, batches: &[usize]) {
    while waiting(ingest) != batches {
        tokio::task::yield_now().await;
    }
}

/// Waits where the stream is not read.
async fn send_all(agent: &Agent) {
    for sequence in 1..=3 {
        agent.send(batch(sequence)).await;
    }
}

#[tokio::test]
async fn a_stalled_store_lets_each_node_have_its_share_waiting_and_takes_everything_when_it_is_back() {
    let ledger = TestLedger::new();
    // One row of all nodes: whoever has one has more than a share.
    let ingest = start_crowded(&ledger, 1);
    let mut one = Agent::ready(&ingest, "a", Epoch::begin()).await;
    let mut other = Agent::ready(&ingest, "b", Epoch::begin()).await;
    ledger.fail(true);
    let stall = async {
        until_waiting(&ingest, &[1, 1]).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert_eq!(waiting(&ingest), [1, 1], "a stalled store makes nobody read on");
        }
        assert!(ingest.shared.crowd.rows() > 1);
        ledger.fail(false);
    };
    tokio::join!(stall, send_all(&one), send_all(&other));
    one.acked(3).await;
    other.acked(3).await;
    until_waiting(&ingest, &[0, 0]).await;
    assert_eq!(ingest.shared.crowd.rows(), 0);
}
