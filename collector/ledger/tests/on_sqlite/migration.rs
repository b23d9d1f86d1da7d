//! A ledger of the first schema, from a fixture that never changes.

use crate::{FileBed, told};
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::suite::samples::{self, ALWAYS, HOUR};
use gpuledger_ledger::transfer::digest;
use gpuledger_ledger::{Hour, Ledger, LedgerError, NodeKey, NodeState, OwnerKey, Store, Wanted};
use gpuledger_proto::ids::Sequence;
use gpuledger_units::{ByteMillis, Milliwatts};
use rusqlite::Connection;
use std::path::Path;

const OLD: &str = include_str!("../fixtures/ledger-1.sql");

fn old_ledger() -> FileBed {
    let bed = FileBed::new();
    Connection::open(bed.path()).unwrap().execute_batch(OLD).unwrap();
    bed
}

/// Every row of what both schemas have, in the same form.
fn rows(path: &Path) -> Vec<String> {
    let open = Connection::open(path).unwrap();
    let mut found = Vec::new();
    for table in ["node", "gpu", "owner", "node_state", "gpu_hour", "node_hour", "asset"] {
        // The second schema tells apart when nodes and GPUs were seen.
        let (columns, from) = match table {
            "node" | "gpu" if version(path) > 1 => (
                format!("{table}.*, first_ms, last_ms"),
                format!("{table} LEFT JOIN {table}_seen ON {table}_seen.{table} = key"),
            ),
            _ => ("*".to_owned(), table.to_owned()),
        };
        let mut all = open.prepare(&format!("SELECT {columns} FROM {from} ORDER BY 1")).unwrap();
        let columns = all.column_count();
        let mut all = all.query([]).unwrap();
        while let Some(row) = all.next().unwrap() {
            let values = (0..columns).map(|n| format!("{:?}", row.get_ref(n).unwrap()));
            found.push(format!("{table}: {}", values.collect::<Vec<_>>().join(", ")));
        }
    }
    found
}

fn version(path: &Path) -> i64 {
    Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_ledger_of_the_first_schema_keeps_its_rows() {
    let bed = old_ledger();
    let before = rows(&bed.path());
    assert_eq!(before.len(), 3 + 3 + 2 + 3 + 4 + 3 + 1);
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    assert_eq!(version(&bed.path()), 2);
    assert_eq!(rows(&bed.path()), before);

    let state = ledger.state(NodeKey(1)).await.unwrap();
    assert_eq!(state, NodeState { version: 7, blob: vec![1, 2, 3] });
    let found = ledger.gpu_rows(&Wanted::all(ALWAYS)).await.unwrap();
    let keys: Vec<_> = found.iter().map(|(key, _)| (key.hour.0 - HOUR.0, key.gpu.0, key.owner.0)).collect();
    assert_eq!(keys, [(0, 1, 0), (0, 1, 2), (0, 3, 1), (1, 1, 3)]);
    assert_eq!(found[1].1.memory_byte_ms, ByteMillis((96 << 40) + 1_099_511_627_775));
    assert_eq!((found[0].1.power_max_mw, found[1].1.power_max_mw), (None, Some(Milliwatts(699_999))));
    assert_eq!(ledger.node_hours(ALWAYS).await.unwrap().len(), 3);
    assert_eq!(ledger.all_owners().await.unwrap()[1].owner.account, "physics");
    assert_eq!((ledger.files().await.unwrap(), ledger.archive_location().await.unwrap()), (vec![], None));
    let sound: [String; 0] = [];
    assert_eq!(ledger.check().await.unwrap(), sound);
}

#[tokio::test]
async fn an_epoch_of_two_nodes_stays_with_the_one_that_got_further() {
    let bed = old_ledger();
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    // The fixture: epoch 1 of nodes 1 and 2, further at 2; epoch 2 of both, further at 1; epoch 3 of all
    // three, equally far; epoch 4 of node 2 alone.
    let table = [(1, 2, 41), (2, 1, 9), (3, 1, 5), (4, 2, 1)];
    for (number, owner, sequence) in table {
        for node in 1..=3 {
            let found = ledger.sequence(NodeKey(node), samples::epoch(number)).await;
            if node == owner {
                assert_eq!(found.unwrap(), Sequence(sequence), "epoch {number}");
            } else {
                assert!(matches!(found, Err(LedgerError::ForeignEpoch { .. })), "epoch {number}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_migrated_ledger_goes_on_and_is_migrated_once() {
    let bed = old_ledger();
    let once = {
        let ledger = SqliteLedger::open(&bed.path()).unwrap();
        digest(&ledger).await.unwrap()
    };
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    assert_eq!(digest(&ledger).await.unwrap(), once);
    let node = samples::Node { key: NodeKey(1), gpus: vec![gpuledger_ledger::GpuKey(1)] };
    let mut commit = node.commit(7, 0);
    commit.epochs[0].epoch = samples::epoch(70);
    commit.gpu_hours[0].0 = node.row_key(Hour(HOUR.0 + 1), OwnerKey::NOBODY);
    samples::commit_one(&ledger, commit).await.unwrap();
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await.unwrap().len(), 5);
}

#[test]
fn reading_an_older_ledger_says_what_to_do_and_leaves_it_as_it_is() {
    let bed = old_ledger();
    let before = std::fs::read(bed.path()).unwrap();
    let error = told(SqliteLedger::open_existing(&bed.path())).to_string();
    assert!(error.contains("schema 1 is older than this build's 2"), "{error}");
    assert!(error.contains("a command that writes brings it up to date"), "{error}");
    assert_eq!(std::fs::read(bed.path()).unwrap(), before);
}

#[test]
fn a_migration_that_fails_midway_leaves_the_old_schema() {
    let bed = old_ledger();
    let before = rows(&bed.path());
    // Something in the way of the last table of the step: all before it has been done by then.
    let other = Connection::open(bed.path()).unwrap();
    other.execute_batch("CREATE TABLE fact (something TEXT)").unwrap();
    drop(other);
    assert!(told(SqliteLedger::open(&bed.path())).to_string().contains("fact already exists"));
    assert_eq!((version(&bed.path()), rows(&bed.path())), (1, before.clone()));
    let other = Connection::open(bed.path()).unwrap();
    let epochs = other.query_row("SELECT count(*) FROM epoch", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(epochs, 8, "every node's own");
    other.execute_batch("DROP TABLE fact").unwrap();
    drop(other);
    drop(SqliteLedger::open(&bed.path()).unwrap());
    assert_eq!((version(&bed.path()), rows(&bed.path())), (2, before));
}

#[tokio::test]
async fn an_older_ledger_can_be_backed_up_before_it_is_migrated() {
    let bed = old_ledger();
    let copy = bed.beside("copy.db");
    SqliteLedger::backup(&bed.path(), &copy, |_, _| {}).unwrap();
    assert_eq!((version(&bed.path()), version(&copy)), (1, 1));
    assert_eq!(rows(&copy), rows(&bed.path()));
    let (one, other) = (SqliteLedger::open(&bed.path()).unwrap(), SqliteLedger::open(&copy).unwrap());
    assert_eq!(digest(&one).await.unwrap(), digest(&other).await.unwrap());
}
