//! Faults of the file and of its disk: each is named, nothing is acknowledged meanwhile, and the ledger
//! goes on by itself once it is mended.

use crate::{FileBed, beside, overwrite_root_of, told, written};
use gpuledger_ledger::Store as _;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::suite::samples::{self, ALWAYS, Node, row};
use gpuledger_ledger::{CommitOutcome, Ledger, LedgerError, Wanted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

async fn commit(ledger: &SqliteLedger, node: &Node, at: u64) -> Result<CommitOutcome, LedgerError> {
    samples::commit_one(ledger, node.commit(at, at)).await
}

async fn is_at(ledger: &SqliteLedger, node: &Node, version: u64) {
    assert_eq!(ledger.state(node.key).await.unwrap().version, version);
    let rows = ledger.gpu_rows(&Wanted::all(ALWAYS)).await.unwrap();
    assert_eq!(rows[0].1.samples, version * row().samples);
    assert!(ledger.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_page_is_told_and_nothing_is_written_until_it_is_mended() {
    let bed = FileBed::new();
    let node = written(&bed.path()).await;
    let whole = fs::read(bed.path()).unwrap();
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    overwrite_root_of(&bed.path(), "gpu_hour");
    for _ in 0..2 {
        let refused = commit(&ledger, &node, 1).await;
        assert!(matches!(refused, Err(LedgerError::Corrupt { .. })), "{refused:?}");
        assert!(matches!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await, Err(LedgerError::Corrupt { .. })));
    }
    // Even a commit that does not touch the damaged page is refused.
    let mut bare = node.commit(1, 1);
    bare.gpu_hours.clear();
    assert!(matches!(samples::commit_one(&ledger, bare).await, Err(LedgerError::Corrupt { .. })));
    fs::write(bed.path(), whole).unwrap();
    assert_eq!(commit(&ledger, &node, 1).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 2).await;
}

/// With this variable set, a test below is a process of its own: what it does to the ledger that the
/// variable names must not touch the process of the other tests.
const ALONE: &str = "GPULEDGER_TEST_ALONE";

/// This test by itself, in a process that these words of a shell begin.
fn alone(test: &str, program: &Path, path: &Path, prepare: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{prepare} exec \"$0\" \"$@\"")]).arg(program);
    command.args(["--exact", test, "--nocapture"]).env(ALONE, path);
    command
}

fn finish(mut command: Command) {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_told_and_outlived() {
    const TEST: &str = "on_sqlite::faults::a_file_that_may_not_grow_is_told_and_outlived";
    let Some(path) = std::env::var_os(ALONE) else {
        let bed = FileBed::new();
        let program = std::env::current_exe().unwrap();
        // By default the signal that comes with the error ends the process.
        return finish(alone(TEST, &program, &bed.path(), "trap '' XFSZ;"));
    };
    let path = PathBuf::from(path);
    let node = written(&path).await;
    let ledger = SqliteLedger::open(&path).unwrap();
    assert_eq!(commit(&ledger, &node, 1).await.unwrap(), CommitOutcome::Committed);
    let limit = |current| {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
    };
    limit(Some(1_024));
    for _ in 0..3 {
        let refused = commit(&ledger, &node, 2).await;
        assert!(
            matches!(refused, Err(LedgerError::Disk { .. } | LedgerError::DiskFull { .. })),
            "{refused:?}"
        );
    }
    limit(getrlimit(Resource::Fsize).maximum);
    is_at(&ledger, &node, 2).await;
    assert_eq!(commit(&ledger, &node, 2).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 3).await;
}

/// The user "nobody", for whom rights count.
const NOBODY: u32 = 65_534;

#[tokio::test]
async fn a_read_only_file_is_told_and_outlived() {
    const TEST: &str = "on_sqlite::faults::a_read_only_file_is_told_and_outlived";
    let Some(path) = std::env::var_os(ALONE) else {
        let bed = FileBed::new();
        let mut program = std::env::current_exe().unwrap();
        let mut command = if rustix::process::geteuid().is_root() {
            // A copy in a folder that the other user may enter.
            program = bed.beside("test");
            fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
            fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
            chown(bed.folder(), Some(NOBODY), Some(NOBODY)).unwrap();
            alone(TEST, &program, &bed.path(), "")
        } else {
            alone(TEST, &program, &bed.path(), "")
        };
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY).current_dir(bed.folder());
        }
        return finish(command);
    };
    let path = PathBuf::from(path);
    let node = written(&path).await;
    let rights = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    rights(0o444);
    let error = told(SqliteLedger::open(&path)).to_string();
    assert!(error.contains("ledger.db: the file, its folder"), "{error}");
    assert_eq!(SqliteLedger::open_existing(&path).unwrap().state(node.key).await.unwrap().version, 1);
    // Who read it left files beside it that have its rights.
    rights(0o644);
    let error = told(SqliteLedger::open(&path)).to_string();
    assert!(error.contains("or the -wal or -shm file beside it is read-only"), "{error}");
    for ending in ["-wal", "-shm"] {
        fs::set_permissions(beside(&path, ending), Permissions::from_mode(0o644)).unwrap();
    }
    let ledger = SqliteLedger::open(&path).unwrap();
    assert_eq!(commit(&ledger, &node, 1).await.unwrap(), CommitOutcome::Committed);
    // A copy that may not be written comes in its place.
    let copy = path.with_extension("copy");
    SqliteLedger::backup(&path, &copy, |_, _| {}).unwrap();
    fs::rename(&copy, &path).unwrap();
    rights(0o444);
    for _ in 0..2 {
        let error = commit(&ledger, &node, 2).await.unwrap_err().to_string();
        assert!(error.contains("ledger.db: the file, its folder"), "{error}");
    }
    rights(0o644);
    // Only that it is another file is still to be told.
    assert!(matches!(commit(&ledger, &node, 2).await, Err(LedgerError::Replaced { .. })));
    assert_eq!(commit(&ledger, &node, 2).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 3).await;
}

#[tokio::test]
async fn a_lock_of_another_process_is_told_and_outlived() {
    const TEST: &str = "on_sqlite::faults::a_lock_of_another_process_is_told_and_outlived";
    if let Some(path) = std::env::var_os(ALONE) {
        // The other process: it holds the lock until its input ends.
        let other = rusqlite::Connection::open(path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        println!("\nlocked");
        std::io::stdout().flush().unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return other.execute_batch("ROLLBACK").unwrap();
    }
    let bed = FileBed::new();
    let node = written(&bed.path()).await;
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    let program = std::env::current_exe().unwrap();
    let mut other =
        alone(TEST, &program, &bed.path(), "").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "locked"));
    let refused = commit(&ledger, &node, 1).await;
    assert!(matches!(refused, Err(LedgerError::Locked { .. })), "{refused:?}");
    is_at(&ledger, &node, 1).await;
    drop(other.stdin.take());
    for _ in lines {}
    assert!(other.wait().unwrap().success());
    assert_eq!(commit(&ledger, &node, 1).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 2).await;
}
