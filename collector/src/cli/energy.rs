//! The ledger's hour rows added up for the energy report.

use super::period::start_of;
use crate::report::energy::{Dimension, EnergyRow, Source};
use gpuledger_ledger::{
    GpuHour, GpuHourKey, GpuKey, GpuRecord, Hour, NodeHour, NodeKey, NodeRecord, OwnerKey, OwnerRecord,
};
use gpuledger_proto::frame::Owner;
use gpuledger_units::{Millijoules, Millis, Overflow};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap};

/// What the ledger holds of a period.
pub struct Facts {
    pub nodes: Vec<NodeRecord>,
    pub gpus: Vec<GpuRecord>,
    pub owners: Vec<OwnerRecord>,
    pub node_hours: Vec<(Hour, NodeKey, NodeHour)>,
    pub gpu_hours: Vec<(GpuHourKey, GpuHour)>,
}

/// A row while it is added up.
#[derive(Clone, Copy)]
struct Sum {
    energy: Millijoules,
    observed: Millis,
    source: Option<Source>,
}

impl Sum {
    const EMPTY: Self = Self { energy: Millijoules::ZERO, observed: Millis::ZERO, source: None };

    fn of_gpu(row: &GpuHour) -> Result<Self, Overflow> {
        let source = match (row.counter_mj.0 > 0, row.estimated_mj.0 > 0) {
            (true, true) => Source::Mixed,
            (false, true) => Source::GpuPower,
            _ => Source::GpuCounter,
        };
        Ok(Self { energy: row.energy()?, observed: row.observed()?, source: Some(source) })
    }

    /// The node's own energy, where it has one in this hour.
    fn of_node(row: &NodeHour) -> Result<Option<Self>, Overflow> {
        let source = match (row.counter_mj.0 > 0, row.estimated_mj.0 > 0) {
            (true, true) => Source::Mixed,
            (false, true) => Source::NodePower,
            (true, false) => Source::NodeCounter,
            (false, false) if row.metered_ms.0 > 0 => Source::NodePower,
            (false, false) => return Ok(None),
        };
        let energy = row.counter_mj.plus(row.estimated_mj)?;
        Ok(Some(Self { energy, observed: row.observed_ms, source: Some(source) }))
    }

    fn add(&mut self, other: Self) -> Result<(), Overflow> {
        self.energy.add(other.energy)?;
        self.observed.add(other.observed)?;
        self.source = match (self.source, other.source) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        Ok(())
    }
}

/// What a row is about, before it is reduced to what was asked for.
#[derive(Clone, Copy)]
struct Subject {
    hour: Hour,
    node: Option<NodeKey>,
    gpu: Option<GpuKey>,
    owner: Option<OwnerKey>,
}

impl Facts {
    /// Rows by what was asked for, in the order of their keys.
    pub fn rows(&self, by: &[Dimension]) -> Result<Vec<EnergyRow>, Overflow> {
        let of_gpus = by.contains(&Dimension::Gpu) || by.contains(&Dimension::Owner);
        let parts = if of_gpus { self.gpu_parts()? } else { self.node_parts()? };
        let names = Names::of(self);
        let mut sums: BTreeMap<Vec<String>, Sum> = BTreeMap::new();
        for (subject, part) in parts {
            let key = by.iter().map(|&dimension| names.tell(dimension, subject)).collect();
            sums.entry(key).or_insert(Sum::EMPTY).add(part)?;
        }
        Ok(sums.into_iter().map(|(key, sum)| row(by, key, sum)).collect())
    }

    fn gpu_parts(&self) -> Result<Vec<(Subject, Sum)>, Overflow> {
        let homes: HashMap<GpuKey, NodeKey> = self.gpus.iter().map(|g| (g.key, g.node)).collect();
        let part = |(key, row): &(GpuHourKey, GpuHour)| {
            let node = homes.get(&key.gpu).copied();
            let subject = Subject { hour: key.hour, node, gpu: Some(key.gpu), owner: Some(key.owner) };
            Ok((subject, Sum::of_gpu(row)?))
        };
        self.gpu_hours.iter().map(part).collect()
    }

    /// Node by node and hour by hour: the node's own energy, else that of its GPUs.
    fn node_parts(&self) -> Result<Vec<(Subject, Sum)>, Overflow> {
        let mut gpus: BTreeMap<(Hour, Option<NodeKey>), BTreeMap<GpuKey, Sum>> = BTreeMap::new();
        for (subject, sum) in self.gpu_parts()? {
            let Some(gpu) = subject.gpu else { continue };
            let of_node = gpus.entry((subject.hour, subject.node)).or_default();
            of_node.entry(gpu).or_insert(Sum::EMPTY).add(sum)?;
        }
        let mut parts = Vec::new();
        for (hour, node, row) in &self.node_hours {
            let below = gpus.remove(&(*hour, Some(*node)));
            let own = match (Sum::of_node(row)?, below) {
                (Some(own), _) => own,
                (None, Some(below)) => Sum { observed: row.observed_ms, ..together(below)? },
                (None, None) => Sum { observed: row.observed_ms, ..Sum::EMPTY },
            };
            parts.push((Subject { hour: *hour, node: Some(*node), gpu: None, owner: None }, own));
        }
        for ((hour, node), below) in gpus {
            parts.push((Subject { hour, node, gpu: None, owner: None }, together(below)?));
        }
        Ok(parts)
    }
}

/// The GPUs of a node together: their energy, and the time for which any of them was observed, as
/// far as rows tell: that of the longest.
fn together(gpus: BTreeMap<GpuKey, Sum>) -> Result<Sum, Overflow> {
    let mut all = Sum::EMPTY;
    for sum in gpus.into_values() {
        let observed = all.observed.max(sum.observed);
        all.add(sum)?;
        all.observed = observed;
    }
    Ok(all)
}

fn row(by: &[Dimension], key: Vec<String>, sum: Sum) -> EnergyRow {
    let mut row = EnergyRow {
        node: None,
        gpu: None,
        owner: None,
        hour: None,
        day: None,
        month: None,
        energy_mj: sum.energy,
        observed_ms: sum.observed,
        source: sum.source.unwrap_or(Source::GpuCounter),
    };
    for (&dimension, name) in by.iter().zip(key) {
        let field = match dimension {
            Dimension::Node => &mut row.node,
            Dimension::Gpu => &mut row.gpu,
            Dimension::Owner => &mut row.owner,
            Dimension::Hour => &mut row.hour,
            Dimension::Day => &mut row.day,
            Dimension::Month => &mut row.month,
        };
        *field = Some(name);
    }
    row
}

/// Names of what rows refer to by number.
struct Names<'a> {
    nodes: HashMap<NodeKey, &'a str>,
    gpus: HashMap<GpuKey, &'a str>,
    owners: HashMap<OwnerKey, String>,
}

/// A row whose owner, GPU or node the register does not have: `verify` says that it is broken.
const UNREGISTERED: &str = "unregistered";

impl<'a> Names<'a> {
    fn of(facts: &'a Facts) -> Self {
        let mut owners: HashMap<_, _> = facts.owners.iter().map(|o| (o.key, owner_name(&o.owner))).collect();
        owners.insert(OwnerKey::NOBODY, "nobody".to_owned());
        owners.insert(OwnerKey::UNKNOWN, "unknown".to_owned());
        Self {
            nodes: facts.nodes.iter().map(|n| (n.key, n.name.as_str())).collect(),
            gpus: facts.gpus.iter().map(|g| (g.key, g.gpu.uuid.as_str())).collect(),
            owners,
        }
    }

    fn tell(&self, dimension: Dimension, subject: Subject) -> String {
        let start =
            |format: &str| start_of(subject.hour).to_zoned(TimeZone::UTC).strftime(format).to_string();
        let name = match dimension {
            Dimension::Hour => return start("%Y-%m-%dT%H:00:00Z"),
            Dimension::Day => return start("%Y-%m-%dT00:00:00Z"),
            Dimension::Month => return start("%Y-%m-01T00:00:00Z"),
            Dimension::Node => subject.node.and_then(|key| self.nodes.get(&key).copied()),
            Dimension::Gpu => subject.gpu.and_then(|key| self.gpus.get(&key).copied()),
            Dimension::Owner => subject.owner.and_then(|key| self.owners.get(&key).map(String::as_str)),
        };
        name.unwrap_or(UNREGISTERED).to_owned()
    }
}

/// `slurm:account/user/job`, without the parts that there are not.
fn owner_name(owner: &Owner) -> String {
    let parts: Vec<&str> = [&owner.account, &owner.name, &owner.job]
        .into_iter()
        .map(String::as_str)
        .filter(|p| !p.is_empty())
        .collect();
    format!("{}:{}", owner.kind.name(), parts.join("/"))
}
