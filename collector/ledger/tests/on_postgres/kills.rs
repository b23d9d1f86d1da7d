//! A server that is killed, restarted, or closes connections.

use super::{node, open, place, told};
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_ledger::suite::samples::{self, Node};
use gpuledger_ledger::{CommitOutcome, Ledger, LedgerError, Store as _, Wanted};
use gpuledger_real_postgres::{Server, Settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const KILLS: u64 = 10;
/// Commits that are told between two kills, at least.
const COMMITS_BETWEEN: u64 = 20;

/// What the committers tell the one who kills.
#[derive(Default)]
struct Told {
    commits: AtomicU64,
    in_doubt: AtomicU64,
    enough: AtomicBool,
}

/// Commits for one node until it is enough, as a collector does: after a failure it looks where the
/// node is. Gives the version that it was told last.
async fn commit_on(url: String, name: &'static str, told: Arc<Told>) -> u64 {
    let ledger = open(&url).await;
    let node = node(&ledger, name).await;
    let mut at = 0;
    while !told.enough.load(Ordering::Relaxed) {
        match samples::commit_one(&ledger, node.commit(at, at)).await {
            Ok(outcome) => {
                assert_eq!(outcome, CommitOutcome::Committed, "nobody else commits for {name}");
                at += 1;
                told.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                assert!(!error.is_of_content(), "{error}");
                let found = where_it_is(&ledger, &node).await;
                // Carried out or not: the commit whose answer was lost, and no other.
                assert!(found == at || found == at + 1, "{name}: {found} follows {at}");
                told.in_doubt.fetch_add(found - at, Ordering::Relaxed);
                at = found;
            }
        }
    }
    at
}

/// The version of a node, once the server is back.
async fn where_it_is(ledger: &PostgresLedger, node: &Node) -> u64 {
    loop {
        match ledger.state(node.key).await {
            Ok(state) => return state.version,
            Err(error) => assert!(!error.is_of_content(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_again_and_again_loses_nothing_that_was_told_and_counts_nothing_twice() {
    let Some(mut server) = Server::start(&Settings::default()).unwrap() else { return };
    let url = server.fresh().unwrap();
    drop(open(&url).await);
    let told = Arc::new(Told::default());
    let names = ["a", "b", "c"];
    let committers: Vec<_> =
        names.into_iter().map(|name| tokio::spawn(commit_on(url.clone(), name, Arc::clone(&told)))).collect();
    let (server, killed) = tokio::task::spawn_blocking({
        let told = Arc::clone(&told);
        move || {
            for kill in 0..KILLS {
                let before = told.commits.load(Ordering::Relaxed);
                while told.commits.load(Ordering::Relaxed) < before + COMMITS_BETWEEN {
                    std::thread::sleep(Duration::from_millis(1));
                }
                // Another moment of a commit each time.
                std::thread::sleep(Duration::from_micros(kill * 700));
                server.kill().unwrap();
                server.start_again().unwrap();
            }
            told.enough.store(true, Ordering::Relaxed);
            (server, KILLS)
        }
    })
    .await
    .unwrap();
    let mut versions = Vec::new();
    for committer in committers {
        versions.push(committer.await.unwrap());
    }
    let ledger = open(&url).await;
    for (name, version) in names.into_iter().zip(versions) {
        let node = node(&ledger, name).await;
        assert_eq!(ledger.state(node.key).await.unwrap().version, version, "{name}");
        assert_eq!(ledger.sequence(node.key, node.epoch()).await.unwrap().0, version, "{name}");
        let rows = ledger.gpu_rows(&Wanted::all(samples::ALWAYS)).await.unwrap();
        let row = rows.iter().find(|(key, _)| key.gpu == node.gpus[0]).unwrap().1;
        assert_eq!(row.samples, version * samples::row().samples, "rows and version are one");
        assert_eq!(row.counter_mj.0, version * samples::row().counter_mj.0);
    }
    let faults = ledger.check().await.unwrap();
    assert!(faults.iter().all(|fault| fault.contains("were observed in an hour")), "{faults:?}");
    let (commits, in_doubt) = (told.commits.load(Ordering::Relaxed), told.in_doubt.load(Ordering::Relaxed));
    println!("{killed} kills, {commits} commits told, {in_doubt} carried out whose answer was lost");
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_and_found_again() {
    let Some(mut server) = Server::start(&Settings::default()).unwrap() else { return };
    let ledger = open(&server.fresh().unwrap()).await;
    let a = node(&ledger, "a").await;
    samples::commit_one(&ledger, a.commit(0, 0)).await.unwrap();
    server.stop().unwrap();
    for error in [told(ledger.commit(vec![a.commit(1, 1)]).await), told(ledger.state(a.key).await)] {
        assert!(matches!(&error, LedgerError::Failed { .. }) && !error.is_of_content(), "{error}");
        assert!(error.to_string().contains("PostgreSQL"), "{error}");
    }
    server.start_again().unwrap();
    assert_eq!(ledger.state(a.key).await.unwrap().version, 1);
    assert_eq!(samples::commit_one(&ledger, a.commit(1, 1)).await.unwrap(), CommitOutcome::Committed);
}

#[tokio::test]
async fn idle_connections_that_were_closed_are_not_noticed() {
    let Some((server, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    let close =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'gpuledger'";
    for round in 0..10 {
        // Several connections lie idle in the pool.
        let (one, two, three) = tokio::join!(ledger.nodes(), ledger.gpus(), ledger.state(a.key));
        assert!(one.is_ok() && two.is_ok() && three.is_ok(), "round {round}");
        server.sql(close).unwrap();
        let outcome = samples::commit_one(&ledger, a.commit(round, round)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed, "round {round}");
    }
}
