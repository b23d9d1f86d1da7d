//! What a simulated fleet is and does, as pure functions of seed, device and time.
//!
//! Time is cut into slots of five minutes. Within a slot a GPU's state, load and power are constant,
//! so that its energy is power × time, exact in millijoules: a slot has 300 seconds, and a milliwatt
//! for a second is a millijoule. A sample at an instant speaks of the time just before it, as a
//! driver's averages do.

mod draw;
pub mod faults;
pub mod hardware;
pub mod load;
pub mod track;

pub use draw::{between, draw};
pub use faults::{Faults, Run};
pub use hardware::Product;
pub use load::{Tenancy, Work};
pub use track::Track;

/// Length of a slot.
pub const SLOT_MS: u64 = 300_000;
/// The ledger's rows and a statement's period are whole hours, so the history is too.
pub const HOUR_MS: u64 = 3_600_000;
/// Shortest history with faults: every one of them has its place in a day.
pub const DAY_MS: u64 = 86_400_000;

/// A GPU of the fleet by its places: node and GPU count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    pub node: u32,
    pub gpu: u32,
}

/// What draws power: a GPU, or the rest of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    Host(u32),
    Gpu(At),
}

/// What kind of fleet, when, and what goes wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    pub seed: u64,
    pub nodes: u32,
    pub gpus_per_node: u32,
    /// The history that is replayed: whole hours. Energy counts from here.
    pub from_ms: u64,
    pub to_ms: u64,
    pub faults: Faults,
}

/// What a GPU does during a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The node has no power.
    Off,
    /// Fallen off the bus.
    Lost,
    /// There and working, or waiting, as its load says.
    On(Work),
}

/// A slot of one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub state: State,
    pub power_mw: u64,
}

impl Fleet {
    /// A fleet whose history of `days` ends with the last whole hour before `now_ms`, with the usual
    /// mishaps.
    pub fn ending_at(now_ms: u64, days: u32, nodes: u32, gpus_per_node: u32, seed: u64) -> Self {
        let to_ms = now_ms / HOUR_MS * HOUR_MS;
        let from_ms = to_ms.saturating_sub(u64::from(days) * DAY_MS);
        let faults = Faults::usual(from_ms, to_ms, nodes, gpus_per_node);
        Self { seed, nodes, gpus_per_node, from_ms, to_ms, faults }
    }

    /// A fleet whose every day has mishaps, each day on other nodes; see [`Faults::daily`].
    pub fn of_bad_days(now_ms: u64, days: u32, nodes: u32, gpus_per_node: u32, seed: u64) -> Self {
        let quiet = Self::ending_at(now_ms, days, nodes, gpus_per_node, seed);
        let faults = Faults::daily(quiet.from_ms, days, nodes, gpus_per_node);
        Self { faults, ..quiet }
    }

    /// The runs of a node's agent as far as an instant of the history. None begins behind it.
    pub fn runs_until(&self, node: u32, step_ms: u64, until_ms: u64) -> Vec<Run> {
        let mut runs = self.faults.runs(node, self.from_ms, self.to_ms, step_ms);
        runs.retain(|run| run.first_ms <= until_ms);
        if let Some(last) = runs.last_mut() {
            last.last_ms = last.last_ms.min(until_ms);
        }
        runs
    }

    /// Every GPU, node by node.
    pub fn gpus(&self) -> impl Iterator<Item = At> + use<> {
        let gpus = self.gpus_per_node;
        (0..self.nodes).flat_map(move |node| (0..gpus).map(move |gpu| At { node, gpu }))
    }

    /// The product in a node: the first half of the nodes train, the others serve and are worked on.
    pub fn product(&self, node: u32) -> Product {
        if node < self.nodes.div_ceil(2) { Product::H100 } else { Product::L40s }
    }

    /// `sim-h100-01`: names say that it is a simulation.
    pub fn node_name(&self, node: u32) -> String {
        format!("sim-{}-{:02}", self.product(node).short_name(), node + 1)
    }

    /// A GPU's identity, the same for the same seed.
    pub fn gpu_uuid(&self, at: At) -> String {
        format!("GPU-simulated-{:x}-{:04}-{:02}", self.seed, at.node + 1, at.gpu)
    }

    /// What the device does during the slot with this number (slots count from the Unix epoch).
    pub fn moment(&self, device: Device, slot: u64) -> Moment {
        let from_ms = slot * SLOT_MS;
        let (Device::Host(node) | Device::Gpu(At { node, .. })) = device;
        if self.faults.node_off(node, from_ms) {
            return Moment { state: State::Off, power_mw: 0 };
        }
        match device {
            Device::Host(node) => {
                Moment { state: State::On(Work::default()), power_mw: load::host_power_mw(self, node, slot) }
            }
            Device::Gpu(at) if self.faults.gpu_lost(at, from_ms) => {
                Moment { state: State::Lost, power_mw: self.product(node).idle_mw() }
            }
            Device::Gpu(at) => {
                let work = load::work(self, at, slot);
                Moment { state: State::On(work), power_mw: load::power_mw(self, at, slot, work) }
            }
        }
    }
}

/// The slot that the time just before this instant belongs to.
pub const fn slot_before(at_ms: u64) -> u64 {
    at_ms.saturating_sub(1) / SLOT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        Fleet::ending_at(1_790_000_123_456, 30, 4, 8, 7)
    }

    #[test]
    fn the_history_is_whole_hours_and_ends_just_before_now() {
        let fleet = fleet();
        assert_eq!(fleet.to_ms - fleet.from_ms, 30 * DAY_MS);
        assert!(fleet.from_ms.is_multiple_of(HOUR_MS) && fleet.to_ms.is_multiple_of(HOUR_MS));
        assert!(1_790_000_123_456 - fleet.to_ms < HOUR_MS);
    }

    #[test]
    fn names_say_that_it_is_a_simulation_and_are_unique() {
        let fleet = fleet();
        let mut names: Vec<_> = fleet.gpus().map(|at| fleet.gpu_uuid(at)).collect();
        names.extend((0..4).map(|node| fleet.node_name(node)));
        assert!(names.iter().all(|name| name.contains("sim")));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), count), (36, 36));
        assert_eq!(fleet.node_name(0), "sim-h100-01");
        assert_eq!(fleet.node_name(3), "sim-l40s-04");
    }

    #[test]
    fn the_same_seed_gives_the_same_history_and_another_seed_another() {
        let (a, b) = (fleet(), Fleet { seed: 8, ..fleet() });
        let slots = a.from_ms / SLOT_MS..a.to_ms / SLOT_MS;
        let history = |fleet: &Fleet| -> Vec<Moment> {
            slots.clone().map(|slot| fleet.moment(Device::Gpu(At { node: 1, gpu: 5 }), slot)).collect()
        };
        assert_eq!(history(&a), history(&fleet()));
        assert_ne!(history(&a), history(&b));
    }

    #[test]
    fn a_sample_at_the_end_of_a_slot_speaks_of_that_slot() {
        assert_eq!(slot_before(SLOT_MS), 0);
        assert_eq!(slot_before(SLOT_MS + 1), 1);
    }
}
