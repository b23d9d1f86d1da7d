//! What the ledger must hold after the replay, computed from the model alone: state by state from
//! the slots, energy by summing them, without samples, counters, batches or folds.

use crate::model::track::energy_mj;
use crate::model::{At, Device, Fleet, Run, SLOT_MS, State};
use gpuledger_ledger::{GpuHour, Hour, HourRange, Ledger, LedgerError, NodeKey};
use gpuledger_units::Overflow;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Amounts of one GPU, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Amounts {
    /// By the hardware counter.
    pub counter_mj: u64,
    /// Swallowed by a reset of the counter, and estimated from power.
    pub estimated_mj: u64,
    pub active_ms: u64,
    pub held_ms: u64,
    pub free_ms: u64,
    pub down_ms: u64,
}

/// The simulated truth.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Truth {
    /// By the GPU's UUID.
    pub gpus: BTreeMap<String, Amounts>,
    /// Energy of each node as its meter counted it, GPUs included, by the node's name.
    pub nodes_mj: BTreeMap<String, u64>,
}

/// The ledger and the truth are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    pub energy_mj: u64,
    pub observed_ms: u64,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { energy_mj, observed_ms } = self;
        write!(f, "ledger equals the simulated truth: {energy_mj} mJ, {observed_ms} ms")
    }
}

/// Why they are not, or could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    #[error("the ledger differs from the simulated truth:\n{}", .0.join("\n"))]
    Differs(Vec<String>),
    #[error("cannot read the ledger to compare it: {0}")]
    Ledger(#[from] LedgerError),
    #[error("cannot sum up the ledger to compare it: {0}")]
    Overflow(#[from] Overflow),
}

impl Amounts {
    /// What a row, or the sum of rows, holds of them.
    pub fn of_row(row: &GpuHour) -> Self {
        Self {
            counter_mj: row.counter_mj.0,
            estimated_mj: row.estimated_mj.0,
            active_ms: row.active_ms.0,
            held_ms: row.held_ms.0,
            free_ms: row.free_ms.0,
            down_ms: row.down_ms.0,
        }
    }

    const fn energy_mj(&self) -> u64 {
        self.counter_mj + self.estimated_mj
    }

    const fn observed_ms(&self) -> u64 {
        self.active_ms + self.held_ms + self.free_ms + self.down_ms
    }
}

impl Truth {
    /// The whole history, sampled every `step_ms`.
    pub fn of(fleet: &Fleet, step_ms: u64) -> Self {
        Self::until(fleet, step_ms, fleet.to_ms)
    }

    /// The history as far as an instant at which a sample is due. What was used since the last sample
    /// that showed a counter, because the agent was away or the GPU lost, is not in it: nobody can know
    /// of it yet.
    pub fn until(fleet: &Fleet, step_ms: u64, until_ms: u64) -> Self {
        let mut truth = Self::default();
        for node in 0..fleet.nodes {
            let runs = fleet.runs_until(node, step_ms, until_ms);
            let seen_ms = runs.last().map_or(fleet.from_ms, |run| run.last_ms);
            let mut node_mj = energy_mj(fleet, Device::Host(node), fleet.from_ms, seen_ms);
            for at in fleet.gpus().filter(|at| at.node == node) {
                let device = Device::Gpu(at);
                node_mj += energy_mj(fleet, device, fleet.from_ms, seen_ms);
                let used_mj = energy_mj(fleet, device, fleet.from_ms, shown_ms(fleet, at, seen_ms));
                let estimated_mj = runs.iter().map(|run| swallowed_mj(fleet, device, run, step_ms)).sum();
                let mut amounts =
                    Amounts { counter_mj: used_mj - estimated_mj, estimated_mj, ..Amounts::default() };
                for run in &runs {
                    amounts.observe(fleet, device, run);
                }
                truth.gpus.insert(fleet.gpu_uuid(at), amounts);
            }
            truth.nodes_mj.insert(fleet.node_name(node), node_mj);
        }
        truth
    }

    /// Compares every GPU and every node. Other GPUs and nodes in the ledger are not looked at.
    pub async fn compare(&self, ledger: &dyn Ledger) -> Result<Agreement, Disagreement> {
        let mut differences = Vec::new();
        let mut agreement = Agreement { energy_mj: 0, observed_ms: 0 };
        let found = found_gpus(ledger).await?;
        for (uuid, truth) in &self.gpus {
            let found = found.get(uuid).copied();
            if found != Some(*truth) {
                differences.push(format!("{uuid}: truth {truth:?}, ledger {found:?}"));
            }
            agreement.energy_mj += truth.energy_mj();
            agreement.observed_ms += truth.observed_ms();
        }
        let found = found_nodes(ledger).await?;
        for (name, truth) in &self.nodes_mj {
            let found = found.get(name).copied();
            if found != Some(*truth) {
                differences.push(format!("meter of {name}: truth {truth} mJ, ledger {found:?} mJ"));
            }
        }
        if differences.is_empty() { Ok(agreement) } else { Err(Disagreement::Differs(differences)) }
    }
}

impl Amounts {
    /// Adds the time from the run's first sample to its last.
    fn observe(&mut self, fleet: &Fleet, device: Device, run: &Run) {
        for slot in run.first_ms / SLOT_MS..run.last_ms.div_ceil(SLOT_MS) {
            let begin = run.first_ms.max(slot * SLOT_MS);
            let end = run.last_ms.min((slot + 1) * SLOT_MS);
            let ms = end.saturating_sub(begin);
            match fleet.moment(device, slot).state {
                State::Off => {}
                State::Lost => self.down_ms += ms,
                State::On(work) if work.busy_ppm > 0 => self.active_ms += ms,
                State::On(work) if work.tenancy.is_some() => self.held_ms += ms,
                State::On(_) => self.free_ms += ms,
            }
        }
    }
}

/// The last sample as far as an instant that shows the GPU's counter.
fn shown_ms(fleet: &Fleet, at: At, until_ms: u64) -> u64 {
    // A sample speaks of the time before it: the one at the end of the loss still misses the GPU.
    let lost = fleet.faults.gpus_lost.iter().map(|&(gpu, lost)| (gpu == at, lost));
    let mut now = lost.filter(|(same, lost)| *same && lost.from_ms < until_ms && until_ms <= lost.to_ms);
    now.next().map_or(until_ms, |(_, lost)| lost.from_ms)
}

/// What resets of the counter took with them: the energy since the sample before.
fn swallowed_mj(fleet: &Fleet, device: Device, run: &Run, step_ms: u64) -> u64 {
    let resets = fleet.faults.counter_resets.iter().filter(|(at, _)| Device::Gpu(*at) == device);
    let within = resets.filter(|(_, reset_ms)| run.first_ms < *reset_ms && *reset_ms < run.last_ms);
    within
        .map(|&(_, reset_ms)| {
            let sampled_ms = run.first_ms + (reset_ms - run.first_ms) / step_ms * step_ms;
            energy_mj(fleet, device, sampled_ms, reset_ms)
        })
        .sum()
}

async fn found_gpus(ledger: &dyn Ledger) -> Result<BTreeMap<String, Amounts>, LedgerError> {
    let names: BTreeMap<_, _> =
        ledger.gpus().await?.into_iter().map(|g| (g.key, g.gpu.uuid.to_string())).collect();
    let totals = ledger.gpu_totals().await?;
    Ok(totals.iter().filter_map(|t| Some((names.get(&t.gpu)?.clone(), Amounts::of_row(&t.total)))).collect())
}

async fn found_nodes(ledger: &dyn Ledger) -> Result<BTreeMap<String, u64>, Disagreement> {
    let all = HourRange { from: Hour(0), to: Hour(u32::MAX) };
    let mut energy: BTreeMap<NodeKey, u64> = BTreeMap::new();
    for (_, node, row) in ledger.node_hours(all).await? {
        *energy.entry(node).or_default() += row.energy()?.0;
    }
    let nodes = ledger.nodes().await?;
    Ok(nodes.into_iter().filter_map(|n| Some((n.name.to_string(), *energy.get(&n.key)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_MS: u64 = 60_000;

    #[test]
    fn the_truth_accounts_for_all_time_but_outages_and_for_all_energy() {
        let fleet = Fleet::ending_at(1_790_000_000_000, 30, 4, 8, 11);
        let truth = Truth::of(&fleet, STEP_MS);
        assert_eq!(truth.gpus.len(), 32);
        let observed: u64 = truth.gpus.values().map(Amounts::observed_ms).sum();
        let (off, away) = (fleet.faults.nodes_off[0].1, fleet.faults.agents_away[0].1);
        let unmonitored = (off.to_ms + STEP_MS - off.from_ms) + (away.to_ms - away.from_ms);
        assert_eq!(observed, 32 * (fleet.to_ms - fleet.from_ms) - 8 * unmonitored);
        let used: u64 =
            fleet.gpus().map(|at| energy_mj(&fleet, Device::Gpu(at), fleet.from_ms, fleet.to_ms)).sum();
        assert_eq!(truth.gpus.values().map(Amounts::energy_mj).sum::<u64>(), used);
        let nodes: u64 = truth.nodes_mj.values().sum();
        assert!(nodes > used, "hosts draw power too");
    }

    #[test]
    fn a_reset_swallows_the_energy_since_the_sample_before() {
        let fleet = Fleet::ending_at(1_790_000_000_000, 30, 4, 8, 11);
        let (at, reset_ms) = fleet.faults.counter_resets[0];
        let truth = Truth::of(&fleet, STEP_MS);
        let power_mw = fleet.moment(Device::Gpu(at), reset_ms / SLOT_MS).power_mw;
        assert_eq!(truth.gpus[&fleet.gpu_uuid(at)].estimated_mj, power_mw * 20);
        let estimated = truth.gpus.values().filter(|amounts| amounts.estimated_mj > 0).count();
        assert_eq!(estimated, 1);
    }

    #[test]
    fn every_state_occurs_in_a_month() {
        let truth = Truth::of(&Fleet::ending_at(1_790_000_000_000, 30, 4, 8, 11), STEP_MS);
        let sum = |of: fn(&Amounts) -> u64| truth.gpus.values().map(of).sum::<u64>();
        for ms in [sum(|a| a.active_ms), sum(|a| a.held_ms), sum(|a| a.free_ms), sum(|a| a.down_ms)] {
            assert!(ms > 0);
        }
    }

    #[test]
    fn the_truth_until_an_instant_grows_with_every_sample_and_stands_still_without() {
        let fleet = Fleet::of_bad_days(1_790_000_000_000, 2, 3, 2, 11);
        assert_eq!(Truth::until(&fleet, STEP_MS, fleet.to_ms), Truth::of(&fleet, STEP_MS));
        let observed = |truth: &Truth, at: At| truth.gpus[&fleet.gpu_uuid(at)].observed_ms();
        let (away_node, away) = fleet.faults.agents_away[0];
        let (off_node, off) = fleet.faults.nodes_off[0];
        assert_eq!(away_node, off_node, "the other two nodes are always seen");
        let (gone, seen) = (At { node: away_node, gpu: 0 }, At { node: (away_node + 1) % 3, gpu: 0 });
        for stretch in [away, off] {
            let before = Truth::until(&fleet, STEP_MS, stretch.from_ms);
            let within = Truth::until(&fleet, STEP_MS, stretch.from_ms + 5 * STEP_MS);
            assert_eq!(before.gpus[&fleet.gpu_uuid(gone)], within.gpus[&fleet.gpu_uuid(gone)]);
            assert_eq!(observed(&before, seen) + 5 * STEP_MS, observed(&within, seen));
        }
        let back = Truth::until(&fleet, STEP_MS, away.to_ms);
        let used = energy_mj(&fleet, Device::Gpu(gone), fleet.from_ms, away.to_ms);
        assert_eq!(back.gpus[&fleet.gpu_uuid(gone)].energy_mj(), used, "its counter went on");
        let (at, lost) = fleet.faults.gpus_lost[0];
        let energy = |until_ms| Truth::until(&fleet, STEP_MS, until_ms).gpus[&fleet.gpu_uuid(at)].energy_mj();
        assert_eq!(energy(lost.from_ms), energy(lost.to_ms), "a lost GPU shows no counter");
        let used = energy_mj(&fleet, Device::Gpu(at), fleet.from_ms, lost.to_ms + STEP_MS);
        assert_eq!(energy(lost.to_ms + STEP_MS), used, "it came back with its counter");
    }
}
