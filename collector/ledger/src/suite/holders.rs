//! Cases of what belongs to one node only: a GPU's chain, and an epoch.

use super::samples::{HOUR, Node, commit_one, everything, inventory, name, row};
use super::{Bed, Outcome};
use crate::{
    CommitOutcome, EpochAdvance, GpuHourKey, GpuKey, Ledger, LedgerError, NodeCommit, OwnerKey, Taken, Wanted,
};
use gpuledger_proto::ids::Sequence;

/// Two nodes that name the same two GPUs, of which the first holds both and has committed once.
async fn two_claimants(ledger: &dyn Ledger) -> Result<(Node, Node), LedgerError> {
    let a = Node::register(ledger, "a").await?;
    commit_one(ledger, a.commit(0, 0)).await?;
    let b = claimant(ledger, "b", &a).await?;
    Ok((a, b))
}

/// A node that names the GPUs of the node "a".
async fn claimant(ledger: &dyn Ledger, node: &str, a: &Node) -> Result<Node, LedgerError> {
    let key = ledger.node(&name(node)?).await?;
    let named = ledger.register(key, &inventory(&["GPU-a-0", "GPU-a-1"])?).await?;
    let gpus: Vec<_> = named.iter().map(|gpu| gpu.key).collect();
    assert_eq!(gpus, a.gpus);
    Ok(Node { key, gpus })
}

/// The node's first commit, which takes these GPUs from the other.
fn taking(node: &Node, from: &Node, base_version: u64, gpus: &[GpuKey]) -> NodeCommit {
    let taken = Taken { from: from.key, base_version, state: vec![9, 9], gpus: gpus.to_vec() };
    NodeCommit { taken: vec![taken], ..node.commit(0, 0) }
}

/// One row of the node's second GPU.
fn of_second_gpu(node: &Node, base_version: u64, from: u64) -> NodeCommit {
    let mut commit = node.commit(base_version, from);
    commit.gpu_hours[0].0.gpu = node.gpus[1];
    commit.gpus_seen[0].0 = node.gpus[1];
    commit
}

pub async fn a_gpu_is_taken_over_with_the_memory_of_its_chain(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = two_claimants(&*ledger).await?;
    let taken = &a.gpus[..1];
    assert_eq!(commit_one(&*ledger, taking(&b, &a, 1, taken)).await?, CommitOutcome::Committed);
    let (of_a, of_b) = (ledger.state(a.key).await?, ledger.state(b.key).await?);
    assert_eq!((of_a.version, of_a.blob), (2, vec![9, 9]), "without the GPU");
    assert_eq!((of_b.version, of_b.blob), (1, vec![1, 2, 3]));
    let holders: Vec<_> = ledger.gpus().await?.into_iter().map(|gpu| gpu.node).collect();
    assert_eq!(holders, [b.key, a.key]);
    let registered = ledger.register(a.key, &inventory(&["GPU-a-0", "GPU-a-1"])?).await?;
    assert_eq!(registered[0].holder, b.key, "naming it does not take it back");
    // The node that lost it: what it folded before, what it folds of it now, and of the other GPU.
    assert_eq!(commit_one(&*ledger, a.commit(1, 1)).await?, CommitOutcome::Moved);
    assert_eq!(commit_one(&*ledger, a.commit(2, 1)).await?, CommitOutcome::Moved);
    assert_eq!(commit_one(&*ledger, of_second_gpu(&a, 2, 1)).await?, CommitOutcome::Committed);
    // The node that has it goes on, and may lose it again.
    assert_eq!(commit_one(&*ledger, b.commit(1, 1)).await?, CommitOutcome::Committed);
    let back = NodeCommit { taken: taking(&a, &b, 2, taken).taken, ..a.commit(3, 2) };
    assert_eq!(commit_one(&*ledger, back).await?, CommitOutcome::Committed);
    let samples: u64 = ledger.gpu_totals().await?.iter().map(|gpu| gpu.total.samples).sum();
    assert_eq!(samples, 5 * row().samples, "each commit counts once");
    Ok(())
}

pub async fn a_takeover_of_what_has_moved_writes_nothing(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = two_claimants(&*ledger).await?;
    let c = claimant(&*ledger, "c", &a).await?;
    let d = Node::register(&*ledger, "d").await?;
    let gpus = a.gpus.clone();
    let good = taking(&b, &a, 1, &gpus);
    let also = |more: Taken| NodeCommit { taken: vec![good.taken[0].clone(), more], ..good.clone() };
    let table = [
        ("an older version", taking(&b, &a, 0, &gpus)),
        ("a newer version", taking(&b, &a, 2, &gpus)),
        ("a node that does not hold it", taking(&b, &c, 0, &gpus)),
        ("one GPU that it holds and one that it does not", taking(&b, &a, 1, &[gpus[0], d.gpus[0]])),
        ("a GPU that nobody registered", taking(&b, &a, 1, &[gpus[0], GpuKey(900_000)])),
        ("itself", taking(&a, &a, 1, &gpus)),
        ("the same node twice", also(good.taken[0].clone())),
        ("a second node of another version", also(taking(&b, &d, 1, &d.gpus).taken[0].clone())),
        ("another base version of its own", NodeCommit { base_version: 1, ..good.clone() }),
    ];
    let before = everything(&*ledger, &[&a, &b, &c, &d]).await?;
    for (what, commit) in table {
        assert_eq!(commit_one(&*ledger, commit).await?, CommitOutcome::Moved, "{what}");
        assert_eq!(everything(&*ledger, &[&a, &b, &c, &d]).await?, before, "{what}");
    }
    assert_eq!(commit_one(&*ledger, good).await?, CommitOutcome::Committed);
    Ok(())
}

pub async fn rows_of_a_gpu_that_another_node_holds_are_not_written(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = two_claimants(&*ledger).await?;
    let unregistered = GpuHourKey { hour: HOUR, gpu: GpuKey(900_000), owner: OwnerKey::NOBODY };
    let bare = NodeCommit { gpu_hours: Vec::new(), gpus_seen: Vec::new(), ..b.commit(0, 0) };
    let table = [
        ("rows", NodeCommit { gpu_hours: b.commit(0, 0).gpu_hours, ..bare.clone() }),
        ("spans", NodeCommit { gpus_seen: b.commit(0, 0).gpus_seen, ..bare.clone() }),
        (
            "a GPU that nobody registered",
            NodeCommit { gpu_hours: vec![(unregistered, row())], ..bare.clone() },
        ),
        ("a GPU beside the one that is taken", {
            let mut commit = taking(&b, &a, 1, &a.gpus[..1]);
            commit.gpu_hours.push((GpuHourKey { gpu: a.gpus[1], ..commit.gpu_hours[0].0 }, row()));
            commit
        }),
    ];
    let before = everything(&*ledger, &[&a, &b]).await?;
    for (what, commit) in table {
        assert_eq!(commit_one(&*ledger, commit).await?, CommitOutcome::Moved, "{what}");
        assert_eq!(everything(&*ledger, &[&a, &b]).await?, before, "{what}");
    }
    assert_eq!(commit_one(&*ledger, bare).await?, CommitOutcome::Committed, "the node itself may go on");
    Ok(())
}

pub async fn a_takeover_meets_a_commit_of_the_node_that_loses(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = two_claimants(&*ledger).await?;
    let outcomes = ledger.commit(vec![a.commit(1, 1), taking(&b, &a, 1, &a.gpus)]).await?;
    assert_eq!(outcomes, [CommitOutcome::Committed, CommitOutcome::Moved], "the commit came first");
    let outcomes = ledger.commit(vec![taking(&b, &a, 2, &a.gpus), a.commit(2, 2)]).await?;
    assert_eq!(outcomes, [CommitOutcome::Committed, CommitOutcome::Moved], "the takeover came first");
    assert_eq!(ledger.gpu_totals().await?[0].total.samples, 3 * row().samples);
    Ok(())
}

pub async fn a_node_that_never_committed_can_lose_its_gpus(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let a = Node::register(&*ledger, "a").await?;
    let b = claimant(&*ledger, "b", &a).await?;
    assert_eq!(commit_one(&*ledger, taking(&b, &a, 0, &a.gpus)).await?, CommitOutcome::Committed);
    assert_eq!(ledger.state(a.key).await?.version, 1);
    assert_eq!(commit_one(&*ledger, a.commit(0, 0)).await?, CommitOutcome::Moved);
    Ok(())
}

pub async fn of_two_nodes_that_take_a_gpu_at_once_one_has_it(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = two_claimants(&*ledger).await?;
    let c = claimant(&*ledger, "c", &a).await?;
    let (one, two) = tokio::join!(
        commit_one(&*ledger, taking(&b, &a, 1, &a.gpus)),
        commit_one(&*ledger, taking(&c, &a, 1, &a.gpus)),
    );
    let outcomes = [one?, two?];
    assert_eq!(outcomes.iter().filter(|&&o| o == CommitOutcome::Committed).count(), 1, "{outcomes:?}");
    let winner = if outcomes[0] == CommitOutcome::Committed { b.key } else { c.key };
    assert!(ledger.gpus().await?.iter().all(|gpu| gpu.node == winner));
    assert_eq!(ledger.state(a.key).await?.version, 2);
    assert_eq!(ledger.gpu_totals().await?[0].total.samples, 2 * row().samples);
    Ok(())
}

pub async fn an_epoch_belongs_to_the_node_that_committed_first(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = (Node::register(&*ledger, "a").await?, Node::register(&*ledger, "b").await?);
    let of_a = |from: u64, to: u64| EpochAdvance { epoch: a.epoch(), from: Sequence(from), to: Sequence(to) };
    commit_one(&*ledger, a.commit(0, 0)).await?;
    let refused = ledger.sequence(b.key, a.epoch()).await;
    assert!(
        matches!(&refused, Err(LedgerError::ForeignEpoch { epoch, owner }) if *epoch == a.epoch() && owner == "a"),
        "{refused:?}"
    );
    assert!(refused.is_err_and(|error| error.is_of_content()), "trying again does not help");
    let before = everything(&*ledger, &[&a, &b]).await?;
    // As if nothing were stored, from what is stored, and beside an epoch of its own.
    let own = b.commit(0, 0).epochs;
    for epochs in [vec![of_a(0, 1)], vec![of_a(1, 2)], [own, vec![of_a(1, 2)]].concat()] {
        let foreign = NodeCommit { epochs, ..b.commit(0, 0) };
        assert_eq!(commit_one(&*ledger, foreign).await?, CommitOutcome::Moved);
        assert_eq!(everything(&*ledger, &[&a, &b]).await?, before);
    }
    let fresh = vec![EpochAdvance { epoch: super::samples::epoch(700), from: Sequence(0), to: Sequence(1) }];
    let both = vec![
        NodeCommit { epochs: fresh.clone(), ..a.commit(1, 1) },
        NodeCommit { epochs: fresh, ..b.commit(0, 0) },
    ];
    assert_eq!(ledger.commit(both).await?, [CommitOutcome::Committed, CommitOutcome::Moved]);
    assert_eq!(ledger.gpu_rows(&Wanted::all(super::samples::ALWAYS)).await?.len(), 1, "b wrote nothing");
    Ok(())
}
