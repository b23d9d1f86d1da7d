//! The SQLite store: the suite that every store passes, and the disasters of a file.

#![cfg(test)]

mod on_sqlite;

use async_trait::async_trait;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::suite::{Bed, samples};
use gpuledger_ledger::{Ledger, LedgerError, Store, Wanted};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

struct FileBed(TempDir);

impl FileBed {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.beside("ledger.db")
    }

    /// Another file of the same folder.
    fn beside(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }
}

#[async_trait]
impl Bed for FileBed {
    async fn open(&self) -> Result<Box<dyn Store>, LedgerError> {
        Ok(Box::new(SqliteLedger::open(&self.path())?))
    }

    async fn open_second(&self) -> Result<Box<dyn Store>, LedgerError> {
        Ok(Box::new(SqliteLedger::open(&self.0.path().join("second.db"))?))
    }
}

gpuledger_ledger::ledger_suite!(FileBed::new());

/// A ledger with one commit of node "a", closed.
async fn written(path: &Path) -> samples::Node {
    let ledger = SqliteLedger::open(path).unwrap();
    let node = samples::Node::register(&ledger, "a").await.unwrap();
    samples::commit_one(&ledger, node.commit(0, 0)).await.unwrap();
    node
}

/// The file whose name is the path's with this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// What a disk that lost a page leaves: the head of a table's B-tree is none.
fn overwrite_root_of(path: &Path, table: &str) {
    let open = rusqlite::Connection::open(path).unwrap();
    let root: u32 = open
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
        .unwrap();
    drop(open);
    let mut bytes = std::fs::read(path).unwrap();
    bytes[(root as usize - 1) * 4096..][..64].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

fn told(result: Result<SqliteLedger, LedgerError>) -> LedgerError {
    match result {
        Ok(_) => panic!("a bad file was opened"),
        Err(error) => error,
    }
}

#[test]
fn a_file_of_another_kind_is_named_and_left_as_it_is() {
    let bed = FileBed::new();
    let garbage = b"timestamp,power_w\n2026-01-01,300\n".repeat(100);
    std::fs::write(bed.path(), &garbage).unwrap();
    for result in [SqliteLedger::open(&bed.path()), SqliteLedger::open_existing(&bed.path())] {
        let error = told(result);
        assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
        assert!(error.to_string().contains("ledger.db is not a gpuledger ledger"), "{error}");
    }
    assert_eq!(std::fs::read(bed.path()).unwrap(), garbage);
}

#[test]
fn a_database_of_another_program_is_left_as_it_is() {
    let bed = FileBed::new();
    let other = rusqlite::Connection::open(bed.path()).unwrap();
    other.execute_batch("CREATE TABLE bookmark (url TEXT)").unwrap();
    drop(other);
    let before = std::fs::read(bed.path()).unwrap();
    for result in [SqliteLedger::open(&bed.path()), SqliteLedger::open_existing(&bed.path())] {
        assert!(matches!(told(result), LedgerError::NotALedger { .. }));
    }
    assert_eq!(std::fs::read(bed.path()).unwrap(), before);
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused_with_both_versions() {
    let bed = FileBed::new();
    written(&bed.path()).await;
    let newer = rusqlite::Connection::open(bed.path()).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    for result in [SqliteLedger::open(&bed.path()), SqliteLedger::open_existing(&bed.path())] {
        let error = told(result);
        assert!(matches!(error, LedgerError::TooNew { found: 999, .. }), "{error}");
    }
}

#[test]
fn reading_creates_nothing() {
    let bed = FileBed::new();
    let error = told(SqliteLedger::open_existing(&bed.path()));
    assert!(error.to_string().contains("there is no such file"), "{error}");
    assert!(!bed.path().exists());
    std::fs::write(bed.path(), b"").unwrap();
    assert!(told(SqliteLedger::open_existing(&bed.path())).to_string().contains("it is empty"));
    assert_eq!(bed.path().metadata().unwrap().len(), 0);
}

#[test]
fn a_missing_folder_and_a_folder_in_its_place_are_named() {
    let bed = FileBed::new();
    let error = told(SqliteLedger::open(&bed.0.path().join("nowhere/ledger.db")));
    assert!(error.to_string().contains("nowhere does not exist"), "{error}");
    let error = told(SqliteLedger::open(bed.0.path()));
    assert!(error.to_string().contains("it is a folder"), "{error}");
}

#[tokio::test]
async fn a_truncated_file_is_told_as_damaged() {
    let bed = FileBed::new();
    written(&bed.path()).await;
    let file = std::fs::OpenOptions::new().write(true).open(bed.path()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    for result in [SqliteLedger::open(&bed.path()), SqliteLedger::open_existing(&bed.path())] {
        let error = told(result);
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_torn_page_is_found_by_the_check() {
    let bed = FileBed::new();
    let node = written(&bed.path()).await;
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    for round in 1..40 {
        let mut commit = node.commit(round, round);
        commit.gpu_hours[0].0.hour.0 += u32::try_from(round).unwrap();
        samples::commit_one(&ledger, commit).await.unwrap();
    }
    drop(ledger);
    overwrite_root_of(&bed.path(), "gpu_hour");
    let ledger = SqliteLedger::open_existing(&bed.path()).unwrap();
    let sound = match ledger.check().await {
        Ok(faults) => faults.is_empty(),
        Err(LedgerError::Corrupt { .. }) => false,
        Err(other) => panic!("{other}"),
    };
    assert!(!sound);
}

#[tokio::test]
async fn a_ledger_opened_for_reading_refuses_to_write_and_reads_beside_a_writer() {
    let bed = FileBed::new();
    let node = written(&bed.path()).await;
    let writer = SqliteLedger::open(&bed.path()).unwrap();
    let reader = SqliteLedger::open_existing(&bed.path()).unwrap();
    let refused = reader.commit(vec![node.commit(1, 1)]).await;
    assert!(matches!(refused, Err(LedgerError::ReadOnly { .. })), "{refused:?}");
    samples::commit_one(&writer, node.commit(1, 1)).await.unwrap();
    assert_eq!(reader.state(node.key).await.unwrap().version, 2, "sees the last commit");
}

/// With this variable set, the test below is the victim: it commits to the file that it names until
/// it is killed.
const VICTIM: &str = "GPULEDGER_TEST_LEDGER";

#[tokio::test]
async fn a_victim_that_commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let ledger = SqliteLedger::open(Path::new(&path)).unwrap();
    let node = samples::Node::register(&ledger, "a").await.unwrap();
    let mut at = ledger.state(node.key).await.unwrap().version;
    loop {
        samples::commit_one(&ledger, node.commit(at, at)).await.unwrap();
        at += 1;
        let mut out = std::io::stdout();
        writeln!(out, "\ncommitted {at}").unwrap();
        out.flush().unwrap();
    }
}

/// A process that commits to a ledger until it is killed.
struct Victim {
    process: Child,
    /// The version that it last told as committed.
    told: Arc<AtomicU64>,
    listener: JoinHandle<()>,
}

impl Victim {
    fn start(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_victim_that_commits_until_it_is_killed", "--nocapture"])
            .env(VICTIM, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = Arc::new(AtomicU64::new(0));
        let listener = std::thread::spawn({
            let told = Arc::clone(&told);
            move || {
                for line in lines {
                    let line = line.unwrap();
                    if let Some(version) = line.strip_prefix("committed ").and_then(|v| v.parse().ok()) {
                        told.store(version, Ordering::SeqCst);
                    }
                }
            }
        });
        Self { process, told, listener }
    }

    /// Waits until it has told this version.
    fn wait_for(&self, version: u64) {
        while self.told.load(Ordering::SeqCst) < version {
            assert!(!self.listener.is_finished(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it and gives the last version that it told.
    fn kill(mut self) -> u64 {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.listener.join().unwrap();
        self.told.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_told_and_leaves_no_half_commit() {
    let bed = FileBed::new();
    let mut told: u64 = 0;
    for round in 1..=8 {
        let victim = Victim::start(&bed.path());
        victim.wait_for(told + round * 3);
        told = victim.kill();
        let ledger = SqliteLedger::open(&bed.path()).unwrap();
        let node = samples::Node::register(&ledger, "a").await.unwrap();
        let version = ledger.state(node.key).await.unwrap().version;
        assert!(version >= told, "{told} were told, {version} are there");
        assert_eq!(ledger.sequence(node.key, node.epoch()).await.unwrap().0, version);
        let row = ledger.gpu_rows(&Wanted::all(samples::ALWAYS)).await.unwrap()[0].1;
        assert_eq!(row.samples, version * samples::row().samples, "rows and version are one");
        assert_eq!(row.counter_mj.0, version * samples::row().counter_mj.0);
        let faults = ledger.check().await.unwrap();
        assert!(faults.iter().all(|fault| fault.contains("were observed in an hour")), "{faults:?}");
    }
}

#[tokio::test]
async fn a_crash_is_followed_by_an_examination_that_finds_a_broken_file() {
    let bed = FileBed::new();
    let node = written(&bed.path()).await;
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    samples::commit_one(&ledger, node.commit(1, 1)).await.unwrap();
    // What a crash leaves: the file and its log as they are now.
    let crashed = FileBed::new();
    let log = |path: &Path| path.with_extension("db-wal");
    std::fs::copy(bed.path(), crashed.path()).unwrap();
    std::fs::copy(log(&bed.path()), log(&crashed.path())).unwrap();
    let survivor = SqliteLedger::open(&crashed.path()).unwrap();
    assert_eq!(survivor.state(node.key).await.unwrap().version, 2, "the log is replayed");
    drop(survivor);

    // The same crash on a disk that lost pages of the file.
    std::fs::copy(bed.path(), crashed.path()).unwrap();
    std::fs::copy(log(&bed.path()), log(&crashed.path())).unwrap();
    let mut bytes = std::fs::read(crashed.path()).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0);
    }
    std::fs::write(crashed.path(), bytes).unwrap();
    let error = told(SqliteLedger::open(&crashed.path()));
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
}
