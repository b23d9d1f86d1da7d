//! More rows than one statement, one message or one piece of an export holds.

use super::{node, open, place, schema};
use gpuledger_ledger::suite::samples;
use gpuledger_ledger::{CommitOutcome, GpuHourKey, GpuKey, Hour, Ledger, OwnerKey, Record, Store, Wanted};
use gpuledger_real_postgres::{Server, Settings};
use std::time::Duration;

const HOURS: u32 = 10_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_many_rows_is_whole_and_so_is_its_copy() {
    let Some((server, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    let mut commit = a.commit(0, 0);
    commit.gpu_hours = (0..HOURS)
        .flat_map(|n| a.gpus.iter().map(move |&gpu| (Hour(samples::HOUR.0 + n), gpu)))
        .map(|(hour, gpu)| (GpuHourKey { hour, gpu, owner: OwnerKey::NOBODY }, samples::row()))
        .collect();
    let expected = commit.gpu_hours.clone();
    assert_eq!(samples::commit_one(&ledger, commit).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(ledger.gpu_rows(&Wanted::all(samples::ALWAYS)).await.unwrap(), expected);

    let copy = open(&server.fresh().unwrap()).await;
    // A narrow channel: who exports waits for who imports.
    let (to, from) = tokio::sync::mpsc::channel(1);
    let (exported, imported) = tokio::join!(ledger.export(to), copy.import(from));
    exported.unwrap();
    imported.unwrap();
    assert_eq!(copy.gpu_rows(&Wanted::all(samples::ALWAYS)).await.unwrap(), expected);
    assert_eq!(copy.gpu_totals().await.unwrap(), ledger.gpu_totals().await.unwrap());
    // The copy goes on where the original was, with the next numbers.
    assert_eq!(samples::commit_one(&copy, a.commit(1, 1)).await.unwrap(), CommitOutcome::Committed);
    let b = node(&copy, "b").await;
    assert_eq!((b.key.0, b.gpus[0].0), (a.key.0 + 1, a.gpus[1].0 + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_are_added_to_what_is_there_whether_or_not_the_role_may_make_temporary_tables() {
    let Some(server) = Server::start(&Settings::default()).unwrap() else { return };
    server.sql("CREATE ROLE plain LOGIN; REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC").unwrap();
    let mut sums = Vec::new();
    for role in ["ledger", "plain"] {
        let url = server.fresh().unwrap();
        server.sql(&format!("GRANT ALL ON SCHEMA {} TO plain", schema(&url))).unwrap();
        let ledger = open(&url.replace("ledger@", &format!("{role}@"))).await;
        let a = node(&ledger, "a").await;
        // Beside those that are there, each commit has some that are not.
        for (at, hours) in [(0, 0..1_500), (1, 100..1_600), (2, 1_000..3_000)] {
            let mut commit = a.commit(at, at);
            let key = |n| a.row_key(Hour(samples::HOUR.0 + n), OwnerKey::NOBODY);
            commit.gpu_hours = hours.clone().map(|n| (key(n), samples::row())).collect();
            let node_hour = |n| (Hour(samples::HOUR.0 + n), samples::node_row());
            commit.node_hours = hours.map(node_hour).collect();
            assert_eq!(samples::commit_one(&ledger, commit).await.unwrap(), CommitOutcome::Committed);
        }
        let rows = ledger.gpu_rows(&Wanted::all(samples::ALWAYS)).await.unwrap();
        let samples_of =
            |times: u64| rows.iter().filter(move |(_, row)| row.samples == times * samples::row().samples);
        assert_eq!([1, 2, 3].map(|times| samples_of(times).count()), [1_500, 1_000, 500], "{role}");
        sums.push((rows, ledger.gpu_totals().await.unwrap(), ledger.totals().await.unwrap()));
        let table = "SELECT count(*) > 0 FROM pg_class WHERE relname = 'gpu_hour_new'";
        assert_eq!(server.sql(table).unwrap().trim(), if role == "ledger" { "t" } else { "f" }, "{role}");
        drop(ledger);
        gone(&server).await;
    }
    assert!(sums[0] == sums[1]);
}

/// Waits until the server has ended the connections of a ledger that was dropped, and what was theirs.
async fn gone(server: &Server) {
    while server.sql("SELECT count(*) FROM pg_class WHERE relname = 'gpu_hour_new'").unwrap().trim() != "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn statements_are_planned_for_the_rows_at_hand_however_small_the_fleet_was() {
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let tell_plans =
        [option("session_preload_libraries", "auto_explain"), option("auto_explain.log_min_duration", "0")];
    let settings = Settings { options: tell_plans.to_vec(), ..Settings::default() };
    let Some(server) = Server::start(&settings).unwrap() else { return };
    let url = server.fresh().unwrap();
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    let fleet = format!(
        "INSERT INTO {}.gpu (key, uuid, node, model, driver_index, simulated) \
         SELECT n, 'GPU-' || n, 1, '', 0, true FROM generate_series(100, 3000) n",
        schema(&url)
    );
    server.sql(&fleet).unwrap();
    // After some times the server would keep one plan for all.
    for at in 0..8 {
        let mut commit = a.commit(at, at);
        commit.gpus_seen.extend((100..3_000).map(|gpu| (GpuKey(gpu), 5, 6)));
        samples::commit_one(&ledger, commit).await.unwrap();
    }
    let plans = server.told();
    assert!(plans.contains("(key = ANY ('{"), "{plans}");
    assert!(!plans.contains("(key = ANY ($1"), "{plans}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_that_are_too_large_for_one_statement_are_written_all() {
    let Some((_, url)) = place() else { return };
    let ledger = open(&url).await;
    let mut commits = Vec::new();
    for (name, mebibytes) in [("a", 20), ("b", 1), ("c", 10), ("d", 10)] {
        let mut commit = node(&ledger, name).await.commit(0, 0);
        commit.state = vec![7; mebibytes << 20];
        commits.push(commit);
    }
    assert_eq!(ledger.commit(commits.clone()).await.unwrap(), [CommitOutcome::Committed; 4]);
    for commit in commits {
        let state = ledger.state(commit.node).await.unwrap();
        assert!((state.version, &state.blob) == (1, &commit.state), "node {}", commit.node.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_one_moment_and_keeps_nobody_from_committing() {
    let Some((_, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    samples::commit_one(&ledger, a.commit(0, 0)).await.unwrap();
    let (to, mut from) = tokio::sync::mpsc::channel::<Vec<Record>>(1);
    let commits = async {
        // The first piece is the node: from then on the moment is fixed.
        let first = from.recv().await.unwrap();
        assert!(matches!(&first[0], Record::Node { .. }), "{first:?}");
        for at in 1..4 {
            let outcome =
                tokio::time::timeout(Duration::from_secs(20), samples::commit_one(&ledger, a.commit(at, at)));
            assert_eq!(outcome.await.unwrap().unwrap(), CommitOutcome::Committed);
        }
        let mut rows = Vec::new();
        while let Some(piece) = from.recv().await {
            rows.extend(piece.into_iter().filter(|record| matches!(record, Record::GpuHour(..))));
        }
        rows
    };
    let (exported, rows) = tokio::join!(ledger.export(to), commits);
    exported.unwrap();
    let key = a.row_key(samples::HOUR, OwnerKey::NOBODY);
    assert_eq!(rows, [Record::GpuHour(key, samples::row())], "as it was before the commits");
}

#[tokio::test]
async fn an_export_that_nobody_takes_ends() {
    let Some((_, url)) = place() else { return };
    let ledger = open(&url).await;
    node(&ledger, "a").await;
    let (to, from) = tokio::sync::mpsc::channel(1);
    drop(from);
    let error = ledger.export(to).await.unwrap_err();
    assert!(error.to_string().contains("stopped taking"), "{error}");
    assert_eq!(ledger.nodes().await.unwrap().len(), 1, "the ledger goes on");
}
