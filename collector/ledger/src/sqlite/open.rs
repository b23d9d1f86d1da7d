//! Opening a file: whose it is, which version wrote it, whether it is whole.

use super::site::beside;
use super::{fault, migrations};
use crate::LedgerError;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for another process's transaction. Commits take milliseconds; a
/// process that holds the lock for longer is stuck, and the caller must hear of it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this size after a checkpoint: a few commits of a large fleet.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Pages of the log that are folded back into the file at a time: those of [`LOG_BYTES_KEPT`]. A fleet changes
/// the same pages with every commit, which is folded back once for several of them.
const LOG_PAGES_MAX: i64 = LOG_BYTES_KEPT / 4_096;
/// Memory for pages, in KiB: all that a commit of 10,000 nodes changes, rows of an hour, the register and the
/// states of its folds. With less, pages are written and read again within one commit.
const CACHE_KIB: i64 = 96 * 1024;

/// Opens or creates the file, with a schema of this build.
pub fn for_writing(path: &Path) -> Result<Connection, LedgerError> {
    let flags = WRITING | OpenFlags::SQLITE_OPEN_CREATE;
    let unclean = is_unclean(path);
    let connection = connect_writable(path, flags)?;
    let fresh = identify(&connection, path)? == Identity::Empty;
    prepare(connection, path, unclean && !fresh)
}

/// Opens a file that was open before. Nothing is created: where an empty file lies in the ledger's
/// place, a ledger that begins anew would hide that the old one is missing.
pub fn again(path: &Path, suspect: bool) -> Result<Connection, LedgerError> {
    let unclean = is_unclean(path);
    let connection = connect_writable(path, WRITING)?;
    match identify(&connection, path)? {
        Identity::Empty => Err(not_ours(path, "it is empty")),
        Identity::Older(_) | Identity::Current => prepare(connection, path, unclean || suspect),
    }
}

const WRITING: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Whether the last process to write did not close the file.
fn is_unclean(path: &Path) -> bool {
    log_of(path).metadata().is_ok_and(|log| log.len() > 0)
}

fn prepare(mut connection: Connection, path: &Path, doubtful: bool) -> Result<Connection, LedgerError> {
    let open_error = |error: rusqlite::Error| match fault::during("open the ledger", &error) {
        LedgerError::ReadOnly { .. } => failed(path, READ_ONLY),
        LedgerError::DiskFull { .. } => failed(path, "the disk is full"),
        LedgerError::Locked { .. } => failed(path, "another process holds it locked"),
        other => other,
    };
    configure_writer(&connection).map_err(open_error)?;
    migrations::apply(&mut connection).map_err(open_error)?;
    if doubtful {
        examine(&connection)?;
    }
    Ok(connection)
}

/// Opens a file of ours for reading only.
pub fn existing(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(failed(path, "there is no such file"));
    }
    let connection = for_reading(path)?;
    match identify(&connection, path)? {
        Identity::Empty => Err(not_ours(path, "it is empty")),
        Identity::Older(found) => Err(LedgerError::Open {
            path: path.to_owned(),
            reason: format!(
                "its schema {found} is older than this build's {}; a command that writes brings it up to date",
                migrations::known_version()
            ),
        }),
        Identity::Current => Ok(connection),
    }
}

/// Opens a file of ours to copy it, of whatever version.
pub fn for_backup(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(failed(path, "there is no such file"));
    }
    let connection = for_reading(path)?;
    match identify(&connection, path)? {
        Identity::Empty => Err(not_ours(path, "it is empty")),
        Identity::Older(_) | Identity::Current => Ok(connection),
    }
}

/// A connection that cannot write. A ledger on a read-only medium is read as it lies there, which
/// is safe because nothing can write to it.
pub fn for_reading(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags)?;
    let readable = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    let Err(error) = readable else { return Ok(connection) };
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly) if !log_of(path).exists() => {
            let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = PathBuf::from(format!("file:{name}?immutable=1"));
            connect(&uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => Err(unreadable(path, &error)),
    }
}

/// SQLite opens what it may not write for reading, and tells it with the first write. Looking before the
/// first read keeps it from making a log that has the rights of the file, and could not be written either
/// once the file can.
fn connect_writable(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let connection = connect(path, flags)?;
    match connection.is_readonly("main") {
        Ok(false) => Ok(connection),
        Ok(true) => Err(failed(path, READ_ONLY)),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let connection = Connection::open_with_flags(path, flags).map_err(|error| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.exists() => {
                failed(path, &format!("the folder {} does not exist", folder.display()))
            }
            _ if path.is_dir() => failed(path, "it is a folder, not a file"),
            _ => failed(path, &error.to_string()),
        }
    })?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| failed(path, &error.to_string()))?;
    Ok(connection)
}

const READ_ONLY: &str = "the file, its folder, or the -wal or -shm file beside it is read-only";

#[derive(PartialEq, Eq)]
enum Identity {
    /// No schema yet: a new file.
    Empty,
    Older(i64),
    Current,
}

fn identify(connection: &Connection, path: &Path) -> Result<Identity, LedgerError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema").map_err(|error| unreadable(path, &error))?;
    let application = number("PRAGMA application_id").map_err(|error| unreadable(path, &error))?;
    let found = number("PRAGMA user_version").map_err(|error| unreadable(path, &error))?;
    let known = migrations::known_version();
    if tables == 0 && application == 0 && found == 0 {
        Ok(Identity::Empty)
    } else if application != i64::from(migrations::APPLICATION_ID) {
        Err(not_ours(path, "it is a database of another program"))
    } else if found > known {
        Err(LedgerError::TooNew { path: path.to_owned(), found, known })
    } else if found < known {
        Ok(Identity::Older(found))
    } else {
        Ok(Identity::Current)
    }
}

fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES_MAX, |_| Ok(()))?;
    // A negative number is KiB.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(())
}

/// Walks the whole file after a crash or damage. SQLite recovers by itself; what this finds is a disk that
/// did not keep its word.
fn examine(connection: &Connection) -> Result<(), LedgerError> {
    const OPERATION: &str = "open the ledger after a crash or damage";
    tracing::info!("the ledger was not closed cleanly by who wrote to it last: examining it");
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fault::at(OPERATION))?;
    if verdict == "ok" { Ok(()) } else { Err(LedgerError::Corrupt { operation: OPERATION, reason: verdict }) }
}

fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> LedgerError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => not_ours(path, "it is not an SQLite file"),
        Some(rusqlite::ErrorCode::SystemIoFailure) => fault::during("open the ledger", error),
        _ => match fault::during("open the ledger", error) {
            corrupt @ LedgerError::Corrupt { .. } => corrupt,
            _ => failed(path, &error.to_string()),
        },
    }
}

fn failed(path: &Path, reason: &str) -> LedgerError {
    LedgerError::Open { path: path.to_owned(), reason: reason.to_owned() }
}

fn not_ours(path: &Path, reason: &str) -> LedgerError {
    LedgerError::NotALedger { path: path.to_owned(), reason: reason.to_owned() }
}
