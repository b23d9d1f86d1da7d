//! What schedulers have given away, as the watching thread hands it to the GPUs.

use gpuledger_proto::frame::{Gpu, Holding, Owner, Share};
use gpuledger_proto::ids::clean_text;
use gpuledger_proto::limits::SHARES_PER_HOLDING_MAX;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a scheduler names a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    Uuid(String),
    /// The driver's index.
    Index(u32),
    /// The number of `/dev/nvidiaN`.
    Minor(u32),
}

/// A GPU, or a part of one, that was given to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub device: Device,
    pub owner: Owner,
    /// Its part beside the other grants of the GPU.
    pub weight: u64,
}

/// Everything that schedulers said at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocations {
    pub grants: Vec<Grant>,
    /// Slurm's jobs on this node, whether they have GPUs or not; `None`: who it is could not be found out.
    pub jobs: BTreeMap<u32, Option<Owner>>,
    /// Whether Slurm is here: then a job that is not among `jobs` has only just begun.
    pub slurm: bool,
    /// A scheduler is here and does not say what it has given away.
    pub unsure: Option<Absence>,
}

impl Allocations {
    /// To whom this GPU was given.
    pub fn holders(&self, gpu: &Gpu, minor: u32) -> Vec<(Owner, u64)> {
        let is_it = |device: &Device| match device {
            Device::Uuid(uuid) => uuid == gpu.uuid.as_str(),
            Device::Index(index) => *index == gpu.index,
            Device::Minor(number) => *number == minor,
        };
        let mine = self.grants.iter().filter(|grant| is_it(&grant.device));
        mine.map(|grant| (grant.owner.clone(), grant.weight)).collect()
    }
}

/// Where the newest allocations are read. Clones are the same board.
#[derive(Debug, Clone)]
pub struct Board(Arc<(Mutex<Arc<Allocations>>, Condvar)>);

impl Default for Board {
    /// Nothing was told yet.
    fn default() -> Self {
        let pending = Allocations { unsure: Some(Absence::Pending), ..Allocations::default() };
        Self(Arc::new((Mutex::new(Arc::new(pending)), Condvar::new())))
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Arc<Allocations>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn read(&self) -> Arc<Allocations> {
        Arc::clone(&self.lock())
    }

    pub fn put(&self, allocations: Allocations) {
        *self.lock() = Arc::new(allocations);
        self.0.1.notify_all();
    }

    /// Waits until something was told, so that the first sample knows who holds what.
    pub fn settle(&self, longest: Duration) {
        let pending = |told: &mut Arc<Allocations>| told.unsure == Some(Absence::Pending);
        // What was not told by then is told later.
        let _ = self.0.1.wait_timeout_while(self.lock(), longest, pending);
    }
}

/// Divides a GPU by weight. The parts sum to the whole; an owner that is named twice has both parts. More
/// owners than a holding can name are no list of owners any more.
pub fn shares(holders: impl IntoIterator<Item = (Owner, u64)>) -> Reading<Holding> {
    let mut merged: BTreeMap<Owner, u64> = BTreeMap::new();
    for (owner, weight) in holders {
        let sum = merged.entry(cleaned(&owner)).or_insert(0);
        *sum = sum.saturating_add(weight);
    }
    if merged.len() > SHARES_PER_HOLDING_MAX {
        return Reading::Absent(Absence::Failed);
    }
    let weights: Vec<u64> = merged.values().copied().collect();
    let Some(parts) = gpuledger_units::largest_remainder(1_000_000, &weights) else {
        // Nobody to share with: nobody holds it.
        return Reading::Value(Vec::new());
    };
    let share = |(owner, part)| {
        let share_ppm = u32::try_from(part).map_err(|_| Absence::Failed)?;
        Ok(Share { owner, share_ppm })
    };
    merged.into_keys().zip(parts).map(share).collect::<Result<Holding, Absence>>().into()
}

/// Names as the wire takes them: accounts and pods are what somebody typed.
fn cleaned(owner: &Owner) -> Owner {
    Owner {
        kind: owner.kind,
        account: clean_text(&owner.account),
        name: clean_text(&owner.name),
        job: clean_text(&owner.job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::gpu::simulated;
    use gpuledger_proto::frame::OwnerKind;

    fn job(id: &str) -> Owner {
        Owner {
            kind: OwnerKind::Slurm,
            account: "physics".to_owned(),
            name: "ada".to_owned(),
            job: id.to_owned(),
        }
    }

    #[test]
    fn a_gpu_is_found_by_each_of_its_names_and_not_by_another_s() {
        let gpu = Gpu { index: 2, ..simulated::gpu("GPU-a") };
        for (device, mine) in [
            (Device::Uuid("GPU-a".to_owned()), true),
            (Device::Uuid("GPU-b".to_owned()), false),
            (Device::Index(2), true),
            (Device::Index(5), false),
            (Device::Minor(5), true),
            (Device::Minor(2), false),
        ] {
            let grant = Grant { device, owner: job("1"), weight: 1 };
            let allocations = Allocations { grants: vec![grant.clone()], ..Allocations::default() };
            assert_eq!(allocations.holders(&gpu, 5).len(), usize::from(mine), "{grant:?}");
        }
    }

    #[test]
    fn a_shared_gpu_is_split_by_weight_and_the_parts_sum_to_the_whole() {
        let Reading::Value(holding) = shares([(job("1"), 1), (job("2"), 1), (job("3"), 1)]) else { panic!() };
        assert_eq!(holding.iter().map(|share| share.share_ppm).sum::<u32>(), 1_000_000);
        assert_eq!(holding[0].share_ppm, 333_334);
        let Reading::Value(holding) = shares([(job("1"), 3), (job("2"), 1), (job("1"), 1)]) else { panic!() };
        assert_eq!(holding.iter().map(|share| share.share_ppm).collect::<Vec<_>>(), [800_000, 200_000]);
        assert_eq!(shares([]), Reading::Value(Vec::new()));
        assert_eq!(shares((0..65).map(|n| (job(&n.to_string()), 1))), Reading::Absent(Absence::Failed));
    }

    #[test]
    fn an_odd_name_is_cleaned_and_never_stops_the_node() {
        let odd = Owner { account: "phy\nsics".to_owned(), ..job("1") };
        assert_eq!(shares([(odd, 1)]).value().unwrap()[0].owner.account, "physics");
    }
}
