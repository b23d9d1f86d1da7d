//! Who holds a GPU that is cut into instances: the holders of each instance, by the instance's estimated
//! part of the GPU's power.
//!
//! What no holder has, because an instance is free or slices are in no instance, belongs to an owner of its
//! own: energy that nobody used is not put on those who share the GPU. Where nobody holds any instance,
//! nobody holds the GPU.

use crate::collect::Instance;
use gpuledger_proto::frame::{Holding, Owner, OwnerKind, Share};
use gpuledger_proto::limits::SHARES_PER_HOLDING_MAX;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::BTreeMap;

/// The name of the owner of what no holder has.
pub const UNHELD: &str = "unheld MIG slices";

const WHOLE_PPM: u64 = 1_000_000;

/// Puts the holdings of the instances together; `of` finds the holders of processes.
pub fn holding(
    instances: &[Instance],
    mut of: impl FnMut(Reading<Vec<u32>>) -> Reading<Holding>,
) -> Reading<Holding> {
    let mut parts: BTreeMap<Owner, u64> = BTreeMap::new();
    for instance in instances {
        let share_ppm = match instance.share_ppm {
            Reading::Value(share_ppm) => u64::from(share_ppm),
            Reading::Absent(reason) => return Reading::Absent(reason),
        };
        let processes = instance.readings.processes.clone().unwrap_or(Reading::Absent(Absence::Unsupported));
        let holders = match of(processes) {
            Reading::Value(holders) => holders,
            Reading::Absent(reason) => return Reading::Absent(reason),
        };
        let weights: Vec<u64> = holders.iter().map(|share| u64::from(share.share_ppm)).collect();
        // Without holders the part stays with nobody.
        let Some(shares) = gpuledger_units::largest_remainder(share_ppm, &weights) else { continue };
        for (share, part) in holders.iter().zip(shares) {
            *parts.entry(share.owner.clone()).or_default() += part;
        }
    }
    if parts.is_empty() {
        return Reading::Value(Vec::new());
    }
    let unheld = WHOLE_PPM.saturating_sub(parts.values().sum());
    if unheld > 0 {
        let owner = Owner {
            kind: OwnerKind::Other,
            account: String::new(),
            name: UNHELD.to_owned(),
            job: String::new(),
        };
        *parts.entry(owner).or_default() += unheld;
    }
    // A share of nothing is no share.
    parts.retain(|_, part| *part > 0);
    if parts.len() > SHARES_PER_HOLDING_MAX {
        return Reading::Absent(Absence::Failed);
    }
    let shares = parts.into_iter().map(|(owner, part)| {
        u32::try_from(part).map(|share_ppm| Share { owner, share_ppm }).map_err(|_| Absence::Failed)
    });
    shares.collect::<Result<Holding, Absence>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Readings;
    use gpuledger_proto::ids::GpuUuid;

    fn instance(name: &str, share_ppm: u32, pids: &[u32]) -> Instance {
        Instance {
            uuid: GpuUuid::new(name).unwrap(),
            gpu_instance: 1,
            compute_instance: 0,
            slices: 1,
            share_ppm: Reading::Value(share_ppm),
            readings: Readings { processes: Some(Reading::Value(pids.to_vec())), ..Readings::default() },
        }
    }

    /// Each process is held by a user of the same number, in equal parts.
    fn users(processes: Reading<Vec<u32>>) -> Reading<Holding> {
        processes.map(|pids| {
            let parts =
                gpuledger_units::largest_remainder(WHOLE_PPM, &vec![1; pids.len()]).unwrap_or_default();
            let share = |(pid, part): (&u32, u64)| Share {
                owner: Owner {
                    kind: OwnerKind::User,
                    account: String::new(),
                    name: pid.to_string(),
                    job: String::new(),
                },
                share_ppm: u32::try_from(part).unwrap(),
            };
            pids.iter().zip(parts).map(share).collect()
        })
    }

    fn named(holding: Reading<Holding>) -> Vec<(String, u32)> {
        holding.value().unwrap().into_iter().map(|share| (share.owner.name, share.share_ppm)).collect()
    }

    /// nvml.md, row 9.
    #[test]
    fn holders_of_instances_share_the_gpu_and_what_nobody_holds_is_named() {
        let instances = [
            instance("MIG-a", 500_000, &[1]),
            instance("MIG-b", 200_001, &[1, 2]),
            instance("MIG-c", 100_000, &[]),
        ];
        let shares = named(holding(&instances, users));
        assert_eq!(shares, [("1".into(), 600_001), ("2".into(), 100_000), (UNHELD.into(), 299_999)]);
        assert_eq!(shares.iter().map(|share| share.1).sum::<u32>(), 1_000_000);
    }

    #[test]
    fn nobody_on_any_instance_is_nobody_and_one_unknown_holder_is_unknown() {
        let free = [instance("MIG-a", 500_000, &[])];
        assert_eq!(holding(&free, users), Reading::Value(Vec::new()));
        let unsure = Instance { share_ppm: Reading::Absent(Absence::Unsupported), ..free[0].clone() };
        assert_eq!(holding(&[unsure], users), Reading::Absent(Absence::Unsupported));
        assert_eq!(
            holding(&free, |_| Reading::Absent(Absence::NoPermission)),
            Reading::Absent(Absence::NoPermission)
        );
    }
}
