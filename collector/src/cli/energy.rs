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

/// Whether a report by these adds up GPUs alone; else nodes, with their own energy where they know it.
pub fn is_of_gpus(by: &[Dimension]) -> bool {
    by.contains(&Dimension::Gpu) || by.contains(&Dimension::Owner)
}

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
        let parts = if is_of_gpus(by) { self.gpu_parts()? } else { self.node_parts()? };
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

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::frame::{Gpu, Host, OwnerKind};
    use gpuledger_proto::ids::{GpuUuid, NodeName};

    /// 2024-05-17T15:00Z.
    const HOUR: Hour = Hour(476_655);

    fn node(key: u32, name: &str) -> NodeRecord {
        let name = NodeName::new(name).unwrap();
        NodeRecord { key: NodeKey(key), name, host: Host::default(), first_ms: None, last_ms: None }
    }

    fn gpu(key: u32, node: u32) -> GpuRecord {
        let gpu = Gpu {
            uuid: GpuUuid::new(&format!("GPU-{key}")).unwrap(),
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index: 0,
            memory_bytes: None,
            simulated: false,
        };
        GpuRecord { key: GpuKey(key), node: NodeKey(node), gpu, first_ms: None, last_ms: None }
    }

    fn gpu_hour(hour: Hour, gpu: u32, owner: OwnerKey, energy: u64, active: u64) -> (GpuHourKey, GpuHour) {
        let row =
            GpuHour { counter_mj: Millijoules(energy), active_ms: Millis(active), ..GpuHour::default() };
        (GpuHourKey { hour, gpu: GpuKey(gpu), owner }, row)
    }

    /// Node "a" has a meter, node "b" has not; both have two GPUs, and "b" an hour of the next day.
    fn facts() -> Facts {
        let seen = |ms| NodeHour { observed_ms: Millis(ms), ..NodeHour::default() };
        let metered = NodeHour { counter_mj: Millijoules(900), metered_ms: Millis(3_000), ..seen(3_000) };
        let owner = Owner {
            kind: OwnerKind::Slurm,
            account: "physics".into(),
            name: "ada".into(),
            job: String::new(),
        };
        let named = OwnerKey::FIRST_NAMED;
        let next_day = Hour(HOUR.0 + 9);
        Facts {
            nodes: vec![node(1, "a"), node(2, "b")],
            gpus: vec![gpu(1, 1), gpu(2, 1), gpu(3, 2), gpu(4, 2)],
            owners: vec![OwnerRecord { key: named, owner }],
            node_hours: vec![
                (HOUR, NodeKey(1), metered),
                (HOUR, NodeKey(2), seen(2_500)),
                (next_day, NodeKey(2), seen(1_000)),
            ],
            gpu_hours: vec![
                gpu_hour(HOUR, 1, named, 100, 3_000),
                gpu_hour(HOUR, 2, OwnerKey::NOBODY, 200, 3_000),
                gpu_hour(HOUR, 3, named, 30, 2_000),
                gpu_hour(HOUR, 3, OwnerKey::UNKNOWN, 5, 500),
                gpu_hour(HOUR, 4, OwnerKey::NOBODY, 40, 2_500),
                gpu_hour(next_day, 4, named, 7, 1_000),
            ],
        }
    }

    fn told(by: &[Dimension]) -> Vec<(String, u64, u64, Source)> {
        let tell = |row: EnergyRow| {
            let keys = [row.node, row.gpu, row.owner, row.hour, row.day, row.month];
            let keys: Vec<String> = keys.into_iter().flatten().collect();
            (keys.join(" "), row.energy_mj.0, row.observed_ms.0, row.source)
        };
        facts().rows(by).unwrap().into_iter().map(tell).collect()
    }

    #[test]
    fn a_node_has_its_own_energy_or_else_that_of_its_gpus() {
        assert_eq!(
            told(&[Dimension::Node, Dimension::Hour]),
            [
                ("a 2024-05-17T15:00:00Z".into(), 900, 3_000, Source::NodeCounter),
                ("b 2024-05-17T15:00:00Z".into(), 75, 2_500, Source::GpuCounter),
                ("b 2024-05-18T00:00:00Z".into(), 7, 1_000, Source::GpuCounter),
            ]
        );
    }

    #[test]
    fn days_and_months_add_hours_up_and_say_when_sources_differ() {
        assert_eq!(
            told(&[Dimension::Day]),
            [
                ("2024-05-17T00:00:00Z".into(), 975, 5_500, Source::Mixed),
                ("2024-05-18T00:00:00Z".into(), 7, 1_000, Source::GpuCounter),
            ]
        );
        assert_eq!(told(&[Dimension::Month])[0].0, "2024-05-01T00:00:00Z");
        assert_eq!(told(&[]), [(String::new(), 982, 6_500, Source::Mixed)], "by nothing is one row");
    }

    #[test]
    fn owners_have_their_part_of_every_gpu_and_nobody_has_a_name() {
        let rows = told(&[Dimension::Owner]);
        let energies: Vec<_> = rows.iter().map(|row| (row.0.as_str(), row.1)).collect();
        assert_eq!(energies, [("nobody", 240), ("slurm:physics/ada", 137), ("unknown", 5)]);
    }

    #[test]
    fn a_row_of_something_unregistered_is_shown_and_not_dropped() {
        let mut facts = facts();
        facts.gpu_hours.push(gpu_hour(HOUR, 99, OwnerKey(77), 1, 1));
        let rows = facts.rows(&[Dimension::Gpu, Dimension::Owner]).unwrap();
        assert!(rows.iter().any(|row| row.gpu.as_deref() == Some(UNREGISTERED)));
    }
}
