//! Names of what rows refer to by number, and of times.

use super::{Group, Register};
use crate::cli::period::start_of;
use crate::report::energy::Dimension;
use gpuledger_ledger::{Day, Hour, OwnerKey};
use gpuledger_proto::frame::Owner;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap};

/// A row whose owner, GPU or node the register does not have: `verify` says that it is broken.
pub const UNREGISTERED: &str = "unregistered";
/// Stands for the node of a GPU that has none; no register has so many.
pub const UNREGISTERED_NODE: u32 = u32::MAX;
/// A GPU of which no driver has told its model.
const UNKNOWN_MODEL: &str = "unknown";

pub struct Names<'a> {
    nodes: BTreeMap<u32, &'a str>,
    /// By number: numbers are given one after the other.
    gpus: Vec<Option<Gpu<'a>>>,
    /// The names of the models, by the numbers that GPUs have for them.
    models: Vec<&'a str>,
    owners: HashMap<u32, String>,
}

struct Gpu<'a> {
    uuid: &'a str,
    node: u32,
    model: u32,
}

impl<'a> Names<'a> {
    pub fn of(register: &'a Register) -> Self {
        let mut owners: HashMap<_, _> =
            register.owners.iter().map(|owner| (owner.key.0, owner_name(&owner.owner))).collect();
        owners.insert(OwnerKey::NOBODY.0, "nobody".to_owned());
        owners.insert(OwnerKey::UNKNOWN.0, "unknown".to_owned());
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::from([(UNREGISTERED, 0)]);
        let mut models = vec![UNREGISTERED];
        let mut gpus = Vec::new();
        for gpu in &register.gpus {
            let name = if gpu.gpu.model.is_empty() { UNKNOWN_MODEL } else { &gpu.gpu.model };
            let next = u32::try_from(models.len()).unwrap_or(u32::MAX);
            let model = *numbers.entry(name).or_insert_with(|| {
                models.push(name);
                next
            });
            let at = usize::try_from(gpu.key.0).unwrap_or(usize::MAX);
            gpus.resize_with(gpus.len().max(at + 1), || None);
            gpus[at] = Some(Gpu { uuid: gpu.gpu.uuid.as_str(), node: gpu.node.0, model });
        }
        let nodes = register.nodes.iter().map(|node| (node.key.0, node.name.as_str())).collect();
        Self { nodes, gpus, models, owners }
    }

    /// Every node by number.
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        self.nodes.keys().copied()
    }

    /// The node of each GPU, by its number.
    pub fn homes(&self) -> Vec<u32> {
        let home = |gpu: &Option<Gpu<'_>>| gpu.as_ref().map_or(UNREGISTERED_NODE, |gpu| gpu.node);
        self.gpus.iter().map(home).collect()
    }

    fn gpu(&self, gpu: u32) -> Option<&Gpu<'a>> {
        self.gpus.get(usize::try_from(gpu).ok()?)?.as_ref()
    }

    pub fn node_of(&self, gpu: u32) -> u32 {
        self.gpu(gpu).map_or(UNREGISTERED_NODE, |gpu| gpu.node)
    }

    /// The number of a GPU's model.
    pub fn model_of(&self, gpu: u32) -> u32 {
        self.gpu(gpu).map_or(0, |gpu| gpu.model)
    }

    pub fn tell(&self, dimension: Dimension, group: &Group) -> String {
        let name = match dimension {
            Dimension::Hour => return start(Hour(group.time)),
            Dimension::Day | Dimension::Month => return start(Day(group.time).first_hour()),
            Dimension::Node => self.nodes.get(&group.node).copied(),
            Dimension::Gpu => self.gpu(group.gpu).map(|gpu| gpu.uuid),
            Dimension::Model => usize::try_from(group.model).ok().and_then(|at| self.models.get(at).copied()),
            Dimension::Owner => self.owners.get(&group.owner).map(String::as_str),
        };
        name.unwrap_or(UNREGISTERED).to_owned()
    }
}

fn start(hour: Hour) -> String {
    start_of(hour).to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:00:00Z").to_string()
}

/// The first day of the month that a day lies in, in UTC as all days of the ledger.
pub fn first_of_month(day: Day) -> Day {
    let in_month = start_of(day.first_hour()).to_zoned(TimeZone::UTC).day().unsigned_abs();
    Day(day.0 - u32::from(in_month) + 1)
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
