//! One device's way through time: what it does now, and its energy so far.
//!
//! The same energy can be summed up from slots at any time ([`energy_mj`]); a track only remembers
//! where it is, so that following thirty days costs one step a slot.

use super::draw::between;
use super::{Device, Fleet, Moment, SLOT_MS, slot_before};
use std::sync::Arc;

/// Follows one device forward.
#[derive(Debug, Clone)]
pub struct Track {
    fleet: Arc<Fleet>,
    device: Device,
    slot: u64,
    moment: Moment,
    /// Energy from the beginning of the history to the beginning of the slot.
    before_mj: u64,
    /// What the counter showed when the history began.
    shown_mj: u64,
    /// Energy so far when the counter last began anew; nothing of `shown_mj` is left then.
    zeroed_mj: Option<u64>,
    /// When the counter is still to begin anew.
    starts: std::vec::IntoIter<u64>,
    next_start: Option<u64>,
}

/// What a device shows at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub moment: Moment,
    /// The slot that the moment belongs to.
    pub slot: u64,
    /// The hardware counter.
    pub counter_mj: u64,
    /// Energy since the history began, through all resets.
    pub total_mj: u64,
}

impl Track {
    /// At the beginning of the fleet's history.
    pub fn new(fleet: Arc<Fleet>, device: Device) -> Self {
        let mut starts = fleet.faults.counter_starts(device).into_iter();
        let next_start = starts.next();
        let slot = fleet.from_ms / SLOT_MS;
        let place = match device {
            Device::Host(node) => [u64::from(node), u64::MAX],
            Device::Gpu(at) => [u64::from(at.node), u64::from(at.gpu)],
        };
        // Up to a few weeks of use before the history.
        let shown_mj = between(1_000_000_000, 900_000_000_000, fleet.seed, &place);
        let moment = fleet.moment(device, slot);
        Self { fleet, device, slot, moment, before_mj: 0, shown_mj, zeroed_mj: None, starts, next_start }
    }

    /// What the device shows at an instant that is not before the one asked for last.
    pub fn show(&mut self, at_ms: u64) -> Shown {
        while let Some(start_ms) = self.next_start.filter(|&start_ms| start_ms < at_ms) {
            self.forward(start_ms);
            self.zeroed_mj = Some(self.total_mj(start_ms));
            self.next_start = self.starts.next();
        }
        self.forward(at_ms);
        let total_mj = self.total_mj(at_ms);
        let counter_mj = match self.zeroed_mj {
            Some(zeroed_mj) => total_mj - zeroed_mj,
            None => self.shown_mj + total_mj,
        };
        Shown { moment: self.moment, slot: self.slot, counter_mj, total_mj }
    }

    fn forward(&mut self, at_ms: u64) {
        while self.slot < slot_before(at_ms) {
            self.before_mj += self.moment.power_mw * (SLOT_MS / 1_000);
            self.slot += 1;
            self.moment = self.fleet.moment(self.device, self.slot);
        }
    }

    fn total_mj(&self, at_ms: u64) -> u64 {
        self.before_mj + self.moment.power_mw * at_ms.saturating_sub(self.slot * SLOT_MS) / 1_000
    }
}

/// Energy in a stretch of time whose ends are whole seconds, summed slot by slot.
pub fn energy_mj(fleet: &Fleet, device: Device, from_ms: u64, to_ms: u64) -> u64 {
    (from_ms / SLOT_MS..to_ms.div_ceil(SLOT_MS))
        .map(|slot| {
            let begin = from_ms.max(slot * SLOT_MS);
            let end = to_ms.min((slot + 1) * SLOT_MS);
            fleet.moment(device, slot).power_mw * (end.saturating_sub(begin) / 1_000)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{At, DAY_MS};

    fn fleet() -> Arc<Fleet> {
        Arc::new(Fleet::ending_at(1_790_000_000_000, 4, 3, 4, 3))
    }

    #[test]
    fn the_running_total_is_the_sum_of_the_slots_at_every_step() {
        let fleet = fleet();
        for at in fleet.gpus().map(Device::Gpu).chain([Device::Host(0), Device::Host(2)]) {
            let mut track = Track::new(Arc::clone(&fleet), at);
            for at_ms in (fleet.from_ms..=fleet.to_ms).step_by(3_660_000) {
                assert_eq!(track.show(at_ms).total_mj, energy_mj(&fleet, at, fleet.from_ms, at_ms));
            }
        }
    }

    #[test]
    fn how_often_one_looks_does_not_change_what_one_sees() {
        let fleet = fleet();
        let at = Device::Gpu(At { node: 1, gpu: 2 });
        let (mut often, mut seldom) =
            (Track::new(Arc::clone(&fleet), at), Track::new(Arc::clone(&fleet), at));
        for at_ms in (fleet.from_ms..=fleet.to_ms).step_by(60_000) {
            let seen = often.show(at_ms);
            if at_ms % 7_200_000 == 0 {
                assert_eq!(seen, seldom.show(at_ms));
            }
        }
    }

    #[test]
    fn a_counter_rises_by_the_energy_and_begins_anew_with_a_reset_and_a_boot() {
        let fleet = fleet();
        let (reset_at, reset_ms) = fleet.faults.counter_resets[0];
        let reset_at = Device::Gpu(reset_at);
        let mut track = Track::new(Arc::clone(&fleet), reset_at);
        let before = track.show(reset_ms);
        assert!(before.counter_mj > before.total_mj, "it did not begin at zero");
        let after = track.show(reset_ms + 40_000);
        assert_eq!(after.counter_mj, energy_mj(&fleet, reset_at, reset_ms, reset_ms + 40_000));
        assert_eq!(after.total_mj - before.total_mj, after.counter_mj);

        let (node, off) = fleet.faults.nodes_off[0];
        let booted = Device::Gpu(At { node, gpu: 0 });
        let mut track = Track::new(Arc::clone(&fleet), booted);
        track.show(off.from_ms);
        assert_eq!(
            track.show(off.to_ms + 60_000).counter_mj,
            energy_mj(&fleet, booted, off.to_ms, off.to_ms + 60_000)
        );
    }

    #[test]
    fn a_node_without_power_uses_none_and_a_lost_gpu_rests() {
        let fleet = fleet();
        let (node, off) = fleet.faults.nodes_off[0];
        for device in [Device::Host(node), Device::Gpu(At { node, gpu: 1 })] {
            assert_eq!(energy_mj(&fleet, device, off.from_ms, off.to_ms), 0);
        }
        let (lost, stretch) = fleet.faults.gpus_lost[0];
        let seconds = (stretch.to_ms - stretch.from_ms) / 1_000;
        let rest = fleet.product(lost.node).idle_mw() * seconds;
        assert_eq!(energy_mj(&fleet, Device::Gpu(lost), stretch.from_ms, stretch.to_ms), rest);
    }

    #[test]
    fn a_month_of_the_fleet_uses_a_plausible_amount() {
        let fleet = Fleet::ending_at(1_790_000_000_000, 30, 4, 8, 1);
        let kwh: u64 = fleet
            .gpus()
            .map(|at| energy_mj(&fleet, Device::Gpu(at), fleet.from_ms, fleet.to_ms))
            .sum::<u64>()
            / 3_600_000_000;
        // 16 H100 at 72 to 700 W and 16 L40S at 34 to 350 W for 720 hours.
        assert!((3_000..9_000).contains(&kwh), "{kwh} kWh");
        assert_eq!(fleet.to_ms - fleet.from_ms, 30 * DAY_MS);
    }
}
