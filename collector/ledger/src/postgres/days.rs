//! Closed days: the manifest, and the rows that have not been closed.

use super::fault::Fault;
use super::numbers::{number, stored, unsigned};
use super::read::{self, NodeRows};
use super::rows::{self, GPU_EXPIRED, GPU_HOUR, Keyed, NODE_EXPIRED, NODE_HOUR};
use crate::{
    Day, DayFile, DayRows, FileStatus, GpuHour, GpuKey, GpuTotal, Hour, HourRange, LedgerError, LedgerTotals,
    NodeHour, NodeKey, PendingFile, Publish, Sums, Table,
};
use deadpool_postgres::Transaction;
use gpuledger_units::Overflow;
use std::collections::BTreeMap;
use tokio_postgres::Row;

pub type Expired = (Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>);

pub async fn open_node_hours(
    tx: &Transaction<'_>,
    range: HourRange,
) -> Result<(NodeRows, Vec<DayFile>), Fault> {
    let files = current(tx, Table::NodeHours, range).await?;
    Ok((read::node_hours(tx, range).await?, files))
}

/// Totals of open rows and of what has expired, and the versions of all nodes.
pub async fn open_totals(tx: &Transaction<'_>) -> Result<(LedgerTotals, Vec<DayFile>), Fault> {
    let files = current(tx, Table::GpuHours, HourRange::ALWAYS).await?;
    let open = read::gpu_totals(tx).await?;
    let versions = read::versions(tx).await?;
    let (expired, _) = expired(tx).await?;
    let mut totals: BTreeMap<GpuKey, GpuHour> = BTreeMap::new();
    for GpuTotal { gpu, total } in open.into_iter().chain(expired) {
        totals.entry(gpu).or_default().merge(&total)?;
    }
    let gpus = totals.into_iter().map(|(gpu, total)| GpuTotal { gpu, total }).collect();
    Ok((LedgerTotals { gpus, versions }, files))
}

pub async fn expired(tx: &Transaction<'_>) -> Result<Expired, Fault> {
    let gpus = tx.query(&GPU_EXPIRED.sql_select("ORDER BY gpu"), &[]).await?;
    let nodes = tx.query(&NODE_EXPIRED.sql_select("ORDER BY node"), &[]).await?;
    Ok((
        gpus.iter().map(read::gpu_total).collect::<Result<_, _>>()?,
        nodes.iter().map(read::node_total).collect::<Result<_, _>>()?,
    ))
}

/// Days of which rows of a range lie in the store: one step in the index for each, not one for each row.
pub async fn open_days(tx: &Transaction<'_>, table: Table, range: HourRange) -> Result<Vec<Day>, Fault> {
    let name = match table {
        Table::GpuHours => GPU_HOUR.name,
        Table::NodeHours => NODE_HOUR.name,
    };
    let sql = format!("SELECT min(hour) FROM {name} WHERE hour >= $1 AND hour < $2");
    let statement = tx.prepare_cached(&sql).await?;
    let (mut from, to) = read::bounds(range)?;
    let mut days = Vec::new();
    while let Some(hour) = tx.query_one(&statement, &[&from, &to]).await?.try_get::<_, Option<i32>>(0)? {
        let hour = u32::try_from(hour).map_err(|_| Fault::Damaged(format!("{name} has the hour {hour}")))?;
        let day = Day::of(Hour(hour));
        days.push(day);
        from = stored(day.hours().to.0)?;
    }
    Ok(days)
}

const FILE_SELECT: &str = "SELECT path, rows_of, day, version, status, since_ms, bytes, sha256, row_count, \
                           observed_ms, counter_mj, gap_mj, estimated_mj, samples FROM day_file";

/// The last version that a file of each day was given.
pub async fn last_versions(tx: &Transaction<'_>) -> Result<Vec<(Table, Day, u32)>, Fault> {
    let rows = tx.query("SELECT rows_of, day, last FROM day_version ORDER BY rows_of, day", &[]).await?;
    rows.iter().map(|row| Ok((table_of(row, 0)?, Day(number(row, 1)?), number(row, 2)?))).collect()
}

/// Sets the last version that a file of a day was given.
pub async fn put_last_version(
    tx: &Transaction<'_>,
    table: Table,
    day: Day,
    version: u32,
) -> Result<(), Fault> {
    let sql = "INSERT INTO day_version (rows_of, day, last) VALUES ($1, $2, $3)";
    let statement = tx.prepare_cached(sql).await?;
    tx.execute(&statement, &[&table.name(), &stored(day.0)?, &stored(version)?]).await?;
    Ok(())
}

/// Every file of the manifest.
pub async fn files(tx: &Transaction<'_>) -> Result<Vec<DayFile>, Fault> {
    let rows = tx.query(&format!("{FILE_SELECT} ORDER BY rows_of, day, version"), &[]).await?;
    rows.iter().map(file).collect()
}

/// The current files of a range.
pub async fn current(tx: &Transaction<'_>, table: Table, range: HourRange) -> Result<Vec<DayFile>, Fault> {
    if range.from >= range.to {
        return Ok(Vec::new());
    }
    let sql = format!(
        "{FILE_SELECT} WHERE rows_of = $1 AND status = 'current' AND day BETWEEN $2 AND $3 ORDER BY day"
    );
    let (first, last) = (stored(Day::of(range.from).0)?, stored(Day::of(Hour(range.to.0 - 1)).0)?);
    let rows = tx.query(&tx.prepare_cached(&sql).await?, &[&table.name(), &first, &last]).await?;
    rows.iter().map(file).collect()
}

fn unfit(text: &str) -> Fault {
    Fault::Damaged(format!("{text:?} in the manifest is unknown"))
}

fn table_of(row: &Row, column: usize) -> Result<Table, Fault> {
    let name: &str = row.try_get(column)?;
    Table::ALL.into_iter().find(|table| table.name() == name).ok_or_else(|| unfit(name))
}

fn file(row: &Row) -> Result<DayFile, Fault> {
    let status: &str = row.try_get(4)?;
    let sha256: &[u8] = row.try_get(7)?;
    Ok(DayFile {
        path: row.try_get(0)?,
        table: table_of(row, 1)?,
        day: Day(number(row, 2)?),
        version: number(row, 3)?,
        status: FileStatus::ALL.into_iter().find(|s| s.name() == status).ok_or_else(|| unfit(status))?,
        since_ms: unsigned(row, 5)?,
        bytes: unsigned(row, 6)?,
        sha256: sha256.try_into().map_err(|_| unfit("a checksum of another length"))?,
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
pub async fn put_file(tx: &Transaction<'_>, file: &DayFile) -> Result<(), Fault> {
    let sql = "INSERT INTO day_file (path, rows_of, day, version, status, since_ms, bytes, sha256, row_count, \
               observed_ms, counter_mj, gap_mj, estimated_mj, samples) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
               ON CONFLICT (path) DO UPDATE SET status = $5, since_ms = $6, bytes = $7, sha256 = $8, row_count = $9, \
               observed_ms = $10, counter_mj = $11, gap_mj = $12, estimated_mj = $13, samples = $14";
    tx.execute(
        &tx.prepare_cached(sql).await?,
        &[
            &file.path,
            &file.table.name(),
            &stored(file.day.0)?,
            &stored(file.version)?,
            &file.status.name(),
            &integer(file.since_ms, "since_ms")?,
            &integer(file.bytes, "bytes")?,
            &&file.sha256[..],
            &integer(file.sums.rows, "rows")?,
            &integer(file.sums.observed_ms, "observed_ms")?,
            &integer(file.sums.counter_mj, "counter_mj")?,
            &integer(file.sums.gap_mj, "gap_mj")?,
            &integer(file.sums.estimated_mj, "estimated_mj")?,
            &integer(file.sums.samples, "samples")?,
        ],
    )
    .await?;
    Ok(())
}

/// One writer at a time for the files of a table's day.
async fn lock_day(tx: &Transaction<'_>, table: Table, day: Day) -> Result<(), Fault> {
    let sql = "SELECT FROM day_version WHERE rows_of = $1 AND day = $2 FOR UPDATE";
    // Where there is no row, no file was ever begun, and there is nothing to change.
    tx.execute(sql, &[&table.name(), &stored(day.0)?]).await?;
    Ok(())
}

/// Enters a pending file in place of the one that was pending.
pub async fn begin(tx: &Transaction<'_>, table: Table, day: Day, now_ms: u64) -> Result<PendingFile, Fault> {
    let of_day: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&table.name(), &stored(day.0)?];
    // Locks the day, too.
    let next = "INSERT INTO day_version AS t (rows_of, day, last) VALUES ($1, $2, 1) \
                ON CONFLICT (rows_of, day) DO UPDATE SET last = t.last + 1 RETURNING last";
    let version = number(&tx.query_one(next, &of_day).await?, 0)?;
    tx.execute("DELETE FROM day_file WHERE rows_of = $1 AND day = $2 AND status = 'pending'", &of_day)
        .await?;
    let pending = PendingFile::new(table, day, version);
    put_file(tx, &pending.entry(now_ms)).await?;
    Ok(pending)
}

/// The pending file becomes current, and the rows that it took over leave the store.
/// [`Fault::Moved`] where one of them is not as it was read.
pub async fn publish(tx: &Transaction<'_>, publish: &Publish) -> Result<(), Fault> {
    let pending = &publish.file;
    lock_day(tx, pending.table, pending.day).await?;
    // Locked, so that whoever forgets the entry meanwhile finds it entered, or this finds it gone.
    let sql = "SELECT status, path, version FROM day_file WHERE rows_of = $1 AND day = $2 \
               AND status IN ('pending', 'current') FOR UPDATE";
    let (mut entered, mut replaced) = (false, 0);
    for row in tx.query(sql, &[&pending.table.name(), &stored(pending.day.0)?]).await? {
        if row.try_get::<_, &str>(0)? == FileStatus::Pending.name() {
            entered = row.try_get::<_, &str>(1)? == pending.path;
        } else {
            replaced = number(&row, 2)?;
        }
    }
    if !entered || replaced != publish.replaces {
        return Err(Fault::Moved);
    }
    take_rows(tx, publish).await?;
    tx.execute(
        "UPDATE day_file SET status = 'superseded', since_ms = $3 \
         WHERE rows_of = $1 AND day = $2 AND status = 'current'",
        &[&pending.table.name(), &stored(pending.day.0)?, &integer(publish.now_ms, "now_ms")?],
    )
    .await?;
    put_file(tx, &publish.entry()).await
}

/// Deletes the rows that the file took over, if every one is as it was read.
async fn take_rows(tx: &Transaction<'_>, publish: &Publish) -> Result<(), Fault> {
    let (table, day) = (publish.file.table, publish.file.day);
    let of_day = |hour: Hour| match Day::of(hour) {
        found if found == day => stored(hour.0),
        found => Err(Fault::Other(format!("a row of {found} is not of {day}"))),
    };
    for piece in publish.rows.pieces() {
        let (expected, found) = match (&piece?, table) {
            (DayRows::Gpu(rows), Table::GpuHours) => {
                let mut keyed = Vec::with_capacity(rows.len());
                for (key, row) in rows {
                    keyed.push(([stored(key.gpu.0)?, of_day(key.hour)?, stored(key.owner.0)?], row));
                }
                keyed.sort_unstable_by_key(|(key, _)| *key);
                (rows.len(), GPU_HOUR.delete_equal(tx, &keyed).await?)
            }
            (DayRows::Node(rows), Table::NodeHours) => {
                let mut keyed = Vec::with_capacity(rows.len());
                for (hour, node, row) in rows {
                    keyed.push(([stored(node.0)?, of_day(*hour)?], row));
                }
                keyed.sort_unstable_by_key(|(key, _)| *key);
                (rows.len(), NODE_HOUR.delete_equal(tx, &keyed).await?)
            }
            _ => return Err(Fault::Other(format!("the rows are not those of {}", table.name()))),
        };
        if u64::try_from(expected) != Ok(found) {
            return Err(Fault::Moved);
        }
    }
    Ok(())
}

/// A current file leaves the reports; its totals stay. [`Fault::Moved`] where it is not current.
pub async fn expire(
    tx: &Transaction<'_>,
    file: &DayFile,
    gpus: &[GpuTotal],
    nodes: &[(NodeKey, NodeHour)],
    now_ms: u64,
) -> Result<(), Fault> {
    lock_day(tx, file.table, file.day).await?;
    let changed = tx
        .execute(
            "UPDATE day_file SET status = 'expired', since_ms = $2 WHERE path = $1 AND status = 'current'",
            &[&file.path, &integer(now_ms, "now_ms")?],
        )
        .await?;
    if changed == 0 { Err(Fault::Moved) } else { add_expired(tx, gpus, nodes).await }
}

/// Adds to what has expired.
pub async fn add_expired(
    tx: &Transaction<'_>,
    gpus: &[GpuTotal],
    nodes: &[(NodeKey, NodeHour)],
) -> Result<(), Fault> {
    let mut by_gpu: Keyed<GpuHour, 1> = BTreeMap::new();
    for GpuTotal { gpu, total } in gpus {
        rows::put(&mut by_gpu, [stored(gpu.0)?], total)?;
    }
    let mut by_node: Keyed<NodeHour, 1> = BTreeMap::new();
    for (node, total) in nodes {
        rows::put(&mut by_node, [stored(node.0)?], total)?;
    }
    GPU_EXPIRED.add(tx, &by_gpu).await?;
    NODE_EXPIRED.add(tx, &by_node).await
}

/// Removes pending and superseded entries.
pub async fn forget(tx: &Transaction<'_>, paths: &[String]) -> Result<(), Fault> {
    let sql = "DELETE FROM day_file WHERE path = ANY($1) AND status IN ('pending', 'superseded')";
    tx.execute(sql, &[&paths]).await?;
    Ok(())
}

const LOCATION: &str = "archive_location";

pub async fn location(tx: &Transaction<'_>) -> Result<Option<String>, Fault> {
    let row = tx.query_opt("SELECT value FROM gpuledger_meta WHERE name = $1", &[&LOCATION]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub async fn set_location(tx: &Transaction<'_>, location: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO gpuledger_meta (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, &[&LOCATION, &location]).await?;
    Ok(())
}

fn integer(value: u64, what: &'static str) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| Overflow(what).into())
}
