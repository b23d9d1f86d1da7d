//! What the server refuses, in the ledger's words; what `check` finds in rows that were spoilt.

use super::{node, open, place, schema, told};
use gpuledger_ledger::suite::samples;
use gpuledger_ledger::{CommitOutcome, Day, Ledger, LedgerError, Store, Table};
use gpuledger_real_postgres::Server;

/// From now on an insert of a GPU row fails with this SQLSTATE, the first `times` times.
fn fail(server: &Server, schema: &str, code: &str, times: u32) {
    let sql = format!(
        "DROP SEQUENCE IF EXISTS {schema}.failed; CREATE SEQUENCE {schema}.failed; \
         CREATE OR REPLACE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('{schema}.failed') <= {times} THEN RAISE 'staged' USING ERRCODE = '{code}'; END IF; \
         RETURN NEW; END $$; \
         CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON {schema}.gpu_hour \
         FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
    );
    server.sql(&sql).unwrap();
}

type Is = fn(&LedgerError) -> bool;

#[tokio::test]
async fn what_the_server_refuses_is_told_in_the_ledgers_words_and_nothing_is_written() {
    let Some((server, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    let table: [(&str, Is); 6] = [
        ("53100", |error| matches!(error, LedgerError::DiskFull { .. })),
        ("25006", |error| matches!(error, LedgerError::ReadOnly { .. })),
        ("55P03", |error| matches!(error, LedgerError::Locked { .. })),
        ("XX001", |error| matches!(error, LedgerError::Corrupt { .. })),
        ("22003", |error| matches!(error, LedgerError::Overflow(_)) && error.is_of_content()),
        ("53200", |error| matches!(error, LedgerError::Failed { .. }) && !error.is_of_content()),
    ];
    let before = samples::everything(&ledger, &[&a]).await.unwrap();
    for (code, expected) in table {
        fail(server, schema(&url), code, 1);
        let error = told(ledger.commit(vec![a.commit(0, 0)]).await);
        assert!(expected(&error), "{code}: {error}");
        assert_eq!(samples::everything(&ledger, &[&a]).await.unwrap(), before, "{code}");
    }
    assert_eq!(samples::commit_one(&ledger, a.commit(0, 0)).await.unwrap(), CommitOutcome::Committed);
}

#[tokio::test]
async fn a_deadlock_and_a_serialization_failure_are_tried_again() {
    let Some((server, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    for (round, code) in (0..).zip(["40P01", "40001"]) {
        fail(server, schema(&url), code, 3);
        let outcome = samples::commit_one(&ledger, a.commit(round, round)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed, "{code}");
    }
    // One that never passes is told.
    fail(server, schema(&url), "40001", 1_000);
    let error = told(ledger.commit(vec![a.commit(2, 2)]).await);
    assert!(matches!(error, LedgerError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_has_become_read_only_is_told_until_it_is_mended() {
    let Some((server, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    // As on a standby or a full managed service: every new connection is read-only.
    let renew =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'gpuledger'";
    server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on").unwrap();
    server.sql(renew).unwrap();
    let error = told(ledger.commit(vec![a.commit(0, 0)]).await);
    assert!(matches!(error, LedgerError::ReadOnly { .. }), "{error}");
    assert_eq!(ledger.state(a.key).await.unwrap().version, 0, "reading goes on");
    let mend = "BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT";
    server.sql(mend).unwrap();
    server.sql(renew).unwrap();
    assert_eq!(samples::commit_one(&ledger, a.commit(0, 0)).await.unwrap(), CommitOutcome::Committed);
}

/// What spoils it, what mends it, what is said.
const INVARIANTS: [(&str, &str, &str); 21] = [
    (
        "gpu_hour SET free_ms = free_ms + 3600000",
        "gpu_hour SET free_ms = free_ms - 3600000",
        "3601234 ms were observed",
    ),
    ("node_hour SET observed_ms = 3600001", "node_hour SET observed_ms = 1234", "3600001 ms were observed"),
    ("gpu_hour SET samples = -12", "gpu_hour SET samples = 12", "owner 0: a quantity is negative"),
    (
        "node_hour SET cpu_known_ms = -1, cpu_ppm_ms = -1000001",
        "node_hour SET cpu_known_ms = 1111, cpu_ppm_ms = 5",
        "a quantity is negative",
    ),
    ("gpu_hour SET gap_mj = 700001", "gpu_hour SET gap_mj = 1", "700001 mJ in gaps"),
    ("node_hour SET gap_mj = 5000001", "node_hour SET gap_mj = 1", "5000001 mJ in gaps"),
    (
        "gpu_hour SET active_mj = 706001",
        "gpu_hour SET active_mj = 1",
        "706001 mJ while active are more than 706000",
    ),
    ("gpu_hour SET busy_ppm_ms = 1100000001", "gpu_hour SET busy_ppm_ms = 1", "busy for 1100000001 ppm"),
    ("node_hour SET cpu_ppm_ms = 1111000001", "node_hour SET cpu_ppm_ms = 1", "CPUs busy for 1111000001 ppm"),
    ("gpu_hour SET gpu = 77", "gpu_hour SET gpu = 1", "rows of GPU 77, which is not registered"),
    ("gpu_hour SET owner = 77", "gpu_hour SET owner = 0", "rows of owner 77, which is not registered"),
    ("node_hour SET node = 77", "node_hour SET node = 1", "rows of node 77, which is not registered"),
    (
        "gpu_seen SET last_ms = 0",
        "gpu_seen SET last_ms = 1774742401239",
        "lies outside the time in which it was seen",
    ),
    (
        "node_seen SET first_ms = 1774746000001",
        "node_seen SET first_ms = 1774742400005",
        "lies outside the time in which it was seen",
    ),
    ("node_state SET version = 0", "node_state SET version = 1", "has committed sequences and no state"),
    ("node_state SET node = 77", "node_state SET node = 1", "node 1 has no state to be locked"),
    ("gpu SET node = 77", "gpu SET node = 1", "a row of gpu refers to node 77"),
    (
        "day_file SET samples = 1 WHERE rows_of = 'gpu_hours'",
        "day_file SET samples = 0 WHERE rows_of = 'gpu_hours'",
        "held 0 ms of GPUs in 1 samples, what is kept of them says 0 ms in 0 samples",
    ),
    (
        "day_file SET observed_ms = 1 WHERE rows_of = 'node_hours'",
        "day_file SET observed_ms = 0 WHERE rows_of = 'node_hours'",
        "held 1 ms of nodes in 0 samples, what is kept of them says 0 ms in 0 samples",
    ),
    ("day_version SET last = 0", "day_version SET last = 1", "has a version that its day was never given"),
    (
        "counter SET last = 1 WHERE name = 'gpu'",
        "counter SET last = 2 WHERE name = 'gpu'",
        "gpu 2 is beyond its counter",
    ),
];

#[tokio::test]
async fn each_broken_invariant_is_named() {
    let Some((server, url)) = place() else { return };
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    samples::commit_one(&ledger, a.commit(0, 0)).await.unwrap();
    for table in Table::ALL {
        ledger.begin_file(table, Day(20_541), 1).await.unwrap();
    }
    server.sql(&format!("UPDATE {}.day_file SET status = 'expired'", schema(&url))).unwrap();
    let sound: [String; 0] = [];
    assert_eq!(ledger.check().await.unwrap(), sound);
    let hour = "2026-03-29T00:00Z";
    for (spoil, mend, expected) in INVARIANTS {
        let update = |what: &str| {
            let (table, rest) = what.split_once(' ').unwrap();
            server.sql(&format!("UPDATE {}.{table} {rest}", schema(&url))).unwrap();
        };
        update(spoil);
        let found = ledger.check().await.unwrap();
        assert!(found.iter().any(|fault| fault.contains(expected)), "{spoil}: {found:?}");
        if expected.contains("observed") {
            assert!(found[0].contains(hour), "{found:?}");
        }
        update(mend);
        assert_eq!(ledger.check().await.unwrap(), sound, "{mend}");
    }
}
