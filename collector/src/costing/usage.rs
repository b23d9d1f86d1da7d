//! The ledger's rows in the form of the money engine.

use super::{CostingError, nodes_of};
use crate::fleet::Fleet;
use gpuledger_ledger::{
    Columns, GpuHour, GpuHourKey, GpuKey, Hour, HourRange, Ledger, NodeHour, NodeKey, OwnerKey, OwnerRecord,
};
use gpuledger_proto::frame::Owner;
use gpuledger_tco::asset::Asset;
use gpuledger_tco::calendar::UtcHour;
use gpuledger_tco::usage::{GpuRow, GpuUse, NOBODY, NodeRow, NodeUse, UNKNOWN, Usage};
use std::collections::{BTreeMap, BTreeSet};

/// What the ledger holds of a period, but for its rows of GPUs: those come as a stream.
pub struct Known {
    /// Without rows of GPUs.
    pub usage: Usage,
    pub keys: Keys,
}

/// Numbers of the engine by those of the ledger, which begin at zero and are given one after the other.
#[derive(Debug, Default)]
pub struct Keys {
    gpus: Vec<Option<u32>>,
    owners: Vec<Option<u32>>,
}

impl Keys {
    /// A row of the ledger as the engine takes it; `None` where its GPU is not known.
    pub fn row(&self, key: GpuHourKey, row: &GpuHour) -> Option<GpuRow> {
        let gpu = at(&self.gpus, key.gpu.0)?;
        Some(gpu_row(key, gpu, at(&self.owners, key.owner.0).unwrap_or(UNKNOWN), row))
    }

    /// Position of a GPU in the usage.
    pub fn gpu(&self, key: GpuKey) -> Option<usize> {
        at(&self.gpus, key.0).and_then(|gpu| usize::try_from(gpu).ok())
    }
}

fn at(numbers: &[Option<u32>], key: u32) -> Option<u32> {
    usize::try_from(key).ok().and_then(|key| numbers.get(key).copied().flatten())
}

fn put(numbers: &mut Vec<Option<u32>>, key: u32, number: u32) {
    let Ok(key) = usize::try_from(key) else { return };
    if numbers.len() <= key {
        numbers.resize(key + 1, None);
    }
    if let Some(slot) = numbers.get_mut(key) {
        *slot = Some(number);
    }
}

/// Reads everything that a period needs beside its rows of GPUs.
pub async fn read(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    assets: &[Asset],
    range: HourRange,
) -> Result<Known, CostingError> {
    let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
    let mut keys = Keys::default();
    let owners = owners(&ledger.all_owners().await?, &mut keys);
    let mut node_at: BTreeMap<NodeKey, usize> = BTreeMap::new();
    let mut usage = Usage { owners, ..Usage::default() };
    for node in &nodes {
        node_at.insert(node.key, usage.nodes.len());
        let seen_ms = node.first_ms.zip(node.last_ms);
        usage.nodes.push(node_use(fleet, node.name.as_str(), seen_ms)?);
    }
    // Nodes that were bought and never heard of.
    let known: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let unseen: BTreeSet<&str> = nodes_of(assets).filter(|name| !known.contains(name)).collect();
    for name in unseen {
        usage.nodes.push(node_use(fleet, name, None)?);
    }
    for gpu in gpus {
        let Some(&node) = node_at.get(&gpu.node) else { continue };
        put(&mut keys.gpus, gpu.key.0, position(usage.gpus.len()));
        usage.simulated |= gpu.gpu.simulated;
        usage.gpus.push(GpuUse {
            uuid: gpu.gpu.uuid.to_string(),
            serial: gpu.gpu.serial,
            node,
            model: gpu.gpu.model,
            seen_ms: gpu.first_ms.zip(gpu.last_ms),
        });
    }
    for (hour, node, row) in ledger.node_hours(range).await? {
        if let Some(&node) = node_at.get(&node) {
            usage.node_rows.push(node_row(hour, node, &row));
        }
    }
    Ok(Known { usage, keys })
}

/// Columns that the engine's rows are made of.
pub fn columns() -> Columns {
    Columns::TIME.and(Columns::ENERGY).and(Columns::GAPS).and(Columns::KEYS)
}

fn node_use(fleet: &Fleet, name: &str, seen_ms: Option<(u64, u64)>) -> Result<NodeUse, CostingError> {
    Ok(NodeUse {
        name: name.to_owned(),
        site: fleet.site_of(name).ok_or_else(|| CostingError::NoSite { node: name.to_owned() })?,
        seen_ms,
        declared: fleet.rule(name).and_then(|rule| rule.declared.clone()),
    })
}

/// Names by the engine's owner numbers.
fn owners(records: &[OwnerRecord], keys: &mut Keys) -> Vec<String> {
    let mut names = vec![String::new(); 2];
    put(&mut keys.owners, OwnerKey::NOBODY.0, NOBODY);
    put(&mut keys.owners, OwnerKey::UNKNOWN.0, UNKNOWN);
    for record in records {
        put(&mut keys.owners, record.key.0, position(names.len()));
        names.push(name_of(&record.owner));
    }
    names
}

/// Who pays: the account where there is one, else the user or workload.
pub fn name_of(owner: &Owner) -> String {
    let name = if owner.account.is_empty() { &owner.name } else { &owner.account };
    if name.is_empty() { "(unknown)".to_owned() } else { name.clone() }
}

/// The ledger's keys are below 2^24, and so are positions made of them.
fn position(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn gpu_row(key: GpuHourKey, gpu: u32, owner: u32, row: &GpuHour) -> GpuRow {
    GpuRow {
        hour: UtcHour(key.hour.0),
        gpu,
        owner,
        active_ms: row.active_ms.0,
        held_ms: row.held_ms.0,
        free_ms: row.free_ms.0,
        down_ms: row.down_ms.0,
        counter_mj: row.counter_mj.0,
        gap_mj: row.gap_mj.0,
        estimated_mj: row.estimated_mj.0,
    }
}

fn node_row(hour: Hour, node: usize, row: &NodeHour) -> NodeRow {
    NodeRow {
        hour: UtcHour(hour.0),
        node: position(node),
        observed_ms: row.observed_ms.0,
        metered_ms: row.metered_ms.0,
        counter_mj: row.counter_mj.0,
        gap_mj: row.gap_mj.0,
        estimated_mj: row.estimated_mj.0,
    }
}
