//! The ledger's rows against what the chains of samples add up to.

use super::chain::{Amounts, Seen, exact, is_in_order, time_bounds, used_mj};
use super::{Device, Oracle};
use crate::simulate::trail::Trail;
use gpuledger_collector::fold::{WALL_MS_MAX, WALL_MS_MIN};
use gpuledger_collector::verify::{self, PromiseCheck, Subject};
use gpuledger_ledger::{HourRange, LedgerError, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a check has to know of the run.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub longest_gap_ms: u64,
    /// The wall clock when the run began.
    pub from_ms: u64,
}

/// A sample that claims to be so far ahead of the true time is passed over; the clocks of a run are
/// either far beyond it or far below.
const AHEAD_MS_MAX: u64 = 26 * 3_600_000;

/// What a ledger says of itself.
#[derive(Debug)]
pub struct Found {
    promises: Vec<PromiseCheck>,
    amounts: BTreeMap<Device, Amounts>,
}

/// Reads a ledger that rests.
pub async fn read(store: Arc<dyn Store>) -> Result<Found, LedgerError> {
    // Nothing of a run is old enough to be closed.
    let subject = Subject { store: &*store, archive: None };
    let promises = verify::verify(subject, &mut |_, _| ()).await?;
    Ok(Found { promises, amounts: amounts(&*store).await? })
}

/// Checks the promises that a ledger can check by itself, and every amount.
pub fn compare(oracle: &Oracle, found: Found, terms: Terms, trail: &Trail) {
    for promise in found.promises.iter().filter(|promise| !promise.holds()) {
        trail.violated(format!("verify: {promise}"));
    }
    let found = found.amounts;
    let chains = chains(oracle, terms);
    for (device, chain) in &chains {
        check(device, chain, found.get(device).copied().unwrap_or_default(), terms, trail);
    }
    for (device, amounts) in found {
        if !chains.contains_key(&device) && amounts != Amounts::default() {
            trail.violated(format!("{device:?} has {amounts:?} and no sample"));
        }
        trail.note(format_args!("{device:?} {amounts:?}"));
    }
}

/// The samples of each device, in the order of their commits.
fn chains(oracle: &Oracle, terms: Terms) -> BTreeMap<Device, Vec<Seen>> {
    let mut chains: BTreeMap<Device, Vec<Seen>> = BTreeMap::new();
    for sample in oracle.delivered() {
        let now_ms = terms.from_ms + sample.true_ms;
        let valid = (WALL_MS_MIN..=WALL_MS_MAX).contains(&sample.wall_ms);
        if !valid || sample.wall_ms > now_ms + AHEAD_MS_MAX {
            continue;
        }
        for (device, shown, integrated_mj) in sample.devices.iter() {
            chains.entry(device.clone()).or_default().push(Seen {
                machine: sample.machine,
                epoch: sample.epoch,
                boot: sample.boot,
                boot_ms: sample.boot_ms,
                wall_ms: sample.wall_ms,
                true_ms: sample.true_ms,
                shown: *shown,
                integrated_mj: *integrated_mj,
            });
        }
    }
    chains
}

fn check(device: &Device, chain: &[Seen], found: Amounts, terms: Terms, trail: &Trail) {
    let machines: BTreeSet<usize> = chain.iter().map(|seen| seen.machine).collect();
    if let (Device::Node(_), 2..) = (device, machines.len()) {
        // Two machines under one name: their meters are mixed, and nothing exact can be said.
        trail.count("devices of two machines", 1);
        return;
    }
    let used = used_mj(chain);
    if found.energy_mj() > used {
        trail.violated(format!("{device:?}: {} mJ are counted, {used} mJ were used", found.energy_mj()));
    }
    if is_in_order(chain) {
        let expected = exact(chain, terms.longest_gap_ms);
        if found != expected {
            trail.violated(format!("{device:?}: expected {expected:?}, found {found:?}"));
        }
        let unbroken = chain.windows(2).all(|pair| pair[0].shown.resets == pair[1].shown.resets);
        let whole = chain
            .first()
            .zip(chain.last())
            .is_some_and(|(first, last)| first.shown.counter_mj.is_some() && last.shown.counter_mj.is_some());
        if unbroken && whole && found.counter_mj != used {
            trail.violated(format!("{device:?}: {} mJ by counter, {used} mJ were used", found.counter_mj));
        }
        trail.count("devices exactly known", 1);
    } else {
        let (least, most) = time_bounds(chain, terms.longest_gap_ms);
        let observed = found.observed_ms();
        if observed > most || observed < least {
            trail.violated(format!("{device:?}: {observed} ms observed, expected {least} to {most} ms"));
        }
        trail.count("devices within bounds", 1);
    }
}

/// What the ledger says of every device.
async fn amounts(ledger: &dyn Store) -> Result<BTreeMap<Device, Amounts>, LedgerError> {
    let mut found = BTreeMap::new();
    let names: BTreeMap<_, _> =
        ledger.gpus().await?.into_iter().map(|gpu| (gpu.key, gpu.gpu.uuid.to_string())).collect();
    for total in ledger.gpu_totals().await? {
        let row = total.total;
        let amounts = Amounts {
            counter_mj: row.counter_mj.0,
            estimated_mj: row.estimated_mj.0,
            active_ms: row.active_ms.0,
            held_ms: row.held_ms.0,
            free_ms: row.free_ms.0,
            down_ms: row.down_ms.0,
            samples: row.samples,
        };
        let name = names.get(&total.gpu).cloned().unwrap_or_else(|| total.gpu.0.to_string());
        found.insert(Device::Gpu(name), amounts);
    }
    let names: BTreeMap<_, _> =
        ledger.nodes().await?.into_iter().map(|node| (node.key, node.name.to_string())).collect();
    for (_, node, row) in ledger.node_hours(HourRange::ALWAYS).await? {
        let name = names.get(&node).cloned().unwrap_or_else(|| node.0.to_string());
        let amounts: &mut Amounts = found.entry(Device::Node(name)).or_default();
        amounts.counter_mj += row.counter_mj.0;
        amounts.estimated_mj += row.estimated_mj.0;
        // A node is not free or held: it is there.
        amounts.active_ms += row.observed_ms.0;
        amounts.samples += row.samples;
    }
    Ok(found)
}
