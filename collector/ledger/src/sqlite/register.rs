//! The register: nodes, GPUs, owners and assets, each under a number that never changes.

use super::key::{GPU_BITS, NODE_BITS, OWNER_BITS};
use super::rows::{optional, unsigned};
use super::{fault, key};
use crate::{
    GpuKey, GpuRecord, LedgerError, NodeKey, NodeRecord, OwnerKey, OwnerRecord, Registered, StoredAsset,
};
use gpuledger_proto::frame::{Gpu, Host, Inventory, Owner, OwnerKind};
use gpuledger_proto::ids::{GpuUuid, NodeName};
use gpuledger_units::Overflow;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

const NODE: &str = "register a node";
const GPUS: &str = "register GPUs";
const OWNERS: &str = "register owners";
const ASSETS: &str = "store assets";

/// Nearly every call finds everything registered: look first, and write (and wait for the disk)
/// only where something is new.
pub fn node(connection: &mut Connection, name: &NodeName) -> Result<NodeKey, LedgerError> {
    let failed = fault::at(NODE);
    let found = connection
        .query_row("SELECT key FROM node WHERE name = ?1", [name.as_str()], |row| row.get(0))
        .optional()
        .map_err(&failed)?;
    if let Some(found) = found {
        return Ok(NodeKey(found));
    }
    let transaction = begin(connection).map_err(&failed)?;
    // Another process may have registered it since: the conflict gives its number.
    let number: i64 = transaction
        .query_row(
            "INSERT INTO node (name, hostname, os) VALUES (?1, '', '') \
             ON CONFLICT (name) DO UPDATE SET name = name RETURNING key",
            [name.as_str()],
            |row| row.get(0),
        )
        .map_err(&failed)?;
    let number = within(number, NODE_BITS, "node")?;
    transaction.commit().map_err(&failed)?;
    Ok(NodeKey(number))
}

/// Records a node's description of itself and of its GPUs.
pub fn inventory(
    connection: &mut Connection,
    node: NodeKey,
    inventory: &Inventory,
) -> Result<Vec<Registered>, LedgerError> {
    let failed = fault::at(GPUS);
    if let Some(keys) = unchanged(connection, node, inventory).map_err(&failed)? {
        return Ok(keys);
    }
    let transaction = begin(connection).map_err(&failed)?;
    let host = &inventory.host;
    transaction
        .execute(
            "UPDATE node SET hostname = ?2, os = ?3, driver_version = ?4, memory_bytes = ?5, cpus = ?6 WHERE key = ?1",
            params![
                node.0,
                host.hostname,
                host.os,
                host.driver_version,
                integer(host.memory_bytes, "memory_bytes")?,
                host.cpus,
            ],
        )
        .map_err(&failed)?;
    let mut keys = Vec::with_capacity(inventory.gpus.len());
    for gpu in &inventory.gpus {
        keys.push(put_gpu(&transaction, node, gpu)?);
    }
    transaction.commit().map_err(&failed)?;
    Ok(keys)
}

/// The GPUs' numbers where the register already says all this.
fn unchanged(
    connection: &Connection,
    node: NodeKey,
    inventory: &Inventory,
) -> rusqlite::Result<Option<Vec<Registered>>> {
    let stored = connection
        .prepare_cached(&format!("{NODE_SELECT} WHERE key = ?1"))?
        .query_row([node.0], node_record)
        .optional()?;
    if stored.is_none_or(|record| record.host != inventory.host) {
        return Ok(None);
    }
    let mut by_uuid = connection.prepare_cached(&format!("{GPU_SELECT} WHERE uuid = ?1"))?;
    let mut keys = Vec::with_capacity(inventory.gpus.len());
    for gpu in &inventory.gpus {
        match by_uuid.query_row([gpu.uuid.as_str()], gpu_record).optional()? {
            Some(record) if record.gpu == *gpu => {
                keys.push(Registered { key: record.key, holder: record.node });
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(keys))
}

fn put_gpu(transaction: &Transaction<'_>, node: NodeKey, gpu: &Gpu) -> Result<Registered, LedgerError> {
    let failed = fault::at(GPUS);
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO gpu (uuid, node, model, serial, pci_bus_id, driver_index, memory_bytes, simulated) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (uuid) DO UPDATE SET \
             model = ?3, serial = ?4, pci_bus_id = ?5, driver_index = ?6, memory_bytes = ?7, \
             simulated = ?8 RETURNING key, node",
        )
        .map_err(&failed)?;
    let values = params![
        gpu.uuid.as_str(),
        node.0,
        gpu.model,
        gpu.serial,
        gpu.pci_bus_id,
        gpu.index,
        integer(gpu.memory_bytes, "memory_bytes")?,
        gpu.simulated,
    ];
    let (number, holder): (i64, u32) =
        statement.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).map_err(&failed)?;
    Ok(Registered { key: GpuKey(within(number, GPU_BITS, "GPU")?), holder: NodeKey(holder) })
}

pub fn owners(connection: &mut Connection, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
    let failed = fault::at(OWNERS);
    let known: Vec<Option<OwnerKey>> =
        owners.iter().map(|o| find_owner(connection, o)).collect::<rusqlite::Result<_>>().map_err(&failed)?;
    if let Some(known) = known.into_iter().collect() {
        return Ok(known);
    }
    let transaction = begin(connection).map_err(&failed)?;
    let mut keys = Vec::with_capacity(owners.len());
    for owner in owners {
        keys.push(match find_owner(&transaction, owner).map_err(&failed)? {
            Some(key) => key,
            None => add_owner(&transaction, owner)?,
        });
    }
    transaction.commit().map_err(&failed)?;
    Ok(keys)
}

fn find_owner(connection: &Connection, owner: &Owner) -> rusqlite::Result<Option<OwnerKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT key FROM owner WHERE kind = ?1 AND account = ?2 AND name = ?3 AND job = ?4",
    )?;
    let names = (owner.kind.name(), &owner.account, &owner.name, &owner.job);
    statement.query_row(names, |row| row.get(0).map(OwnerKey)).optional()
}

fn add_owner(transaction: &Transaction<'_>, owner: &Owner) -> Result<OwnerKey, LedgerError> {
    let number: i64 = transaction
        .query_row(
            "INSERT INTO owner (key, kind, account, name, job) \
             VALUES ((SELECT coalesce(max(key) + 1, ?1) FROM owner), ?2, ?3, ?4, ?5) RETURNING key",
            (OwnerKey::FIRST_NAMED.0, owner.kind.name(), &owner.account, &owner.name, &owner.job),
            |row| row.get(0),
        )
        .map_err(fault::at(OWNERS))?;
    Ok(OwnerKey(within(number, OWNER_BITS, "owner")?))
}

pub fn all_nodes(connection: &Connection) -> rusqlite::Result<Vec<NodeRecord>> {
    let mut statement = connection.prepare(&format!("{NODE_SELECT} ORDER BY key"))?;
    statement.query_map([], node_record)?.collect()
}

pub fn all_gpus(connection: &Connection) -> rusqlite::Result<Vec<GpuRecord>> {
    let mut statement = connection.prepare(&format!("{GPU_SELECT} ORDER BY key"))?;
    statement.query_map([], gpu_record)?.collect()
}

pub fn all_owners(connection: &Connection) -> rusqlite::Result<Vec<OwnerRecord>> {
    let mut statement = connection.prepare("SELECT key, kind, account, name, job FROM owner ORDER BY key")?;
    let rows = statement.query_map([], |row| {
        let kind: String = row.get(1)?;
        // A kind that a newer version wrote is one that this build does not know.
        let kind = OwnerKind::from_name(&kind).unwrap_or(OwnerKind::Other);
        let owner = Owner { kind, account: row.get(2)?, name: row.get(3)?, job: row.get(4)? };
        Ok(OwnerRecord { key: OwnerKey(row.get(0)?), owner })
    })?;
    rows.collect()
}

pub fn put_assets(connection: &mut Connection, assets: &[StoredAsset]) -> Result<(), LedgerError> {
    let failed = fault::at(ASSETS);
    let transaction = begin(connection).map_err(&failed)?;
    for asset in assets {
        put_asset(&transaction, asset).map_err(&failed)?;
    }
    transaction.commit().map_err(&failed)
}

pub fn put_asset(transaction: &Transaction<'_>, asset: &StoredAsset) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO asset (serial, document) VALUES (?1, ?2)")?
        .execute((&asset.serial, &asset.document))?;
    Ok(())
}

/// Adds a node under the number that it has elsewhere.
pub fn put_node(transaction: &Transaction<'_>, record: &NodeRecord) -> Result<(), LedgerError> {
    let host = &record.host;
    let values = params![
        within(record.key.0.into(), NODE_BITS, "node")?,
        record.name.as_str(),
        host.hostname,
        host.os,
        host.driver_version,
        integer(host.memory_bytes, "memory_bytes")?,
        host.cpus,
    ];
    let insert = "INSERT INTO node (key, name, hostname, os, driver_version, memory_bytes, cpus) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction.prepare_cached(insert).and_then(|mut put| put.execute(values)).map_err(fault::at(NODE))?;
    let seen = (record.first_ms, record.last_ms);
    put_seen(
        transaction,
        "INSERT INTO node_seen (node, first_ms, last_ms) VALUES (?1, ?2, ?3)",
        record.key.0,
        seen,
    )
}

/// Adds a GPU under the number that it has elsewhere.
pub fn put_gpu_record(transaction: &Transaction<'_>, record: &GpuRecord) -> Result<(), LedgerError> {
    let gpu = &record.gpu;
    let values = params![
        within(record.key.0.into(), GPU_BITS, "GPU")?,
        record.node.0,
        gpu.uuid.as_str(),
        gpu.model,
        gpu.serial,
        gpu.pci_bus_id,
        gpu.index,
        integer(gpu.memory_bytes, "memory_bytes")?,
        gpu.simulated,
    ];
    let insert = "INSERT INTO gpu (key, node, uuid, model, serial, pci_bus_id, driver_index, memory_bytes, \
                  simulated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(insert).and_then(|mut put| put.execute(values)).map_err(fault::at(GPUS))?;
    let seen = (record.first_ms, record.last_ms);
    put_seen(
        transaction,
        "INSERT INTO gpu_seen (gpu, first_ms, last_ms) VALUES (?1, ?2, ?3)",
        record.key.0,
        seen,
    )
}

/// Adds the first and last instant of what was seen at all.
fn put_seen(
    transaction: &Transaction<'_>,
    insert: &str,
    key: u32,
    (first_ms, last_ms): (Option<u64>, Option<u64>),
) -> Result<(), LedgerError> {
    if first_ms.is_none() && last_ms.is_none() {
        return Ok(());
    }
    let values = (key, integer(first_ms, "first_ms")?, integer(last_ms, "last_ms")?);
    transaction
        .prepare_cached(insert)
        .and_then(|mut put| put.execute(values))
        .map_err(fault::at("tell when it was seen"))?;
    Ok(())
}

/// Adds an owner under the number that it has elsewhere.
pub fn put_owner(transaction: &Transaction<'_>, record: &OwnerRecord) -> Result<(), LedgerError> {
    let number = within(record.key.0.into(), OWNER_BITS, "owner")?;
    let owner = &record.owner;
    transaction
        .prepare_cached("INSERT INTO owner (key, kind, account, name, job) VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut put| put.execute((number, owner.kind.name(), &owner.account, &owner.name, &owner.job)))
        .map_err(fault::at(OWNERS))?;
    Ok(())
}

pub fn all_assets(connection: &Connection) -> rusqlite::Result<Vec<StoredAsset>> {
    let mut statement = connection.prepare("SELECT serial, document FROM asset ORDER BY serial")?;
    statement.query_map([], |row| Ok(StoredAsset { serial: row.get(0)?, document: row.get(1)? }))?.collect()
}

const NODE_SELECT: &str = "SELECT key, name, hostname, os, driver_version, memory_bytes, cpus, first_ms, last_ms \
     FROM node LEFT JOIN node_seen ON node_seen.node = node.key";

fn node_record(row: &Row<'_>) -> rusqlite::Result<NodeRecord> {
    Ok(NodeRecord {
        key: NodeKey(row.get(0)?),
        name: NodeName::new(&row.get::<_, String>(1)?).map_err(|error| unfit(1, error))?,
        host: Host {
            hostname: row.get(2)?,
            os: row.get(3)?,
            driver_version: row.get(4)?,
            memory_bytes: optional(row, 5)?,
            cpus: row.get(6)?,
        },
        first_ms: optional(row, 7)?,
        last_ms: optional(row, 8)?,
    })
}

const GPU_SELECT: &str = "SELECT key, node, uuid, model, serial, pci_bus_id, driver_index, memory_bytes, \
                          simulated, first_ms, last_ms FROM gpu LEFT JOIN gpu_seen ON gpu_seen.gpu = gpu.key";

fn gpu_record(row: &Row<'_>) -> rusqlite::Result<GpuRecord> {
    Ok(GpuRecord {
        key: GpuKey(row.get(0)?),
        node: NodeKey(row.get(1)?),
        gpu: Gpu {
            uuid: GpuUuid::new(&row.get::<_, String>(2)?).map_err(|error| unfit(2, error))?,
            model: row.get(3)?,
            serial: row.get(4)?,
            pci_bus_id: row.get(5)?,
            index: row.get(6)?,
            memory_bytes: optional(row, 7)?,
            simulated: unsigned(row, 8)? != 0,
        },
        first_ms: optional(row, 9)?,
        last_ms: optional(row, 10)?,
    })
}

fn unfit(column: usize, error: gpuledger_proto::ids::InvalidId) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new(connection, TransactionBehavior::Immediate)
}

/// A number that fits its part of a row key. Called before the commit, so that a number that does
/// not fit is never given away.
fn within(number: i64, bits: u32, what: &'static str) -> Result<u32, LedgerError> {
    u32::try_from(number)
        .ok()
        .filter(|&number| key::fits(number, bits))
        .ok_or(LedgerError::Exhausted { what })
}

fn integer(value: Option<u64>, column: &'static str) -> Result<Option<i64>, LedgerError> {
    value.map(i64::try_from).transpose().map_err(|_| Overflow(column).into())
}
