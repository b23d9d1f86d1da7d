//! The whole content, out of one ledger and into an empty one.

use super::days;
use super::fault::Fault;
use super::numbers::{number, stored, unsigned};
use super::read;
use super::register;
use super::rows::{self, GPU_HOUR, Keyed, NODE_HOUR};
use crate::sqlite::key;
use crate::{
    Day, GpuHour, GpuRecord, GpuTotal, LedgerError, NodeHour, NodeKey, NodeRecord, NodeState, OwnerRecord,
    Record, StoredAsset, Table,
};
use deadpool_postgres::Transaction;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Overflow;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_postgres::Row;
use uuid::Uuid;

/// Records in one piece: a mebibyte or two.
const RECORDS_PER_PIECE: usize = 4096;

/// Sends everything that one moment has.
pub async fn export(tx: &Transaction<'_>, to: &mpsc::Sender<Vec<Record>>) -> Result<(), Fault> {
    let mut out = Out { to, records: 0 };
    out.send_all(days::location(tx).await?, Record::ArchiveLocation).await?;
    out.stream(tx, NODES, |row| {
        let state = NodeState { version: unsigned(row, 9)?, blob: row.try_get(10)? };
        Ok(Record::Node { record: register::node_record(row)?, state })
    })
    .await?;
    out.send_all(register::all_gpus(tx).await?, Record::Gpu).await?;
    out.send_all(register::all_owners(tx).await?, Record::Owner).await?;
    out.stream(tx, "SELECT node, epoch, sequence FROM epoch ORDER BY node, epoch", |row| {
        Ok(Record::Epoch {
            node: NodeKey(number(row, 0)?),
            epoch: Epoch(row.try_get(1)?),
            sequence: Sequence(unsigned(row, 2)?),
        })
    })
    .await?;
    out.send_all(register::all_assets(tx).await?, Record::Asset).await?;
    let version = |(table, day, version)| Record::LastVersion { table, day, version };
    out.send_all(days::last_versions(tx).await?, version).await?;
    out.send_all(days::files(tx).await?, Record::File).await?;
    let (gpus, nodes) = days::expired(tx).await?;
    out.send_all(gpus, Record::ExpiredGpu).await?;
    out.send_all(nodes, |(node, total)| Record::ExpiredNode { node, total }).await?;
    out.stream(tx, &GPU_HOUR.sql_select("ORDER BY hour, gpu, owner"), |row| {
        read::gpu_hour(row).map(|(key, values)| Record::GpuHour(key, values))
    })
    .await?;
    out.stream(tx, &NODE_HOUR.sql_select("ORDER BY hour, node"), |row| {
        read::node_hour(row).map(|(hour, node, values)| Record::NodeHour(hour, node, values))
    })
    .await?;
    let end = Record::End(out.records);
    out.send(vec![end]).await
}

const NODES: &str = "SELECT n.key, n.name, n.hostname, n.os, n.driver_version, n.memory_bytes, n.cpus, e.first_ms, \
                     e.last_ms, s.version, s.state FROM node n JOIN node_state s ON s.node = n.key \
                     LEFT JOIN node_seen e ON e.node = n.key ORDER BY n.key";

/// The sending end, and how many records it was given.
struct Out<'a> {
    to: &'a mpsc::Sender<Vec<Record>>,
    records: u64,
}

impl Out<'_> {
    /// Sends what a query gives, piece by piece as it is taken off: the server keeps the rest.
    async fn stream(
        &mut self,
        tx: &Transaction<'_>,
        sql: &str,
        record: impl Fn(&Row) -> Result<Record, Fault>,
    ) -> Result<(), Fault> {
        let portal = tx.bind(sql, &[]).await?;
        loop {
            let rows = tx.query_portal(&portal, i32::try_from(RECORDS_PER_PIECE).unwrap_or(i32::MAX)).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.send(rows.iter().map(&record).collect::<Result<_, _>>()?).await?;
        }
    }

    async fn send_all<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        record: impl Fn(T) -> Record,
    ) -> Result<(), Fault> {
        let mut piece = Vec::new();
        for item in items {
            piece.push(record(item));
            if piece.len() == RECORDS_PER_PIECE {
                self.send(std::mem::take(&mut piece)).await?;
            }
        }
        if piece.is_empty() { Ok(()) } else { self.send(piece).await }
    }

    async fn send(&mut self, records: Vec<Record>) -> Result<(), Fault> {
        self.records += u64::try_from(records.len()).unwrap_or(u64::MAX);
        let gone = |_| Fault::Other("whoever took it has stopped taking".to_owned());
        self.to.send(records).await.map_err(gone)
    }
}

/// Tables that hold content; the counters follow from it.
const CONTENT: [&str; 12] = [
    "node",
    "node_state",
    "gpu",
    "owner",
    "epoch",
    "asset",
    "day_file",
    "day_version",
    "gpu_expired",
    "node_expired",
    "gpu_hour",
    "node_hour",
];

/// Takes everything into a ledger that must be empty.
pub async fn import(
    tx: &Transaction<'_>,
    from: &mut mpsc::Receiver<Vec<Record>>,
    ledger: &str,
) -> Result<(), Fault> {
    // Nobody else registers or commits meanwhile.
    tx.batch_execute(&format!("LOCK TABLE {} IN EXCLUSIVE MODE", CONTENT.join(", "))).await?;
    let there: Vec<String> = CONTENT.iter().map(|table| format!("EXISTS (SELECT FROM {table})")).collect();
    let row = tx.query_one(&format!("SELECT {}", there.join(" OR ")), &[]).await?;
    if row.try_get::<_, bool>(0)? || days::location(tx).await?.is_some() {
        return Err(LedgerError::NotEmpty { ledger: ledger.to_owned() }.into());
    }
    let mut taken: u64 = 0;
    let mut end = None;
    while let Some(records) = from.recv().await {
        let mut sorted = Sorted::default();
        for record in records {
            if let Record::End(told) = record {
                end = Some(told);
            } else {
                sorted.take(record)?;
                taken += 1;
            }
        }
        sorted.write(tx).await?;
    }
    if end != Some(taken) {
        return Err(Fault::Other(format!("what was exported was cut off after {taken} records")));
    }
    for (name, reserved) in [("node", 0), ("gpu", 0), ("owner", 1)] {
        let sql =
            format!("UPDATE counter SET last = (SELECT coalesce(max(key), $2) FROM {name}) WHERE name = $1");
        tx.execute(&sql, &[&name, &reserved]).await?;
    }
    Ok(())
}

/// A piece of what is imported, by table.
#[derive(Default)]
struct Sorted {
    nodes: Vec<(NodeRecord, NodeState)>,
    gpus: Vec<GpuRecord>,
    owners: Vec<OwnerRecord>,
    epochs: Vec<(NodeKey, Epoch, Sequence)>,
    assets: Vec<StoredAsset>,
    last_versions: Vec<(Table, Day, u32)>,
    files: Vec<crate::DayFile>,
    expired_gpus: Vec<GpuTotal>,
    expired_nodes: Vec<(NodeKey, NodeHour)>,
    gpu_hours: Keyed<GpuHour, 3>,
    node_hours: Keyed<NodeHour, 2>,
    location: Option<String>,
}

impl Sorted {
    fn take(&mut self, record: Record) -> Result<(), Fault> {
        match record {
            Record::Node { record, state } => self.nodes.push((record, state)),
            Record::Gpu(record) => self.gpus.push(record),
            Record::Owner(record) => self.owners.push(record),
            Record::Epoch { node, epoch, sequence } => self.epochs.push((node, epoch, sequence)),
            Record::Asset(asset) => self.assets.push(asset),
            Record::LastVersion { table, day, version } => self.last_versions.push((table, day, version)),
            Record::File(file) => self.files.push(file),
            Record::ExpiredGpu(total) => self.expired_gpus.push(total),
            Record::ExpiredNode { node, total } => self.expired_nodes.push((node, total)),
            Record::GpuHour(key, row) => {
                key::gpu_row(key)?;
                let key = [stored(key.gpu.0)?, stored(key.hour.0)?, stored(key.owner.0)?];
                rows::put(&mut self.gpu_hours, key, &row)?;
            }
            Record::NodeHour(hour, node, row) => {
                key::node_row(hour, node)?;
                rows::put(&mut self.node_hours, [stored(node.0)?, stored(hour.0)?], &row)?;
            }
            Record::ArchiveLocation(location) => self.location = Some(location),
            // The caller takes it out.
            Record::End(_) => {}
        }
        Ok(())
    }

    async fn write(self, tx: &Transaction<'_>) -> Result<(), Fault> {
        for (record, state) in &self.nodes {
            put_node(tx, record, state).await?;
        }
        for record in &self.gpus {
            put_gpu(tx, record).await?;
        }
        register::import_owners(tx, &self.owners).await?;
        put_epochs(tx, &self.epochs).await?;
        register::put_assets(tx, &self.assets).await?;
        for &(table, day, version) in &self.last_versions {
            days::put_last_version(tx, table, day, version).await?;
        }
        for file in &self.files {
            days::put_file(tx, file).await?;
        }
        days::add_expired(tx, &self.expired_gpus, &self.expired_nodes).await?;
        GPU_HOUR.insert(tx, &self.gpu_hours).await?;
        NODE_HOUR.insert(tx, &self.node_hours).await?;
        if let Some(location) = &self.location {
            days::set_location(tx, location).await?;
        }
        Ok(())
    }
}

async fn put_node(tx: &Transaction<'_>, record: &NodeRecord, state: &NodeState) -> Result<(), Fault> {
    let key = stored(record.key.0)?;
    let host = &record.host;
    let node = tx
        .prepare_cached(
            "INSERT INTO node (key, name, hostname, os, driver_version, memory_bytes, cpus) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .await?;
    tx.execute(
        &node,
        &[
            &key,
            &record.name.as_str(),
            &host.hostname,
            &host.os,
            &host.driver_version,
            &integer(host.memory_bytes, "memory_bytes")?,
            &host.cpus.map(i64::from),
        ],
    )
    .await?;
    put_seen(tx, "node", key, (record.first_ms, record.last_ms)).await?;
    let memory =
        tx.prepare_cached("INSERT INTO node_state (node, version, state) VALUES ($1, $2, $3)").await?;
    tx.execute(&memory, &[&key, &integer(Some(state.version), "version")?, &state.blob]).await?;
    Ok(())
}

async fn put_gpu(tx: &Transaction<'_>, record: &GpuRecord) -> Result<(), Fault> {
    let key = stored(record.key.0)?;
    register::put_gpu(tx, key, record.node, &record.gpu).await?;
    put_seen(tx, "gpu", key, (record.first_ms, record.last_ms)).await
}

/// First and last instant of what was seen at all.
async fn put_seen(
    tx: &Transaction<'_>,
    what: &str,
    key: i32,
    (first_ms, last_ms): (Option<u64>, Option<u64>),
) -> Result<(), Fault> {
    if first_ms.is_none() && last_ms.is_none() {
        return Ok(());
    }
    let sql = format!("INSERT INTO {what}_seen ({what}, first_ms, last_ms) VALUES ($1, $2, $3)");
    let (first, last) = (integer(first_ms, "first_ms")?, integer(last_ms, "last_ms")?);
    tx.execute(&tx.prepare_cached(&sql).await?, &[&key, &first, &last]).await?;
    Ok(())
}

async fn put_epochs(tx: &Transaction<'_>, epochs: &[(NodeKey, Epoch, Sequence)]) -> Result<(), Fault> {
    let mut by_epoch: BTreeMap<Uuid, (i32, Option<i64>)> = BTreeMap::new();
    for (node, epoch, sequence) in epochs {
        by_epoch.insert(epoch.0, (stored(node.0)?, integer(Some(sequence.0), "sequence")?));
    }
    let keys: Vec<Uuid> = by_epoch.keys().copied().collect();
    let (nodes, sequences): (Vec<i32>, Vec<Option<i64>>) = by_epoch.into_values().unzip();
    tx.execute(
        "INSERT INTO epoch (epoch, node, sequence) SELECT * FROM unnest($1::uuid[], $2::int4[], $3::int8[])",
        &[&keys, &nodes, &sequences],
    )
    .await?;
    Ok(())
}

fn integer(value: Option<u64>, what: &'static str) -> Result<Option<i64>, Fault> {
    value.map(i64::try_from).transpose().map_err(|_| Overflow(what).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::samples;

    #[test]
    fn an_hour_that_a_ledger_in_a_file_could_not_hold_is_refused() {
        let record = Record::NodeHour(crate::Hour(0), NodeKey(1), samples::node_row());
        let refused = Sorted::default().take(record).unwrap_err().during("import");
        assert!(matches!(refused, LedgerError::HourOutOfRange { hour: 0 }), "{refused}");
    }
}
