//! Names of what rows refer to by number, for readers that know nothing of our register.

use crate::table::{Kind, RowKey};
use gpuledger_ledger::{GpuRecord, Ledger, LedgerError, NodeRecord, OwnerKey, OwnerRecord};
use gpuledger_proto::frame::Owner;
use std::collections::BTreeMap;

/// A number that the register does not have: `verify` says that the row is broken.
const UNREGISTERED: &str = "unregistered";

/// The register's names at one moment.
#[derive(Default)]
pub struct Names {
    nodes: BTreeMap<u32, String>,
    gpus: BTreeMap<u32, Gpu>,
    owners: BTreeMap<u32, Owner>,
}

struct Gpu {
    uuid: String,
    model: String,
    node: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuName<'a> {
    pub uuid: &'a str,
    pub model: &'a str,
    pub node: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerName<'a> {
    pub kind: &'a str,
    pub account: &'a str,
    pub name: &'a str,
    pub job: &'a str,
}

impl Names {
    pub async fn read(ledger: &(impl Ledger + ?Sized)) -> Result<Self, LedgerError> {
        Ok(Self::of(ledger.nodes().await?, ledger.gpus().await?, ledger.all_owners().await?))
    }

    pub fn of(nodes: Vec<NodeRecord>, gpus: Vec<GpuRecord>, owners: Vec<OwnerRecord>) -> Self {
        let gpus = gpus.into_iter().map(|gpu| {
            let name = Gpu { uuid: gpu.gpu.uuid.to_string(), model: gpu.gpu.model, node: gpu.node.0 };
            (gpu.key.0, name)
        });
        let nodes = nodes.into_iter().map(|node| (node.key.0, node.name.to_string()));
        let owners = owners.into_iter().map(|owner| (owner.key.0, owner.owner));
        Self { nodes: nodes.collect(), gpus: gpus.collect(), owners: owners.collect() }
    }

    /// Whether everything that a row refers to has its name here.
    pub fn know<K: Kind>(&self, key: RowKey) -> bool {
        if !K::HAS_OWNER {
            return self.nodes.contains_key(&key.subject);
        }
        let has_owner = key.owner < OwnerKey::FIRST_NAMED.0 || self.owners.contains_key(&key.owner);
        has_owner && self.gpus.contains_key(&key.subject)
    }

    pub fn node(&self, key: RowKey) -> &str {
        self.node_of(key.subject)
    }

    fn node_of(&self, node: u32) -> &str {
        self.nodes.get(&node).map_or(UNREGISTERED, String::as_str)
    }

    /// The node is the one that holds the GPU now.
    pub fn gpu(&self, key: RowKey) -> GpuName<'_> {
        match self.gpus.get(&key.subject) {
            Some(gpu) => GpuName { uuid: &gpu.uuid, model: &gpu.model, node: self.node_of(gpu.node) },
            None => GpuName { uuid: UNREGISTERED, model: UNREGISTERED, node: UNREGISTERED },
        }
    }

    pub fn owner(&self, key: RowKey) -> OwnerName<'_> {
        let bare = |kind| OwnerName { kind, account: "", name: "", job: "" };
        match (OwnerKey(key.owner), self.owners.get(&key.owner)) {
            (OwnerKey::NOBODY, _) => bare("nobody"),
            (OwnerKey::UNKNOWN, _) => bare("unknown"),
            (_, Some(owner)) => OwnerName {
                kind: owner.kind.name(),
                account: &owner.account,
                name: &owner.name,
                job: &owner.job,
            },
            (_, None) => bare(UNREGISTERED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_ledger::{GpuHour, NodeHour};
    use gpuledger_proto::frame::OwnerKind;

    fn key(subject: u32, owner: u32) -> RowKey {
        RowKey { subject, hour: 1, owner }
    }

    fn names() -> Names {
        let gpu = Gpu { uuid: "GPU-1".to_owned(), model: "H100".to_owned(), node: 7 };
        let job = Owner {
            kind: OwnerKind::Slurm,
            account: "physics".to_owned(),
            name: "ada".to_owned(),
            job: "17".to_owned(),
        };
        Names {
            nodes: BTreeMap::from([(7, "n7".to_owned())]),
            gpus: BTreeMap::from([(1, gpu)]),
            owners: BTreeMap::from([(2, job)]),
        }
    }

    #[test]
    fn a_row_has_the_names_of_its_gpu_node_and_owner() {
        let names = names();
        assert_eq!(names.gpu(key(1, 0)), GpuName { uuid: "GPU-1", model: "H100", node: "n7" });
        assert_eq!(names.node(key(7, 0)), "n7");
        let job = OwnerName { kind: "slurm", account: "physics", name: "ada", job: "17" };
        assert_eq!(names.owner(key(1, 2)), job);
        assert_eq!((names.owner(key(1, 0)).kind, names.owner(key(1, 1)).kind), ("nobody", "unknown"));
        assert_eq!((names.owner(key(1, 3)).kind, names.gpu(key(2, 0)).uuid), (UNREGISTERED, UNREGISTERED));
    }

    #[test]
    fn what_was_registered_later_is_not_known() {
        let names = names();
        assert!(names.know::<GpuHour>(key(1, 0)) && names.know::<GpuHour>(key(1, 1)));
        assert!(names.know::<GpuHour>(key(1, 2)) && names.know::<NodeHour>(key(7, 0)));
        assert!(!names.know::<GpuHour>(key(1, 3)) && !names.know::<GpuHour>(key(2, 0)));
        assert!(!names.know::<NodeHour>(key(1, 0)));
    }
}
