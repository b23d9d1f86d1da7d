//! Rows of the ledger behind what is explained: the first of them, and the sum of all.

use super::usage::name_of;
use super::{CostingError, range};
use crate::fleet::Fleet;
use crate::report::ledger_rows::{LedgerRow, LedgerRows, Times};
use gpuledger_ledger::{Columns, GpuHours, GpuKey, Hour, Ledger, NodeKey, OwnerKey, Wanted, gather};
use gpuledger_tco::calendar::{Calendar, Month, Period, UtcHour};
use gpuledger_tco::statement::GroupBy;
use std::collections::BTreeMap;

/// Rows that are shown.
const SHOWN_MAX: usize = 24;

/// Whose rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A group of a statement, by its name.
    Group(GroupBy, String),
    /// The part of a group that is on one node.
    On { node: String, by: GroupBy, group: String },
    /// A cost centre and its owners.
    Owners(String, Vec<String>),
    /// A GPU, by its UUID.
    Gpu(String),
}

impl Scope {
    fn told(&self) -> String {
        match self {
            Self::Group(_, name) | Self::Owners(name, _) | Self::Gpu(name) => format!("of {name}"),
            Self::On { node, by: GroupBy::Node, .. } => format!("of {node}"),
            Self::On { node, group, .. } => format!("of {group} on {node}"),
        }
    }
}

/// What the names in a scope are, in the ledger's numbers.
struct Names {
    gpus: BTreeMap<GpuKey, Gpu>,
    owners: BTreeMap<OwnerKey, String>,
    calendar: Calendar,
}

struct Gpu {
    uuid: String,
    model: String,
    node: String,
    site: String,
}

impl Names {
    async fn read(ledger: &dyn Ledger, fleet: &Fleet) -> Result<Self, CostingError> {
        let nodes: BTreeMap<NodeKey, String> =
            ledger.nodes().await?.into_iter().map(|node| (node.key, node.name.to_string())).collect();
        let gpu = |record: gpuledger_ledger::GpuRecord| {
            let node = nodes.get(&record.node).cloned().unwrap_or_default();
            let site = fleet.site_of(&node).and_then(|site| fleet.sites.get(site));
            let site = site.map(|site| site.name.clone()).unwrap_or_default();
            (record.key, Gpu { uuid: record.gpu.uuid.to_string(), model: record.gpu.model, node, site })
        };
        let gpus = ledger.gpus().await?.into_iter().map(gpu).collect();
        let owners = ledger.all_owners().await?.into_iter();
        let owners = owners.map(|record| (record.key, name_of(&record.owner))).collect();
        Ok(Self { gpus, owners, calendar: Calendar::new(fleet.time_zone.clone()) })
    }

    /// Whether a row, or a part of it, is in a scope; free and down time are of nobody.
    fn has(&self, scope: &Scope, row: &LedgerRow, key: (GpuKey, OwnerKey, Hour)) -> bool {
        let (gpu, owner, hour) = key;
        let of_gpu =
            |wanted: fn(&Gpu) -> &str, name: &str| self.gpus.get(&gpu).is_some_and(|gpu| wanted(gpu) == name);
        match scope {
            Scope::Gpu(uuid) => row.gpu == *uuid,
            Scope::On { node, by, group } => {
                of_gpu(|gpu| &gpu.node, node) && self.has(&Scope::Group(*by, group.clone()), row, key)
            }
            Scope::Owners(_, owners) => owners.contains(&row.owner),
            Scope::Group(_, name) if name == "total" => true,
            Scope::Group(GroupBy::Model, name) => of_gpu(|gpu| &gpu.model, name),
            Scope::Group(GroupBy::Node, name) => of_gpu(|gpu| &gpu.node, name),
            Scope::Group(GroupBy::Site, name) => of_gpu(|gpu| &gpu.site, name),
            Scope::Group(GroupBy::Month, name) => {
                let start = i64::try_from(hour.start_ms()).unwrap_or(i64::MAX);
                Month::of(self.calendar.date(start)).to_string() == *name
            }
            Scope::Group(GroupBy::Owner, name) => match name.as_str() {
                "(free)" => row.times.free > 0,
                "(down)" => row.times.down > 0,
                "(held idle)" => row.times.held > 0,
                "(unknown)" => owner == OwnerKey::UNKNOWN,
                name => row.owner == name,
            },
        }
    }
}

/// The rows of each scope, in one pass over the ledger.
pub async fn rows_of(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    scopes: &[Scope],
) -> Result<Vec<LedgerRows>, CostingError> {
    if scopes.is_empty() {
        return Ok(Vec::new());
    }
    let names = Names::read(ledger, fleet).await?;
    let empty = |scope: &Scope| LedgerRows { of: scope.told(), ..LedgerRows::default() };
    let begin = || scopes.iter().map(empty).collect::<Vec<_>>();
    let take = |found: &mut Vec<LedgerRows>, piece: GpuHours| {
        for (key, row) in piece.iter() {
            let row = LedgerRow {
                hour: UtcHour(key.hour.0).to_string(),
                gpu: names.gpus.get(&key.gpu).map(|gpu| gpu.uuid.clone()).unwrap_or_default(),
                owner: names.owners.get(&key.owner).cloned().unwrap_or_default(),
                times: Times {
                    active: row.active_ms.0,
                    held: row.held_ms.0,
                    free: row.free_ms.0,
                    down: row.down_ms.0,
                    energy: row.counter_mj.plus(row.estimated_mj)?,
                },
            };
            for (scope, rows) in scopes.iter().zip(found.iter_mut()) {
                if names.has(scope, &row, (key.gpu, key.owner, key.hour)) {
                    rows.count += 1;
                    rows.total.add(row.times);
                    if rows.shown.len() < SHOWN_MAX {
                        rows.shown.push(row.clone());
                    }
                }
            }
        }
        Ok(())
    };
    let columns = Columns::TIME.and(Columns::ENERGY).and(Columns::KEYS);
    let wanted = Wanted { columns, ..Wanted::all(range(period)) };
    Ok(gather(ledger, &wanted, begin, take).await?)
}
