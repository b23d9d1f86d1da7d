//! Cases of the commit, and of what is read after it.

use super::samples::{ALWAYS, HOUR, Node, commit_one, epoch, everything, node_row, owner, row};
use super::{Bed, Outcome};
use crate::{
    CommitOutcome, EpochAdvance, GpuHour, GpuKey, Hour, HourRange, LedgerError, NodeCommit, NodeKey,
    NodeState, OwnerKey, Wanted,
};
use gpuledger_proto::ids::Sequence;
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts};

pub async fn a_commit_is_read_back_as_it_was(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    assert_eq!(commit_one(&*ledger, node.commit(0, 0)).await?, CommitOutcome::Committed);
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?, [(node.row_key(HOUR, OwnerKey::NOBODY), row())]);
    assert_eq!(ledger.node_hours(ALWAYS).await?, [(HOUR, node.key, node_row())]);
    assert_eq!(ledger.state(node.key).await?, NodeState { version: 1, blob: vec![1, 2, 3] });
    assert_eq!(ledger.sequence(node.key, node.epoch()).await?, Sequence(1));
    let (start, nodes, gpus) = (HOUR.start_ms(), ledger.nodes().await?, ledger.gpus().await?);
    assert_eq!((nodes[0].first_ms, nodes[0].last_ms), (Some(start + 5), Some(start + 1_239)));
    assert_eq!((gpus[0].first_ms, gpus[0].last_ms), (Some(start + 5), Some(start + 1_239)));
    assert_eq!(gpus[1].first_ms, None, "no row speaks of the second GPU");
    Ok(())
}

pub async fn commits_add_up(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let (mut gpu_sum, mut node_sum) = (GpuHour::default(), crate::NodeHour::default());
    for round in 0..5 {
        let mut commit = node.commit(round, round);
        // Twice in one commit is added twice, too.
        commit.gpu_hours.push(commit.gpu_hours[0]);
        commit.seen = Some((HOUR.start_ms() + 100 - round, HOUR.start_ms() + 100 + round));
        assert_eq!(commit_one(&*ledger, commit).await?, CommitOutcome::Committed);
        gpu_sum.merge(&row())?;
        gpu_sum.merge(&row())?;
        node_sum.merge(&node_row())?;
    }
    assert_eq!(
        ledger.gpu_rows(&Wanted::all(ALWAYS)).await?,
        [(node.row_key(HOUR, OwnerKey::NOBODY), gpu_sum)]
    );
    assert_eq!(ledger.node_hours(ALWAYS).await?, [(HOUR, node.key, node_sum)]);
    let seen = &ledger.nodes().await?[0];
    assert_eq!(
        (seen.first_ms, seen.last_ms),
        (Some(HOUR.start_ms() + 96), Some(HOUR.start_ms() + 104)),
        "the span only grows"
    );
    Ok(())
}

pub async fn maxima_know_absence(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let steps = [(None, None), (Some(5), Some(5)), (None, Some(5)), (Some(3), Some(5)), (Some(9), Some(9))];
    for (round, (power, expected)) in (0_u64..).zip(steps) {
        let mut commit = node.commit(round, round);
        commit.gpu_hours[0].1.power_max_mw = power.map(Milliwatts);
        commit.gpu_hours[0].1.temperature_max_mc = None;
        commit_one(&*ledger, commit).await?;
        let found = ledger.gpu_rows(&Wanted::all(ALWAYS)).await?[0].1;
        assert_eq!(found.power_max_mw, expected.map(Milliwatts), "after {power:?}");
        assert_eq!(found.temperature_max_mc, None, "never measured");
    }
    Ok(())
}

pub async fn a_moved_version_writes_nothing_of_the_node_and_all_of_the_others(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = (Node::register(&*ledger, "a").await?, Node::register(&*ledger, "b").await?);
    commit_one(&*ledger, a.commit(0, 0)).await?;
    let before = everything(&*ledger, &[&a]).await?;
    // Both behind and ahead of the stored version.
    for version in [0, 2] {
        assert_eq!(commit_one(&*ledger, a.commit(version, 1)).await?, CommitOutcome::Moved);
        assert_eq!(everything(&*ledger, &[&a]).await?, before);
    }
    let outcomes = ledger.commit(vec![a.commit(0, 1), b.commit(0, 0), a.commit(7, 1)]).await?;
    assert_eq!(outcomes, [CommitOutcome::Moved, CommitOutcome::Committed, CommitOutcome::Moved]);
    assert_eq!(ledger.state(a.key).await?.version, 1);
    assert_eq!(ledger.state(b.key).await?.version, 1);
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?.len(), 2);
    Ok(())
}

pub async fn a_moved_sequence_writes_nothing(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    commit_one(&*ledger, node.commit(0, 0)).await?;
    let before = everything(&*ledger, &[&node]).await?;
    for from in [0, 2] {
        assert_eq!(commit_one(&*ledger, node.commit(1, from)).await?, CommitOutcome::Moved);
    }
    // The second epoch of a commit counts as much as the first.
    let mut commit = node.commit(1, 1);
    commit.epochs.push(EpochAdvance { epoch: epoch(502), from: Sequence(3), to: Sequence(4) });
    assert_eq!(commit_one(&*ledger, commit).await?, CommitOutcome::Moved);
    assert_eq!(everything(&*ledger, &[&node]).await?, before);
    Ok(())
}

pub async fn version_is_told_before_sequence_and_both_as_moved(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    // (base version, from sequence) against a stored (1, 1), in order of precedence.
    let table = [
        ((0, 0), CommitOutcome::Moved),
        ((0, 1), CommitOutcome::Moved),
        ((1, 0), CommitOutcome::Moved),
        ((1, 1), CommitOutcome::Committed),
    ];
    commit_one(&*ledger, node.commit(0, 0)).await?;
    for ((version, from), expected) in table {
        let outcome = commit_one(&*ledger, node.commit(version, from)).await?;
        assert_eq!(outcome, expected, "version {version}, from {from}");
    }
    Ok(())
}

pub async fn sequences_count_by_epoch(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let mut commit = node.commit(0, 0);
    commit.epochs = vec![
        EpochAdvance { epoch: epoch(501), from: Sequence(0), to: Sequence(40) },
        EpochAdvance { epoch: epoch(502), from: Sequence(0), to: Sequence(7) },
    ];
    assert_eq!(commit_one(&*ledger, commit).await?, CommitOutcome::Committed);
    assert_eq!(ledger.sequence(node.key, epoch(501)).await?, Sequence(40));
    assert_eq!(ledger.sequence(node.key, epoch(502)).await?, Sequence(7));
    assert_eq!(ledger.sequence(node.key, epoch(503)).await?, Sequence::NONE);
    Ok(())
}

pub async fn a_commit_without_rows_still_moves_the_sequence(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let full = node.commit(0, 0);
    let bare = NodeCommit {
        gpu_hours: Vec::new(),
        node_hours: Vec::new(),
        gpus_seen: Vec::new(),
        seen: None,
        ..full
    };
    assert_eq!(commit_one(&*ledger, bare).await?, CommitOutcome::Committed);
    assert_eq!(ledger.sequence(node.key, node.epoch()).await?, Sequence(1));
    assert_eq!(ledger.state(node.key).await?.version, 1);
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?, []);
    Ok(())
}

pub async fn a_replayed_commit_is_moved_and_counts_once(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    // The same twice in one transaction, and again in the next: an answer that was lost.
    let outcomes = ledger.commit(vec![node.commit(0, 0), node.commit(0, 0)]).await?;
    assert_eq!(outcomes, [CommitOutcome::Committed, CommitOutcome::Moved]);
    assert_eq!(commit_one(&*ledger, node.commit(0, 0)).await?, CommitOutcome::Moved);
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?, [(node.row_key(HOUR, OwnerKey::NOBODY), row())]);
    Ok(())
}

pub async fn ranges_are_half_open_and_sorted(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let named = ledger.owners(&[owner("anna", "")]).await?[0];
    let mut keys = Vec::new();
    for hour in [HOUR, Hour(HOUR.0 + 1), Hour(HOUR.0 + 2)] {
        for &gpu in &node.gpus {
            for owner in [OwnerKey::NOBODY, OwnerKey::UNKNOWN, named] {
                keys.push(crate::GpuHourKey { hour, gpu, owner });
            }
        }
    }
    let mut commit = node.commit(0, 0);
    commit.gpu_hours = keys.iter().rev().map(|&key| (key, row())).collect();
    commit.node_hours = (0..3).rev().map(|n| (Hour(HOUR.0 + n), node_row())).collect();
    commit_one(&*ledger, commit).await?;
    let all: Vec<_> = ledger.gpu_rows(&Wanted::all(ALWAYS)).await?.into_iter().map(|(key, _)| key).collect();
    assert_eq!(all, keys, "by hour, GPU and owner");
    let middle = HourRange { from: Hour(HOUR.0 + 1), to: Hour(HOUR.0 + 2) };
    let found: Vec<_> =
        ledger.gpu_rows(&Wanted::all(middle)).await?.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, &keys[6..12]);
    let nodes: Vec<_> = ledger.node_hours(middle).await?.into_iter().map(|row| row.0).collect();
    assert_eq!(nodes, [Hour(HOUR.0 + 1)]);
    assert_eq!(ledger.gpu_rows(&Wanted::all(HourRange { from: HOUR, to: HOUR })).await?, []);
    assert_eq!(ledger.node_hours(ALWAYS).await?.len(), 3);
    Ok(())
}

pub async fn totals_are_the_sum_of_all_rows(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = (Node::register(&*ledger, "a").await?, Node::register(&*ledger, "b").await?);
    let mut commit = a.commit(0, 0);
    let hotter = GpuHour { temperature_max_mc: Some(Millicelsius(80_000)), ..row() };
    let late = Hour(HOUR.0 + 900);
    commit.gpu_hours.push((a.row_key(late, OwnerKey::UNKNOWN), hotter));
    ledger.commit(vec![commit, b.commit(0, 0)]).await?;
    let mut expected = row();
    expected.merge(&hotter)?;
    let totals = ledger.totals().await?;
    let found: Vec<_> = totals.gpus.iter().map(|total| (total.gpu, total.total)).collect();
    assert_eq!(found, [(a.gpus[0], expected), (b.gpus[0], row())]);
    let versions: Vec<_> = totals.versions.into_iter().filter(|(_, version)| *version > 0).collect();
    let committed =
        [(a.key, ledger.state(a.key).await?.version), (b.key, ledger.state(b.key).await?.version)];
    assert_eq!(versions, committed, "whoever adds later commits knows where to begin");
    Ok(())
}

pub async fn a_sum_that_does_not_fit_fails_the_whole_transaction(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = (Node::register(&*ledger, "a").await?, Node::register(&*ledger, "b").await?);
    let largest = u64::MAX / 2;
    let mut commit = a.commit(0, 0);
    commit.gpu_hours[0].1.counter_mj = Millijoules(largest);
    commit_one(&*ledger, commit).await?;
    let before = everything(&*ledger, &[&a, &b]).await?;
    // One value that does not fit by itself, one whose sum does not.
    for (value, what) in [(u64::MAX, "value"), (1, "sum")] {
        let mut commit = a.commit(1, 1);
        commit.gpu_hours[0].1.counter_mj = Millijoules(value);
        let refused = ledger.commit(vec![b.commit(0, 0), commit]).await;
        assert!(matches!(&refused, Err(error @ LedgerError::Overflow(_)) if error.is_of_content()), "{what}");
        assert_eq!(everything(&*ledger, &[&a, &b]).await?, before, "{what}");
    }
    Ok(())
}

pub async fn an_hour_that_cannot_be_kept_is_refused_and_nothing_is_written(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let before = everything(&*ledger, &[&node]).await?;
    for hour in [Hour(0), Hour(u32::MAX)] {
        let mut commit = node.commit(0, 0);
        commit.node_hours[0].0 = hour;
        let refused = commit_one(&*ledger, commit).await;
        assert!(matches!(&refused, Err(error) if error.is_of_content()), "{refused:?}");
        assert_eq!(everything(&*ledger, &[&node]).await?, before);
    }
    Ok(())
}

pub async fn more_memory_than_63_bits_hold_is_kept_exactly(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    // Six tebibytes for an hour, with every low bit set so that each addition carries.
    let memory = (6_u128 << 40) * 3_600_000 + ((1 << 40) - 1);
    for round in 0..3 {
        let mut commit = node.commit(round, round);
        commit.gpu_hours[0].1.memory_byte_ms = ByteMillis(memory);
        commit.node_hours[0].1.memory_byte_ms = ByteMillis(memory);
        commit_one(&*ledger, commit).await?;
    }
    let expected = ByteMillis(memory * 3);
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?[0].1.memory_byte_ms, expected);
    assert_eq!(ledger.node_hours(ALWAYS).await?[0].2.memory_byte_ms, expected);
    assert_eq!(ledger.gpu_totals().await?[0].total.memory_byte_ms, expected);
    Ok(())
}

pub async fn the_size_on_the_disk_is_told(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let before = ledger.size_bytes().await?;
    let mut large = node.commit(0, 0);
    // Bytes that do not compress.
    large.state = (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    commit_one(&*ledger, large).await?;
    assert!(ledger.size_bytes().await? > before + (1 << 19), "of {before} bytes before");
    Ok(())
}

pub async fn everything_is_there_after_reopening(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    let owners = ledger.owners(&[owner("anna", "")]).await?;
    commit_one(&*ledger, node.commit(0, 0)).await?;
    let before = everything(&*ledger, &[&node]).await?;
    drop(ledger);
    let ledger = bed.open().await?;
    assert_eq!(everything(&*ledger, &[&node]).await?, before);
    assert_eq!(ledger.owners(&[owner("anna", "")]).await?, owners);
    assert_eq!(commit_one(&*ledger, node.commit(1, 1)).await?, CommitOutcome::Committed);
    Ok(())
}

pub async fn two_writers_of_one_node_commit_once(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    for round in 0..20 {
        let (one, two) = tokio::join!(
            commit_one(&*ledger, node.commit(round, round)),
            commit_one(&*ledger, node.commit(round, round)),
        );
        let committed = [one?, two?].iter().filter(|&&o| o == CommitOutcome::Committed).count();
        assert_eq!(committed, 1, "round {round}");
    }
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?[0].1.samples, 20 * row().samples);
    Ok(())
}

pub async fn a_sound_ledger_has_no_faults(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let sound: [String; 0] = [];
    assert_eq!(ledger.check().await?, sound);
    let node = Node::register(&*ledger, "a").await?;
    commit_one(&*ledger, node.commit(0, 0)).await?;
    assert_eq!(ledger.check().await?, sound);
    // A row that says more than an hour holds is told.
    let mut commit = node.commit(1, 1);
    commit.gpu_hours[0].1.free_ms = Millis(3_600_000);
    commit_one(&*ledger, commit).await?;
    let faults = ledger.check().await?;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("2026-03-29T00:00Z"), "{faults:?}");
    Ok(())
}

/// As a collector has them that went on while an older backup was put in the ledger's place.
pub async fn numbers_that_the_ledger_never_gave_are_moved_and_hold_up_nobody(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = (Node::register(&*ledger, "a").await?, Node::register(&*ledger, "b").await?);
    let unknown = Node { key: NodeKey(77), gpus: vec![GpuKey(77)] };
    let mut without_gpus = unknown.commit(0, 0);
    without_gpus.gpu_hours.clear();
    without_gpus.gpus_seen.clear();
    let mut of_nobody = a.commit(0, 0);
    of_nobody.gpu_hours[0].0.owner = OwnerKey(77);
    for (round, commit) in (0..).zip([unknown.commit(0, 0), without_gpus, of_nobody]) {
        let outcomes = ledger.commit(vec![commit, b.commit(round, round)]).await?;
        assert_eq!(outcomes, [CommitOutcome::Moved, CommitOutcome::Committed], "{round}");
    }
    assert_eq!(ledger.state(a.key).await?, NodeState::default());
    let sound: [String; 0] = [];
    assert_eq!(ledger.check().await?, sound);
    Ok(())
}
