//! Closed days: the manifest, and the rows that have not been closed.

use super::rows::{self, GPU_EXPIRED, GPU_HOUR, HourRow, NODE_EXPIRED, NODE_HOUR, unsigned};
use super::{fault, key, read};
use crate::columns::Columnar as _;
use crate::{
    CommitOutcome, Day, DayFile, DayRows, FileStatus, GpuHour, GpuKey, GpuTotal, Hour, HourRange,
    LedgerError, LedgerTotals, NodeHour, NodeKey, PendingFile, Publish, Sums, Table,
};
use rusqlite::types::Type;
use rusqlite::{
    Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params, params_from_iter,
};

const BEGIN: &str = "enter a file of a closed day";
const PUBLISH: &str = "publish a closed day";
const EXPIRE: &str = "let a closed day expire";
const FORGET: &str = "forget files of closed days";

pub type NodeRows = Vec<(Hour, NodeKey, NodeHour)>;
pub type Expired = (Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>);

/// Rows and files, from one moment.
pub fn open_node_hours(
    connection: &Connection,
    range: HourRange,
) -> rusqlite::Result<(NodeRows, Vec<DayFile>)> {
    let moment = connection.unchecked_transaction()?;
    let files = current(&moment, Table::NodeHours, range)?;
    Ok((read::node_hours(&moment, range)?, files))
}

/// Totals of open rows and of what has expired, versions and files, from one moment.
pub fn open_totals(connection: &Connection) -> Result<(LedgerTotals, Vec<DayFile>), LedgerError> {
    let failed = fault::at("sum GPU hours");
    let moment = connection.unchecked_transaction().map_err(&failed)?;
    let files = current(&moment, Table::GpuHours, HourRange::ALWAYS).map_err(&failed)?;
    let mut totals = read::gpu_totals(&moment)?;
    let versions = read::versions(&moment).map_err(&failed)?;
    let (expired, _) = expired_in(&moment).map_err(&failed)?;
    for GpuTotal { gpu, total } in expired {
        totals.entry(gpu).or_default().merge(&total)?;
    }
    let gpus = totals.into_iter().map(|(gpu, total)| GpuTotal { gpu, total }).collect();
    Ok((LedgerTotals { gpus, versions }, files))
}

/// What has expired, from one moment.
pub fn expired(connection: &Connection) -> rusqlite::Result<Expired> {
    expired_in(&connection.unchecked_transaction()?)
}

/// What has expired.
pub fn expired_in(moment: &Transaction<'_>) -> rusqlite::Result<Expired> {
    let all = (0, i64::MAX);
    let mut gpus = moment.prepare_cached(&GPU_EXPIRED.select())?;
    let gpus = gpus
        .query_map(all, |row| Ok(GpuTotal { gpu: GpuKey(row.get(0)?), total: GpuHour::from_row(row)? }))?
        .collect::<Result<_, _>>()?;
    let mut nodes = moment.prepare_cached(&NODE_EXPIRED.select())?;
    let nodes = nodes
        .query_map(all, |row| Ok((NodeKey(row.get(0)?), NodeHour::from_row(row)?)))?
        .collect::<Result<_, _>>()?;
    Ok((gpus, nodes))
}

/// Days of which rows of a range lie in the store: one step in the tree for each, not one for each row.
pub fn open_days(connection: &Connection, table: Table, range: HourRange) -> rusqlite::Result<Vec<Day>> {
    let hours = match table {
        Table::GpuHours => GPU_HOUR,
        Table::NodeHours => NODE_HOUR,
    };
    let mut first = connection.prepare_cached(&hours.first_key())?;
    let (mut from, to) = key::range(range);
    let mut days = Vec::new();
    while let Some(found) = first.query_row((from, to), |row| row.get(0)).optional()? {
        // Both kinds of keys hold the hour in the same bits.
        let day = Day::of(key::of_node_row(found).0);
        days.push(day);
        (_, from) = key::range(day.hours());
    }
    Ok(days)
}

const FILE_SELECT: &str = "SELECT path, rows_of, day, version, status, since_ms, bytes, sha256, row_count, \
                           observed_ms, counter_mj, gap_mj, estimated_mj, samples FROM day_file";

/// The last version that a file of each day was given.
pub fn last_versions(connection: &Connection) -> rusqlite::Result<Vec<(Table, Day, u32)>> {
    let mut statement =
        connection.prepare("SELECT rows_of, day, last FROM day_version ORDER BY rows_of, day")?;
    let rows = statement.query_map([], |row| Ok((table_of(row, 0)?, Day(row.get(1)?), row.get(2)?)))?;
    rows.collect()
}

/// Sets the last version that a file of a day was given.
pub fn put_last_version(to: &Transaction<'_>, table: Table, day: Day, version: u32) -> rusqlite::Result<()> {
    let sql = "INSERT INTO day_version (rows_of, day, last) VALUES (?1, ?2, ?3)";
    to.execute(sql, (table.name(), day.0, version)).map(drop)
}

/// Every file of the manifest.
pub fn files(connection: &Connection) -> rusqlite::Result<Vec<DayFile>> {
    let mut statement =
        connection.prepare_cached(&format!("{FILE_SELECT} ORDER BY rows_of, day, version"))?;
    statement.query_map([], file)?.collect()
}

/// The current files of a range, by day.
pub fn current(moment: &Connection, table: Table, range: HourRange) -> rusqlite::Result<Vec<DayFile>> {
    if range.from >= range.to {
        return Ok(Vec::new());
    }
    let mut statement = moment.prepare_cached(&format!(
        "{FILE_SELECT} WHERE rows_of = ?1 AND status = 'current' AND day BETWEEN ?2 AND ?3 ORDER BY day"
    ))?;
    let (first, last) = (Day::of(range.from), Day::of(Hour(range.to.0 - 1)));
    statement.query_map((table.name(), first.0, last.0), file)?.collect()
}

fn table_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Table> {
    let name: String = row.get(column)?;
    Table::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| unfit(column, &name))
}

fn unfit(column: usize, text: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("{text:?} is unknown").into())
}

fn file(row: &Row<'_>) -> rusqlite::Result<DayFile> {
    let status: String = row.get(4)?;
    Ok(DayFile {
        path: row.get(0)?,
        table: table_of(row, 1)?,
        day: Day(row.get(2)?),
        version: row.get(3)?,
        status: FileStatus::ALL.into_iter().find(|s| s.name() == status).ok_or_else(|| unfit(4, &status))?,
        since_ms: unsigned(row, 5)?,
        bytes: unsigned(row, 6)?,
        sha256: row.get(7)?,
        sums: Sums {
            rows: unsigned(row, 8)?,
            observed_ms: unsigned(row, 9)?,
            counter_mj: unsigned(row, 10)?,
            gap_mj: unsigned(row, 11)?,
            estimated_mj: unsigned(row, 12)?,
            samples: unsigned(row, 13)?,
        },
    })
}

/// Adds an entry to the manifest, or replaces the one of its path.
pub fn put_file(transaction: &Transaction<'_>, file: &DayFile) -> Result<(), LedgerError> {
    let integer = |value, what| rows::stored(value, what);
    let values = params![
        file.path,
        file.table.name(),
        file.day.0,
        file.version,
        file.status.name(),
        integer(file.since_ms, "since_ms")?,
        integer(file.bytes, "bytes")?,
        file.sha256,
        integer(file.sums.rows, "rows")?,
        integer(file.sums.observed_ms, "observed_ms")?,
        integer(file.sums.counter_mj, "counter_mj")?,
        integer(file.sums.gap_mj, "gap_mj")?,
        integer(file.sums.estimated_mj, "estimated_mj")?,
        integer(file.sums.samples, "samples")?,
    ];
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO day_file (path, rows_of, day, version, status, since_ms, bytes, sha256, \
             row_count, observed_ms, counter_mj, gap_mj, estimated_mj, samples) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )
        .and_then(|mut put| put.execute(values))
        .map_err(fault::at(PUBLISH))?;
    Ok(())
}

/// Enters a pending file in place of the one that was pending.
pub fn begin(
    connection: &mut Connection,
    table: Table,
    day: Day,
    now_ms: u64,
) -> Result<PendingFile, LedgerError> {
    let failed = fault::at(BEGIN);
    let transaction = start(connection).map_err(&failed)?;
    let version: i64 = transaction
        .query_row(
            "INSERT INTO day_version (rows_of, day, last) VALUES (?1, ?2, 1) \
             ON CONFLICT (rows_of, day) DO UPDATE SET last = last + 1 RETURNING last",
            (table.name(), day.0),
            |row| row.get(0),
        )
        .map_err(&failed)?;
    let version = u32::try_from(version).map_err(|_| LedgerError::Exhausted { what: "version of a day" })?;
    transaction
        .execute(
            "DELETE FROM day_file WHERE rows_of = ?1 AND day = ?2 AND status = 'pending'",
            (table.name(), day.0),
        )
        .map_err(&failed)?;
    let pending = PendingFile::new(table, day, version);
    put_file(&transaction, &pending.entry(now_ms))?;
    transaction.commit().map_err(&failed)?;
    Ok(pending)
}

/// The pending file becomes current, and the rows that it took over leave the store.
pub fn publish(connection: &mut Connection, publish: &Publish) -> Result<CommitOutcome, LedgerError> {
    let failed = fault::at(PUBLISH);
    let pending = &publish.file;
    let transaction = start(connection).map_err(&failed)?;
    let version = |status: FileStatus| {
        transaction
            .query_row(
                "SELECT path, version FROM day_file WHERE rows_of = ?1 AND day = ?2 AND status = ?3",
                (pending.table.name(), pending.day.0, status.name()),
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)),
            )
            .optional()
            .map_err(&failed)
    };
    let entered = version(FileStatus::Pending)?.is_some_and(|(path, _)| path == pending.path);
    let replaced = version(FileStatus::Current)?.map_or(0, |(_, version)| version);
    // A transaction that is not committed is rolled back.
    if !entered || replaced != publish.replaces || !take_rows(&transaction, publish)? {
        return Ok(CommitOutcome::Moved);
    }
    let since_ms = rows::stored(publish.now_ms, "now_ms")?;
    transaction
        .execute(
            "UPDATE day_file SET status = 'superseded', since_ms = ?3 \
             WHERE rows_of = ?1 AND day = ?2 AND status = 'current'",
            (pending.table.name(), pending.day.0, since_ms),
        )
        .map_err(&failed)?;
    put_file(&transaction, &publish.entry())?;
    transaction.commit().map_err(&failed)?;
    Ok(CommitOutcome::Committed)
}

/// Deletes the rows that the file took over; false where one is not as it was read.
fn take_rows(transaction: &Transaction<'_>, publish: &Publish) -> Result<bool, LedgerError> {
    let (table, day) = (publish.file.table, publish.file.day);
    let of_day = |hour| {
        if Day::of(hour) == day {
            return Ok(());
        }
        let reason = format!("a row of {} is not of {day}", Day::of(hour));
        Err(LedgerError::Failed { operation: PUBLISH, reason })
    };
    for piece in publish.rows.pieces() {
        let is_as_read = match (piece?, table) {
            (DayRows::Gpu(expected), Table::GpuHours) => {
                let keyed = expected.iter().map(|(key, row)| {
                    of_day(key.hour)?;
                    Ok((key::gpu_row(*key)?, row))
                });
                take(transaction, &GPU_HOUR, keyed)?
            }
            (DayRows::Node(expected), Table::NodeHours) => {
                let keyed = expected.iter().map(|(hour, node, row)| {
                    of_day(*hour)?;
                    Ok((key::node_row(*hour, *node)?, row))
                });
                take(transaction, &NODE_HOUR, keyed)?
            }
            _ => {
                let reason = format!("the rows are not those of {}", table.name());
                return Err(LedgerError::Failed { operation: PUBLISH, reason });
            }
        };
        if !is_as_read {
            return Ok(false);
        }
    }
    Ok(true)
}

fn take<'a, R: HourRow + PartialEq + 'a>(
    transaction: &Transaction<'_>,
    table: &rows::Table,
    expected: impl Iterator<Item = Result<(i64, &'a R), LedgerError>>,
) -> Result<bool, LedgerError> {
    let failed = fault::at(PUBLISH);
    let mut delete = transaction.prepare_cached(&table.take()).map_err(&failed)?;
    for row in expected {
        let (key, row) = row?;
        let found = delete.query_row([key], |row| R::from_row(row)).optional().map_err(&failed)?;
        if found.as_ref() != Some(row) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A current file leaves the reports; its totals stay.
pub fn expire(
    connection: &mut Connection,
    file: &DayFile,
    gpus: &[GpuTotal],
    nodes: &[(NodeKey, NodeHour)],
    now_ms: u64,
) -> Result<CommitOutcome, LedgerError> {
    let failed = fault::at(EXPIRE);
    let transaction = start(connection).map_err(&failed)?;
    let changed = transaction
        .execute(
            "UPDATE day_file SET status = 'expired', since_ms = ?2 WHERE path = ?1 AND status = 'current'",
            (&file.path, rows::stored(now_ms, "now_ms")?),
        )
        .map_err(&failed)?;
    if changed == 0 {
        return Ok(CommitOutcome::Moved);
    }
    add_expired(&transaction, gpus, nodes)?;
    transaction.commit().map_err(&failed)?;
    Ok(CommitOutcome::Committed)
}

/// Adds to what has expired.
pub fn add_expired(
    transaction: &Transaction<'_>,
    gpus: &[GpuTotal],
    nodes: &[(NodeKey, NodeHour)],
) -> Result<(), LedgerError> {
    let failed = fault::at(EXPIRE);
    let mut gpu = transaction.prepare_cached(&GPU_EXPIRED.upsert()).map_err(&failed)?;
    for GpuTotal { gpu: key, total } in gpus {
        let key = Some(i64::from(key.0));
        gpu.execute(params_from_iter(std::iter::once(key).chain(total.columns()?))).map_err(&failed)?;
    }
    let mut node = transaction.prepare_cached(&NODE_EXPIRED.upsert()).map_err(&failed)?;
    for (key, total) in nodes {
        let key = Some(i64::from(key.0));
        node.execute(params_from_iter(std::iter::once(key).chain(total.columns()?))).map_err(&failed)?;
    }
    Ok(())
}

/// Removes pending and superseded entries.
pub fn forget(connection: &mut Connection, paths: &[String]) -> Result<(), LedgerError> {
    let failed = fault::at(FORGET);
    let transaction = start(connection).map_err(&failed)?;
    for path in paths {
        transaction
            .prepare_cached("DELETE FROM day_file WHERE path = ?1 AND status IN ('pending', 'superseded')")
            .and_then(|mut forget| forget.execute([path]))
            .map_err(&failed)?;
    }
    transaction.commit().map_err(&failed)
}

const LOCATION: &str = "archive_location";

pub fn location(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM fact WHERE name = ?1", [LOCATION], |row| row.get(0)).optional()
}

pub fn set_location(connection: &Connection, location: &str) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?1, ?2)", (LOCATION, location))?;
    Ok(())
}

fn start(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new(connection, TransactionBehavior::Immediate)
}
