//! Several collectors on one database.

use super::{node, open, place, schema};
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_ledger::suite::samples::{self, Node};
use gpuledger_ledger::{
    CommitOutcome, Day, DayRows, FileStatus, Ledger, NodeCommit, Publish, Store, Sums, Table, Taken, Wanted,
};
use gpuledger_proto::ids::Sequence;
use gpuledger_real_postgres::Server;
use std::collections::BTreeSet;
use std::sync::Arc;

const ROUNDS: u64 = 25;

async fn pair(url: &str) -> (Arc<PostgresLedger>, Arc<PostgresLedger>) {
    (Arc::new(open(url).await), Arc::new(open(url).await))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_commit_one_node_one_has_moved() {
    let Some((_, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let a = node(&one, "a").await;
    for round in 0..ROUNDS {
        let (x, y) = tokio::join!(
            samples::commit_one(&*one, a.commit(round, round)),
            samples::commit_one(&*two, a.commit(round, round)),
        );
        let outcomes =
            BTreeSet::from([x.unwrap() == CommitOutcome::Moved, y.unwrap() == CommitOutcome::Moved]);
        assert_eq!(outcomes.len(), 2, "round {round}: one committed and one moved");
    }
    let rows = one.gpu_rows(&Wanted::all(samples::ALWAYS)).await.unwrap();
    assert_eq!(rows[0].1.samples, ROUNDS * samples::row().samples);
}

/// Registers nodes and commits for all of them in one call, in the order given.
async fn commit_all(ledger: Arc<PostgresLedger>, names: Vec<String>, rounds: u64) {
    let mut nodes: Vec<(Node, u64)> = Vec::new();
    for name in &names {
        nodes.push((node(&ledger, name).await, 0));
    }
    for _ in 0..rounds {
        loop {
            let commits = nodes.iter().map(|(node, at)| node.commit(*at, *at)).collect();
            let outcomes = ledger.commit(commits).await.unwrap();
            let mut all = true;
            for ((node, at), outcome) in nodes.iter_mut().zip(outcomes) {
                all &= outcome == CommitOutcome::Committed;
                // The other collector was faster for this node: go on from where it is.
                *at = if outcome == CommitOutcome::Committed {
                    *at + 1
                } else {
                    ledger.state(node.key).await.unwrap().version
                };
            }
            if all {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_the_same_nodes_in_opposite_order_do_not_block_each_other() {
    let Some((_, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let names: Vec<String> = (0..8).map(|n| format!("n{n}")).collect();
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    let rounds = 5;
    let first = tokio::spawn(commit_all(Arc::clone(&one), names.clone(), rounds));
    let second = tokio::spawn(commit_all(two, reversed, rounds));
    first.await.unwrap();
    second.await.unwrap();
    // Registered by both at once: each name has one number, and no number was lost.
    let nodes = one.nodes().await.unwrap();
    let numbers: Vec<u32> = nodes.iter().map(|record| record.key.0).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<u32>>());
    let gpus: Vec<u32> = one.gpus().await.unwrap().iter().map(|record| record.key.0).collect();
    assert_eq!(gpus, (1..=16).collect::<Vec<u32>>());
    for record in nodes {
        let version = one.state(record.key).await.unwrap().version;
        assert!(version >= rounds, "{version}");
        let gpu = one.gpus().await.unwrap().into_iter().find(|gpu| gpu.node == record.key).unwrap().key;
        let totals = one.gpu_totals().await.unwrap();
        let total = totals.iter().find(|total| total.gpu == gpu).unwrap().total;
        assert_eq!(total.samples, version * samples::row().samples);
    }
}

/// Takes the first GPU for `name` whenever another node holds it, and commits a row of it. Gives the
/// number of commits that were told as done.
async fn claim(ledger: Arc<PostgresLedger>, name: &'static str, rounds: u64) -> u64 {
    let key = ledger.node(&samples::name(name).unwrap()).await.unwrap();
    let inventory = samples::inventory(&["GPU-x"]).unwrap();
    let mut committed = 0;
    let mut sequence = 0;
    while committed < rounds {
        let gpu = ledger.register(key, &inventory).await.unwrap()[0];
        let node = Node { key, gpus: vec![gpu.key] };
        let at = ledger.state(key).await.unwrap().version;
        let mut taken = Vec::new();
        if gpu.holder != key {
            let base_version = ledger.state(gpu.holder).await.unwrap().version;
            taken.push(Taken { from: gpu.holder, base_version, state: vec![7], gpus: vec![gpu.key] });
        }
        let commit = NodeCommit { taken, ..node.commit(at, sequence) };
        if samples::commit_one(&*ledger, commit).await.unwrap() == CommitOutcome::Committed {
            committed += 1;
            sequence += 1;
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_that_two_nodes_claim_counts_once_for_each_commit() {
    let Some((_, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let (a, b) = tokio::join!(
        tokio::spawn(claim(Arc::clone(&one), "a", ROUNDS)),
        tokio::spawn(claim(Arc::clone(&two), "b", ROUNDS)),
    );
    let committed = a.unwrap() + b.unwrap();
    let totals = one.gpu_totals().await.unwrap();
    assert_eq!(totals.len(), 1);
    assert_eq!(totals[0].total.samples, committed * samples::row().samples);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_begin_one_epoch_one_has_it() {
    let Some((_, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let (a, b) = (node(&one, "a").await, node(&one, "b").await);
    let (mut at_a, mut at_b) = (0, 0);
    for round in 0..u128::from(ROUNDS) {
        let epoch = samples::epoch(1_000 + round);
        let with = |node: &Node, at: u64| {
            let mut commit = node.commit(at, 0);
            commit.epochs[0].epoch = epoch;
            commit
        };
        let (x, y) = tokio::join!(
            samples::commit_one(&*one, with(&a, at_a)),
            samples::commit_one(&*two, with(&b, at_b)),
        );
        let (x, y) = (x.unwrap(), y.unwrap());
        assert_ne!(x, y, "round {round}: one committed and one moved");
        let (owner, other) = if x == CommitOutcome::Committed { (&a, &b) } else { (&b, &a) };
        at_a += u64::from(x == CommitOutcome::Committed);
        at_b += u64::from(y == CommitOutcome::Committed);
        assert_eq!(one.sequence(owner.key, epoch).await.unwrap(), Sequence(1));
        assert!(one.sequence(other.key, epoch).await.unwrap_err().is_of_content());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_committed_while_their_day_is_published_are_in_one_place() {
    let Some((_, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let a = node(&one, "a").await;
    let day = Day::of(samples::HOUR);
    let committing = tokio::spawn({
        let commits: Vec<NodeCommit> = (0..ROUNDS).map(|at| a.commit(at, at)).collect();
        async move {
            for commit in commits {
                assert_eq!(samples::commit_one(&*one, commit).await.unwrap(), CommitOutcome::Committed);
            }
        }
    });
    let (mut version, mut published, mut moved) = (0, 0, 0);
    loop {
        let last = committing.is_finished();
        let pending = two.begin_file(Table::GpuHours, day, 1).await.unwrap();
        let (rows, _) = two.open_gpu_rows(&Wanted::all(day.hours())).await.unwrap();
        let samples: u64 = rows.iter().map(|(_, row)| row.samples).sum();
        let to = pending.version;
        let publish = Publish {
            file: pending,
            replaces: version,
            bytes: 1,
            sha256: [1; 32],
            sums: Sums { samples, ..Sums::default() },
            rows: Arc::new(DayRows::Gpu(rows)),
            now_ms: 2,
        };
        if two.publish(publish).await.unwrap() == CommitOutcome::Committed {
            (version, published) = (to, published + samples);
        } else {
            moved += 1;
        }
        if last {
            break;
        }
    }
    committing.await.unwrap();
    println!("{moved} attempts met a commit");
    assert_eq!(published, ROUNDS * samples::row().samples, "what was published, and nothing is left");
    let (rest, files) = two.open_gpu_rows(&Wanted::all(day.hours())).await.unwrap();
    assert_eq!((rest.len(), files.len()), (0, 1));
}

/// Waits until a statement of a collector waits for another one's lock.
fn wait_for_a_waiter(server: &Server) {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND application_name = 'gpuledger'";
    while server.sql(waiting).unwrap().trim() == "0" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_cleared_away_while_it_is_published_is_either_gone_or_current() {
    let Some((server, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let a = node(&one, "a").await;
    samples::commit_one(&*one, a.commit(0, 0)).await.unwrap();
    let day = Day::of(samples::HOUR);
    let pending = one.begin_file(Table::GpuHours, day, 1).await.unwrap();
    let (rows, _) = one.open_gpu_rows(&Wanted::all(day.hours())).await.unwrap();
    let publish = Publish {
        file: pending.clone(),
        replaces: 0,
        bytes: 1,
        sha256: [1; 32],
        sums: Sums::default(),
        rows: Arc::new(DayRows::Gpu(rows)),
        now_ms: 2,
    };
    // The publication finds its entry and then waits for a row.
    let hold = format!(
        "SET search_path = {0}; BEGIN; SELECT FROM gpu_hour FOR UPDATE; SELECT pg_sleep(2); COMMIT",
        schema(&url)
    );
    let holding = std::thread::spawn(move || server.sql(&hold).unwrap());
    while !server.sql("SELECT query FROM pg_stat_activity").unwrap().contains("gpu_hour FOR UPDATE") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let publishing = tokio::spawn(async move { one.publish(publish).await });
    wait_for_a_waiter(server);
    two.forget_files(&[pending.path]).await.unwrap();
    let files = two.files().await.unwrap();
    let published = publishing.await.unwrap().unwrap() == CommitOutcome::Committed;
    holding.join().unwrap();
    // Whoever cleared up removes the file where it is not current by now.
    let current = files.iter().any(|file| file.status == FileStatus::Current);
    assert_eq!(published, current, "rows that left the store are in a file: {files:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_describes_itself_anew_and_its_commits_do_not_block_each_other() {
    let Some((server, url)) = place() else { return };
    let (one, two) = pair(&url).await;
    let (a, inventory) = (node(&one, "a").await, samples::inventory(&["GPU-a-1", "GPU-a-0"]).unwrap());
    let registering = tokio::spawn(async move {
        for driver in 0..4 * ROUNDS {
            let mut inventory = inventory.clone();
            inventory.host.driver_version = Some(driver.to_string());
            two.register(a.key, &inventory).await.unwrap();
        }
    });
    let mut at = 0;
    while !registering.is_finished() {
        let mut commit = a.commit(at, at);
        commit.gpus_seen.push((a.gpus[1], samples::HOUR.start_ms(), samples::HOUR.end_ms()));
        assert_eq!(samples::commit_one(&*one, commit).await.unwrap(), CommitOutcome::Committed);
        at += 1;
    }
    registering.await.unwrap();
    assert!(!server.told().contains("deadlock"), "{}", server.told());
}
