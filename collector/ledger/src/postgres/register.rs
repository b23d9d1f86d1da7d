//! The register: nodes, GPUs, owners and assets, each under a number that never changes.
//!
//! Who registers something new locks the counter of its kind first and looks again, so that of two
//! collectors that meet the same new thing one gives the number and the other finds it.

use super::fault::Fault;
use super::numbers::{Counter, given, number, optional, out_of_range, stored};
use super::pool::in_transaction;
use crate::sqlite::key::{GPU_BITS, NODE_BITS, OWNER_BITS};
use crate::{GpuKey, GpuRecord, NodeKey, NodeRecord, OwnerKey, OwnerRecord, Registered, StoredAsset};
use deadpool_postgres::{Pool, Transaction};
use gpuledger_proto::frame::{Gpu, Host, Inventory, Owner, OwnerKind};
use gpuledger_proto::ids::{GpuUuid, InvalidId, NodeName};
use gpuledger_units::Overflow;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;

/// Nearly every call finds everything registered: look first, and write (and wait for the disk)
/// only where something is new.
pub async fn node(pool: &Pool, name: &NodeName) -> Result<NodeKey, Fault> {
    let found: Option<NodeKey> = in_transaction!(pool, Read, Short, tx => find_node(tx, name))?;
    if let Some(found) = found {
        return Ok(found);
    }
    in_transaction!(pool, Write, Short, tx => add_node(tx, name))
}

async fn find_node(tx: &Transaction<'_>, name: &NodeName) -> Result<Option<NodeKey>, Fault> {
    let statement = tx.prepare_cached("SELECT key FROM node WHERE name = $1").await?;
    let found = tx.query_opt(&statement, &[&name.as_str()]).await?;
    Ok(found.map(|row| number(&row, 0)).transpose()?.map(NodeKey))
}

async fn add_node(tx: &Transaction<'_>, name: &NodeName) -> Result<NodeKey, Fault> {
    let mut counter = Counter::lock(tx, "node", NODE_BITS).await?;
    if let Some(found) = find_node(tx, name).await? {
        return Ok(found);
    }
    let key = counter.take()?;
    tx.execute("INSERT INTO node (key, name) VALUES ($1, $2)", &[&key, &name.as_str()]).await?;
    tx.execute("INSERT INTO node_state (node, version, state) VALUES ($1, 0, '')", &[&key]).await?;
    counter.save(tx).await?;
    Ok(NodeKey(given(key)?))
}

/// Records a node's description of itself and of its GPUs.
pub async fn inventory(pool: &Pool, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, Fault> {
    let known: Option<Vec<Registered>> =
        in_transaction!(pool, Read, Short, tx => unchanged(tx, node, inventory))?;
    if let Some(known) = known {
        return Ok(known);
    }
    in_transaction!(pool, Write, Short, tx => put_inventory(tx, node, inventory))
}

/// The GPUs' numbers where the register already says all this.
async fn unchanged(
    tx: &Transaction<'_>,
    node: NodeKey,
    inventory: &Inventory,
) -> Result<Option<Vec<Registered>>, Fault> {
    let statement = tx.prepare_cached(&format!("{NODE_SELECT} WHERE key = $1")).await?;
    let stored = tx.query_opt(&statement, &[&stored(node.0)?]).await?;
    let stored = stored.map(|row| node_record(&row)).transpose()?;
    if stored.is_none_or(|record| record.host != inventory.host) {
        return Ok(None);
    }
    let known = find_gpus(tx, inventory).await?;
    let found = inventory.gpus.iter().map(|gpu| {
        let record = known.get(&gpu.uuid).filter(|record| record.gpu == *gpu)?;
        Some(Registered { key: record.key, holder: record.node })
    });
    Ok(found.collect())
}

async fn find_gpus(
    tx: &Transaction<'_>,
    inventory: &Inventory,
) -> Result<BTreeMap<GpuUuid, GpuRecord>, Fault> {
    let uuids: Vec<&str> = inventory.gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    let statement = tx.prepare_cached(&format!("{GPU_SELECT} WHERE uuid = ANY($1)")).await?;
    let rows = tx.query(&statement, &[&uuids]).await?;
    rows.iter()
        .map(|row| {
            let record = gpu_record(row)?;
            Ok((record.gpu.uuid.clone(), record))
        })
        .collect()
}

async fn put_inventory(
    tx: &Transaction<'_>,
    node: NodeKey,
    inventory: &Inventory,
) -> Result<Vec<Registered>, Fault> {
    // A commit of the node holds its state first, too: neither waits for the other with half of it.
    tx.execute("SELECT FROM node_state WHERE node = $1 FOR UPDATE", &[&stored(node.0)?]).await?;
    let host = &inventory.host;
    let updated = tx
        .execute(
            "UPDATE node SET hostname = $2, os = $3, driver_version = $4, memory_bytes = $5, cpus = $6 WHERE key = $1",
            &[
                &stored(node.0)?,
                &host.hostname,
                &host.os,
                &host.driver_version,
                &integer(host.memory_bytes)?,
                &host.cpus.map(i64::from),
            ],
        )
        .await?;
    if updated == 0 {
        return Err(Fault::Other(format!("node {} is not registered", node.0)));
    }
    let mut counter = Counter::lock(tx, "gpu", GPU_BITS).await?;
    let mut keys: BTreeMap<GpuUuid, i32> = BTreeMap::new();
    for (uuid, record) in find_gpus(tx, inventory).await? {
        keys.insert(uuid, stored(record.key.0)?);
    }
    let mut registered = Vec::with_capacity(inventory.gpus.len());
    for gpu in &inventory.gpus {
        let key = match keys.get(&gpu.uuid) {
            Some(key) => *key,
            None => counter.take()?,
        };
        keys.insert(gpu.uuid.clone(), key);
        registered.push(put_gpu(tx, key, node, gpu).await?);
    }
    counter.save(tx).await?;
    Ok(registered)
}

pub async fn put_gpu(tx: &Transaction<'_>, key: i32, node: NodeKey, gpu: &Gpu) -> Result<Registered, Fault> {
    let statement = tx
        .prepare_cached(
            "INSERT INTO gpu (key, uuid, node, model, serial, pci_bus_id, driver_index, memory_bytes, simulated) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (uuid) DO UPDATE SET \
             model = $4, serial = $5, pci_bus_id = $6, driver_index = $7, memory_bytes = $8, simulated = $9 \
             RETURNING key, node",
        )
        .await?;
    let row = tx
        .query_one(
            &statement,
            &[
                &key,
                &gpu.uuid.as_str(),
                &stored(node.0)?,
                &gpu.model,
                &gpu.serial,
                &gpu.pci_bus_id,
                &i64::from(gpu.index),
                &integer(gpu.memory_bytes)?,
                &gpu.simulated,
            ],
        )
        .await?;
    Ok(Registered { key: GpuKey(number(&row, 0)?), holder: NodeKey(number(&row, 1)?) })
}

pub async fn owners(pool: &Pool, owners: &[Owner]) -> Result<Vec<OwnerKey>, Fault> {
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let asked: BTreeSet<&Owner> = owners.iter().collect();
    let asked: Vec<&Owner> = asked.into_iter().collect();
    let mut known: BTreeMap<&Owner, OwnerKey> =
        in_transaction!(pool, Read, Short, tx => find_owners(tx, &asked))?;
    if known.len() < asked.len() {
        known = in_transaction!(pool, Write, Short, tx => add_owners(tx, &asked))?;
    }
    let missing = || Fault::Other("an owner that was registered is not there".to_owned());
    owners.iter().map(|owner| known.get(owner).copied().ok_or_else(missing)).collect()
}

/// The numbers of those that have one.
async fn find_owners<'o>(
    tx: &Transaction<'_>,
    owners: &[&'o Owner],
) -> Result<BTreeMap<&'o Owner, OwnerKey>, Fault> {
    let statement = tx
        .prepare_cached(
            "SELECT v.n, o.key FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) \
             WITH ORDINALITY AS v(kind, account, name, job, n) JOIN owner o \
             ON (o.kind, o.account, o.name, o.job) = (v.kind, v.account, v.name, v.job)",
        )
        .await?;
    let [kinds, accounts, names, jobs] = texts(owners);
    let mut known = BTreeMap::new();
    for row in tx.query(&statement, &[&kinds, &accounts, &names, &jobs]).await? {
        let place: i64 = row.try_get(0)?;
        let owner = usize::try_from(place).ok().and_then(|n| owners.get(n.checked_sub(1)?));
        if let Some(owner) = owner {
            known.insert(*owner, OwnerKey(number(&row, 1)?));
        }
    }
    Ok(known)
}

async fn add_owners<'o>(
    tx: &Transaction<'_>,
    owners: &[&'o Owner],
) -> Result<BTreeMap<&'o Owner, OwnerKey>, Fault> {
    let mut counter = Counter::lock(tx, "owner", OWNER_BITS).await?;
    let mut known = find_owners(tx, owners).await?;
    let new: Vec<&'o Owner> = owners.iter().copied().filter(|owner| !known.contains_key(owner)).collect();
    let keys: Vec<i32> = new.iter().map(|_| counter.take()).collect::<Result<_, _>>()?;
    let [kinds, accounts, names, jobs] = texts(&new);
    tx.execute(INSERT_OWNERS, &[&keys, &kinds, &accounts, &names, &jobs]).await?;
    counter.save(tx).await?;
    for (owner, key) in new.into_iter().zip(keys) {
        known.insert(owner, OwnerKey(given(key)?));
    }
    Ok(known)
}

const INSERT_OWNERS: &str = "INSERT INTO owner (key, kind, account, name, job) \
                             SELECT * FROM unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::text[])";

fn texts<'o>(owners: &[&'o Owner]) -> [Vec<&'o str>; 4] {
    [
        owners.iter().map(|owner| owner.kind.name()).collect(),
        owners.iter().map(|owner| owner.account.as_str()).collect(),
        owners.iter().map(|owner| owner.name.as_str()).collect(),
        owners.iter().map(|owner| owner.job.as_str()).collect(),
    ]
}

/// Adds owners under the numbers that they have.
pub async fn import_owners(tx: &Transaction<'_>, records: &[OwnerRecord]) -> Result<(), Fault> {
    let keys: Vec<i32> = records.iter().map(|record| stored(record.key.0)).collect::<Result<_, _>>()?;
    let owners: Vec<&Owner> = records.iter().map(|record| &record.owner).collect();
    let [kinds, accounts, names, jobs] = texts(&owners);
    tx.execute(INSERT_OWNERS, &[&keys, &kinds, &accounts, &names, &jobs]).await?;
    Ok(())
}

pub async fn all_nodes(tx: &Transaction<'_>) -> Result<Vec<NodeRecord>, Fault> {
    let rows = tx.query(&format!("{NODE_SELECT} ORDER BY key"), &[]).await?;
    rows.iter().map(node_record).collect()
}

pub async fn all_gpus(tx: &Transaction<'_>) -> Result<Vec<GpuRecord>, Fault> {
    let rows = tx.query(&format!("{GPU_SELECT} ORDER BY key"), &[]).await?;
    rows.iter().map(gpu_record).collect()
}

pub async fn all_owners(tx: &Transaction<'_>) -> Result<Vec<OwnerRecord>, Fault> {
    let rows = tx.query("SELECT key, kind, account, name, job FROM owner ORDER BY key", &[]).await?;
    let record = |row: &Row| {
        let kind: &str = row.try_get(1)?;
        // A kind that a newer version wrote is one that this build does not know.
        let kind = OwnerKind::from_name(kind).unwrap_or(OwnerKind::Other);
        let owner = Owner { kind, account: row.try_get(2)?, name: row.try_get(3)?, job: row.try_get(4)? };
        Ok(OwnerRecord { key: OwnerKey(number(row, 0)?), owner })
    };
    rows.iter().map(record).collect()
}

pub async fn put_assets(tx: &Transaction<'_>, assets: &[StoredAsset]) -> Result<(), Fault> {
    // Of two with one serial the last counts.
    let by_serial: BTreeMap<&str, &str> =
        assets.iter().map(|asset| (asset.serial.as_str(), asset.document.as_str())).collect();
    let (serials, documents): (Vec<&str>, Vec<&str>) = by_serial.into_iter().unzip();
    tx.execute(
        "INSERT INTO asset (serial, document) SELECT * FROM unnest($1::text[], $2::text[]) \
         ON CONFLICT (serial) DO UPDATE SET document = excluded.document",
        &[&serials, &documents],
    )
    .await?;
    Ok(())
}

pub async fn all_assets(tx: &Transaction<'_>) -> Result<Vec<StoredAsset>, Fault> {
    let rows = tx.query("SELECT serial, document FROM asset ORDER BY serial", &[]).await?;
    rows.iter().map(|row| Ok(StoredAsset { serial: row.try_get(0)?, document: row.try_get(1)? })).collect()
}

pub const NODE_SELECT: &str = "SELECT key, name, hostname, os, driver_version, memory_bytes, cpus, first_ms, last_ms \
     FROM node LEFT JOIN node_seen ON node_seen.node = node.key";

pub fn node_record(row: &Row) -> Result<NodeRecord, Fault> {
    Ok(NodeRecord {
        key: NodeKey(number(row, 0)?),
        name: NodeName::new(row.try_get(1)?).map_err(unfit)?,
        host: Host {
            hostname: row.try_get(2)?,
            os: row.try_get(3)?,
            driver_version: row.try_get(4)?,
            memory_bytes: optional(row, 5)?,
            cpus: optional(row, 6)?.map(u32::try_from).transpose().map_err(|_| out_of_range(row, 6))?,
        },
        first_ms: optional(row, 7)?,
        last_ms: optional(row, 8)?,
    })
}

const GPU_SELECT: &str = "SELECT key, node, uuid, model, serial, pci_bus_id, driver_index, memory_bytes, \
                          simulated, first_ms, last_ms FROM gpu LEFT JOIN gpu_seen ON gpu_seen.gpu = gpu.key";

fn gpu_record(row: &Row) -> Result<GpuRecord, Fault> {
    let index: i64 = row.try_get(6)?;
    Ok(GpuRecord {
        key: GpuKey(number(row, 0)?),
        node: NodeKey(number(row, 1)?),
        gpu: Gpu {
            uuid: GpuUuid::new(row.try_get(2)?).map_err(unfit)?,
            model: row.try_get(3)?,
            serial: row.try_get(4)?,
            pci_bus_id: row.try_get(5)?,
            index: u32::try_from(index).map_err(|_| out_of_range(row, 6))?,
            memory_bytes: optional(row, 7)?,
            simulated: row.try_get(8)?,
        },
        first_ms: optional(row, 9)?,
        last_ms: optional(row, 10)?,
    })
}

#[allow(clippy::needless_pass_by_value, reason = "an adapter for map_err")]
fn unfit(error: InvalidId) -> Fault {
    Fault::Damaged(error.to_string())
}

fn integer(value: Option<u64>) -> Result<Option<i64>, Fault> {
    value.map(i64::try_from).transpose().map_err(|_| Overflow("memory_bytes").into())
}
