//! The ledger's rows in the form of the money engine.

use super::{CostingError, nodes_of};
use crate::fleet::Fleet;
use gpuledger_ledger::{
    Columns, GpuHour, GpuHourKey, GpuHours, Hour, HourRange, Ledger, NodeHour, NodeKey, OwnerKey,
    OwnerRecord, Wanted, gather,
};
use gpuledger_proto::frame::Owner;
use gpuledger_tco::asset::Asset;
use gpuledger_tco::calendar::UtcHour;
use gpuledger_tco::usage::{GpuRow, GpuUse, NOBODY, NodeRow, NodeUse, UNKNOWN, Usage};
use std::collections::{BTreeMap, BTreeSet};

/// Reads everything that a period needs.
pub async fn read(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    assets: &[Asset],
    range: HourRange,
) -> Result<Usage, CostingError> {
    let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
    let owners = Owners::new(&ledger.all_owners().await?);
    let mut node_at: BTreeMap<NodeKey, usize> = BTreeMap::new();
    let mut usage = Usage { owners: owners.names, ..Usage::default() };
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
    let mut gpu_at = BTreeMap::new();
    for gpu in gpus {
        let Some(&node) = node_at.get(&gpu.node) else { continue };
        gpu_at.insert(gpu.key, usage.gpus.len());
        usage.simulated |= gpu.gpu.simulated;
        usage.gpus.push(GpuUse {
            uuid: gpu.gpu.uuid.to_string(),
            serial: gpu.gpu.serial,
            node,
            model: gpu.gpu.model,
            seen_ms: gpu.first_ms.zip(gpu.last_ms),
        });
    }
    let columns = Columns::TIME.and(Columns::ENERGY).and(Columns::GAPS).and(Columns::KEYS);
    let take = |rows: &mut Vec<GpuRow>, piece: GpuHours| {
        for (key, row) in piece.iter() {
            if let Some(&gpu) = gpu_at.get(&key.gpu) {
                let owner = owners.number.get(&key.owner).copied().unwrap_or(UNKNOWN);
                rows.push(gpu_row(key, gpu, owner, &row));
            }
        }
        Ok(())
    };
    usage.gpu_rows = gather(ledger, &Wanted { columns, ..Wanted::all(range) }, Vec::new, take).await?;
    for (hour, node, row) in ledger.node_hours(range).await? {
        if let Some(&node) = node_at.get(&node) {
            usage.node_rows.push(node_row(hour, node, &row));
        }
    }
    Ok(usage)
}

fn node_use(fleet: &Fleet, name: &str, seen_ms: Option<(u64, u64)>) -> Result<NodeUse, CostingError> {
    Ok(NodeUse {
        name: name.to_owned(),
        site: fleet.site_of(name).ok_or_else(|| CostingError::NoSite { node: name.to_owned() })?,
        seen_ms,
        declared: fleet.rule(name).and_then(|rule| rule.declared.clone()),
    })
}

/// Owner numbers of the ledger and of the engine.
struct Owners {
    names: Vec<String>,
    number: BTreeMap<OwnerKey, u32>,
}

impl Owners {
    fn new(records: &[OwnerRecord]) -> Self {
        let mut names = vec![String::new(); 2];
        let mut number = BTreeMap::from([(OwnerKey::NOBODY, NOBODY), (OwnerKey::UNKNOWN, UNKNOWN)]);
        for record in records {
            number.insert(record.key, position(names.len()));
            names.push(name_of(&record.owner));
        }
        Self { names, number }
    }
}

/// Who pays: the account where there is one, else the user or workload.
fn name_of(owner: &Owner) -> String {
    let name = if owner.account.is_empty() { &owner.name } else { &owner.account };
    if name.is_empty() { "(unknown)".to_owned() } else { name.clone() }
}

/// The ledger's keys are below 2^24, and so are positions made of them.
fn position(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn gpu_row(key: GpuHourKey, gpu: usize, owner: u32, row: &GpuHour) -> GpuRow {
    GpuRow {
        hour: UtcHour(key.hour.0),
        gpu: position(gpu),
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
