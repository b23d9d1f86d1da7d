//! The whole content out of a file, and into an empty one.

use super::rows::{GPU_HOUR, HourRow, NODE_HOUR, unsigned};
use super::{commit, days, fault, key, read, register};
use crate::columns::Columnar as _;
use crate::{GpuHour, HourRange, LedgerError, NodeHour, NodeKey, Record};
use gpuledger_proto::ids::{Epoch, Sequence};
use rusqlite::types::Type;
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};
use tokio::sync::mpsc;

const EXPORT: &str = "export the ledger";
const IMPORT: &str = "import a ledger";
/// Records sent at a time: large enough that the channel costs nothing, small enough that a few
/// waiting ones take a few megabytes.
const CHUNK_RECORDS: usize = 4096;

/// Sends everything in the order that [`crate::Store::export`] promises.
pub fn export(connection: &Connection, to: mpsc::Sender<Vec<Record>>) -> Result<(), LedgerError> {
    let failed = fault::at(EXPORT);
    let moment = connection.unchecked_transaction().map_err(&failed)?;
    let mut out = Out { to, chunk: Vec::new(), records: 0 };
    let location = days::location(&moment).map_err(&failed)?;
    out.send_all(location.map(Record::ArchiveLocation))?;
    for record in register::all_nodes(&moment).map_err(&failed)? {
        let state = read::state(&moment, record.key).map_err(&failed)?;
        out.send(Record::Node { record, state })?;
    }
    out.send_all(register::all_gpus(&moment).map_err(&failed)?.into_iter().map(Record::Gpu))?;
    out.send_all(register::all_owners(&moment).map_err(&failed)?.into_iter().map(Record::Owner))?;
    out.send_all(epochs(&moment).map_err(&failed)?)?;
    out.send_all(register::all_assets(&moment).map_err(&failed)?.into_iter().map(Record::Asset))?;
    let versions = days::last_versions(&moment).map_err(&failed)?;
    let version = |(table, day, version)| Record::LastVersion { table, day, version };
    out.send_all(versions.into_iter().map(version))?;
    out.send_all(days::files(&moment).map_err(&failed)?.into_iter().map(Record::File))?;
    let (gpus, nodes) = days::expired_in(&moment).map_err(&failed)?;
    out.send_all(gpus.into_iter().map(Record::ExpiredGpu))?;
    out.send_all(nodes.into_iter().map(|(node, total)| Record::ExpiredNode { node, total }))?;
    send_hours(&moment, &mut out)?;
    out.end()
}

fn epochs(moment: &Transaction<'_>) -> rusqlite::Result<Vec<Record>> {
    let mut statement = moment.prepare("SELECT node, epoch, sequence FROM epoch ORDER BY node, epoch")?;
    let rows = statement.query_map([], |row| {
        let epoch: [u8; 16] = row.get(1)?;
        let epoch = Epoch::from_slice(&epoch)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, Box::new(error)))?;
        Ok(Record::Epoch { node: NodeKey(row.get(0)?), epoch, sequence: Sequence(unsigned(row, 2)?) })
    })?;
    rows.collect()
}

/// The rows of hours, which are too many to be held at once.
fn send_hours(moment: &Transaction<'_>, out: &mut Out) -> Result<(), LedgerError> {
    let failed = fault::at(EXPORT);
    let always = key::range(HourRange::ALWAYS);
    let mut statement = moment.prepare(&GPU_HOUR.select()).map_err(&failed)?;
    let mut rows = statement.query(always).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let key = key::of_gpu_row(row.get(0).map_err(&failed)?);
        out.send(Record::GpuHour(key, GpuHour::from_row(row).map_err(&failed)?))?;
    }
    let mut statement = moment.prepare(&NODE_HOUR.select()).map_err(&failed)?;
    let mut rows = statement.query(always).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let (hour, node) = key::of_node_row(row.get(0).map_err(&failed)?);
        out.send(Record::NodeHour(hour, node, NodeHour::from_row(row).map_err(&failed)?))?;
    }
    Ok(())
}

/// The sending end, chunk by chunk.
struct Out {
    to: mpsc::Sender<Vec<Record>>,
    chunk: Vec<Record>,
    records: u64,
}

impl Out {
    fn send(&mut self, record: Record) -> Result<(), LedgerError> {
        self.chunk.push(record);
        self.records += 1;
        if self.chunk.len() >= CHUNK_RECORDS { self.flush() } else { Ok(()) }
    }

    fn send_all(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), LedgerError> {
        records.into_iter().try_for_each(|record| self.send(record))
    }

    fn flush(&mut self) -> Result<(), LedgerError> {
        let gone = |_| LedgerError::Failed {
            operation: EXPORT,
            reason: "whoever took it has stopped taking".to_owned(),
        };
        self.to.blocking_send(std::mem::take(&mut self.chunk)).map_err(gone)
    }

    fn end(mut self) -> Result<(), LedgerError> {
        self.chunk.push(Record::End(self.records));
        self.flush()
    }
}

/// Fills an empty ledger, in one transaction.
pub fn import(
    connection: &mut Connection,
    mut from: mpsc::Receiver<Vec<Record>>,
    ledger: String,
) -> Result<(), LedgerError> {
    let failed = fault::at(IMPORT);
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate).map_err(&failed)?;
    if !is_empty(&transaction).map_err(&failed)? {
        return Err(LedgerError::NotEmpty { ledger });
    }
    let statements = Statements { gpu_hour: GPU_HOUR.upsert(), node_hour: NODE_HOUR.upsert() };
    let mut records: u64 = 0;
    let mut end = None;
    while let Some(chunk) = from.blocking_recv() {
        for record in chunk {
            if let Record::End(told) = record {
                end = Some(told);
            } else {
                put(&transaction, &statements, record)?;
                records += 1;
            }
        }
    }
    if end != Some(records) {
        let reason = format!("what was exported was cut off after {records} records");
        return Err(LedgerError::Failed { operation: IMPORT, reason });
    }
    transaction.commit().map_err(&failed)
}

fn is_empty(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    const TABLES: [&str; 9] =
        ["node", "gpu", "owner", "asset", "gpu_hour", "node_hour", "day_file", "day_version", "fact"];
    for table in TABLES {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        if transaction.query_row(&sql, [], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Statements {
    gpu_hour: String,
    node_hour: String,
}

fn put(transaction: &Transaction<'_>, statements: &Statements, record: Record) -> Result<(), LedgerError> {
    let failed = fault::at(IMPORT);
    match record {
        Record::ArchiveLocation(location) => days::set_location(transaction, &location).map_err(failed),
        Record::Node { record, state } => {
            register::put_node(transaction, &record)?;
            commit::put_state(transaction, record.key, state.version, &state.blob)
        }
        Record::Gpu(record) => register::put_gpu_record(transaction, &record),
        Record::Owner(record) => register::put_owner(transaction, &record),
        Record::Epoch { node, epoch, sequence } => commit::put_epoch(transaction, node, epoch, sequence),
        Record::Asset(asset) => register::put_asset(transaction, &asset).map_err(failed),
        Record::LastVersion { table, day, version } => {
            days::put_last_version(transaction, table, day, version).map_err(failed)
        }
        Record::File(file) => days::put_file(transaction, &file),
        Record::ExpiredGpu(total) => days::add_expired(transaction, &[total], &[]),
        Record::ExpiredNode { node, total } => days::add_expired(transaction, &[], &[(node, total)]),
        Record::GpuHour(row_key, row) => {
            put_row(transaction, &statements.gpu_hour, key::gpu_row(row_key)?, row.columns()?)
        }
        Record::NodeHour(hour, node, row) => {
            put_row(transaction, &statements.node_hour, key::node_row(hour, node)?, row.columns()?)
        }
        // The caller takes it out.
        Record::End(_) => Ok(()),
    }
}

fn put_row(
    transaction: &Transaction<'_>,
    sql: &str,
    key: i64,
    columns: Vec<Option<i64>>,
) -> Result<(), LedgerError> {
    transaction
        .prepare_cached(sql)
        .and_then(|mut put| put.execute(params_from_iter(std::iter::once(Some(key)).chain(columns))))
        .map_err(fault::at(IMPORT))?;
    Ok(())
}
