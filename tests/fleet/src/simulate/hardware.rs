//! Simulated hardware: GPUs and the meters of nodes, with their true energy and what their counters
//! say of it.

use crate::model::draw;

/// What a device does changes at most so often.
const SLOT_MS: u64 = 37_000;

/// A GPU, or a node's own meter.
#[derive(Debug, Clone)]
pub struct Device {
    seed: u64,
    id: u64,
    kind: Kind,
    has_counter: bool,
    powered: bool,
    /// Energy since the world began, and up to which instant it is summed.
    used_mj: u64,
    at_ms: u64,
    /// Energy when the counter began to count.
    base_mj: u64,
    /// How often the counter began anew.
    resets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gpu,
    /// A meter only counts: it is never lost.
    Meter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    Held,
    Free,
    Down,
}

/// A device at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Energy since the world began: what nobody can measure, and everything is compared with.
    pub used_mj: u64,
    /// `None` where the device has no counter, or is lost at present.
    pub counter_mj: Option<u64>,
    pub has_counter: bool,
    pub resets: u32,
    pub state: State,
    pub power_mw: u64,
    /// Which of the owners holds it while it is active or held.
    pub owner: u64,
}

impl Device {
    pub fn new(seed: u64, id: u64, kind: Kind, has_counter: bool) -> Self {
        Self { seed, id, kind, has_counter, powered: true, used_mj: 0, at_ms: 0, base_mj: 0, resets: 0 }
    }

    fn drawn(&self, slot: u64) -> u64 {
        draw(self.seed, &[self.id, slot])
    }

    fn state(&self, slot: u64) -> State {
        match self.drawn(slot) % 16 {
            _ if self.kind == Kind::Meter => State::Active,
            0..=8 => State::Active,
            9..=11 => State::Held,
            12..=14 => State::Free,
            _ => State::Down,
        }
    }

    /// Whole watts, so that every millisecond is whole millijoules.
    fn power_w(&self, slot: u64) -> u64 {
        let spread = self.drawn(slot) / 16;
        match self.state(slot) {
            State::Active => 300 + spread % 400,
            State::Held | State::Free | State::Down => 60 + spread % 30,
        }
    }

    /// Lets time pass until an instant.
    fn advance(&mut self, to_ms: u64) {
        while self.at_ms < to_ms {
            let slot = self.at_ms / SLOT_MS;
            let until = ((slot + 1) * SLOT_MS).min(to_ms);
            if self.powered {
                self.used_mj += self.power_w(slot) * (until - self.at_ms);
            }
            self.at_ms = until;
        }
    }

    pub fn show(&mut self, now_ms: u64) -> Shown {
        self.advance(now_ms);
        // What a sample reports is what the time before it was like.
        let slot = now_ms.saturating_sub(1) / SLOT_MS;
        let state = self.state(slot);
        let readable = self.has_counter && state != State::Down;
        Shown {
            used_mj: self.used_mj,
            counter_mj: readable.then_some(self.used_mj - self.base_mj),
            has_counter: self.has_counter,
            resets: self.resets,
            state,
            power_mw: self.power_w(slot) * 1_000,
            owner: self.drawn(slot) / 7 % 3,
        }
    }

    /// Power comes or goes. With it, the counter begins anew.
    pub fn set_power(&mut self, now_ms: u64, powered: bool) {
        self.advance(now_ms);
        self.powered = powered;
        if powered {
            self.reset(now_ms);
        }
    }

    /// The counter begins anew at zero.
    pub fn reset(&mut self, now_ms: u64) {
        self.advance(now_ms);
        self.base_mj = self.used_mj;
        self.resets += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_the_same_however_often_it_is_looked_at() {
        let (mut once, mut often) = (Device::new(5, 1, Kind::Gpu, true), Device::new(5, 1, Kind::Gpu, true));
        for at_ms in (0..500_000).step_by(777) {
            often.show(at_ms);
        }
        assert_eq!(once.show(500_000), often.show(500_000));
    }

    #[test]
    fn a_counter_begins_anew_with_power_and_energy_goes_on() {
        let mut device = Device::new(5, 1, Kind::Gpu, true);
        let before = device.show(100_000).used_mj;
        device.set_power(100_000, false);
        assert_eq!(device.show(200_000).used_mj, before, "off");
        device.set_power(200_000, true);
        let after = (0..100).map(|n| device.show(201_000 + n * 1_000)).find(|s| s.counter_mj.is_some());
        let after = after.unwrap();
        assert_eq!(after.counter_mj, Some(after.used_mj - before));
        assert_eq!(after.resets, 1);
    }
}
