//! What a chain of samples of one device adds up to, looked at as a whole.

use crate::simulate::hardware::{Shown, State};
use gpuledger_proto::ids::Epoch;
use std::collections::BTreeSet;
use uuid::Uuid;

/// A sample of one device that is in the ledger.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub machine: usize,
    pub epoch: Epoch,
    pub boot: Uuid,
    pub boot_ms: u64,
    pub wall_ms: u64,
    pub true_ms: u64,
    pub shown: Shown,
    pub integrated_mj: u64,
}

/// Amounts of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    pub counter_mj: u64,
    pub estimated_mj: u64,
    pub active_ms: u64,
    pub held_ms: u64,
    pub free_ms: u64,
    pub down_ms: u64,
    pub samples: u64,
}

impl Amounts {
    pub const fn observed_ms(&self) -> u64 {
        self.active_ms + self.held_ms + self.free_ms + self.down_ms
    }

    pub const fn energy_mj(&self) -> u64 {
        self.counter_mj + self.estimated_mj
    }

    fn state(&mut self, state: State) -> &mut u64 {
        match state {
            State::Active => &mut self.active_ms,
            State::Held => &mut self.held_ms,
            State::Free => &mut self.free_ms,
            State::Down => &mut self.down_ms,
        }
    }
}

/// Time as a set.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<(u64, u64)>);

impl Times {
    /// Adds `[from, to)`; gives how much of it is new.
    pub fn add(&mut self, from: u64, to: u64) -> u64 {
        if from >= to {
            return 0;
        }
        let before = self.length();
        let (mut low, mut high) = (from, to);
        self.0.retain(|&(begin, end)| {
            let apart = end < low || begin > high;
            if !apart {
                (low, high) = (low.min(begin), high.max(end));
            }
            apart
        });
        // Joining may have made it reach others, which then touch it and change no length.
        self.0.push((low, high));
        self.length() - before
    }

    pub fn length(&self) -> u64 {
        self.0.iter().map(|(begin, end)| end - begin).sum()
    }
}

/// Whether each sample came after the one before, as far as clocks can tell: then everything that
/// is to be counted is exactly known.
pub fn is_in_order(chain: &[Seen]) -> bool {
    let mut epochs = BTreeSet::new();
    chain.windows(2).all(|pair| {
        let [before, now] = pair else { return true };
        let same_epoch = before.epoch == now.epoch;
        let later = if before.boot == now.boot {
            now.boot_ms > before.boot_ms
        } else {
            now.wall_ms >= before.wall_ms && now.true_ms > before.true_ms
        };
        // An epoch that comes back after another one was late.
        later && (same_epoch || (epochs.insert(before.epoch) && !epochs.contains(&now.epoch)))
    })
}

/// What a chain in order adds up to.
pub fn exact(chain: &[Seen], longest_gap_ms: u64) -> Amounts {
    let mut amounts = Amounts::default();
    let mut covered = Times::default();
    for pair in chain.windows(2) {
        let [before, now] = pair else { continue };
        if now.wall_ms.saturating_sub(before.wall_ms) <= longest_gap_ms {
            let new_ms = covered.add(before.wall_ms, now.wall_ms);
            *amounts.state(now.shown.state) += new_ms;
            amounts.samples += u64::from(new_ms > 0);
        }
    }
    add_counted(chain, &mut amounts);
    add_estimated(chain, &mut amounts);
    amounts
}

/// Energy by the counter: every increase, and after a reset what the counter shows.
fn add_counted(chain: &[Seen], amounts: &mut Amounts) {
    let read: Vec<(&Seen, u64)> = chain.iter().filter_map(|s| Some((s, s.shown.counter_mj?))).collect();
    for pair in read.windows(2) {
        let [(before, old), (now, new)] = pair else { continue };
        let reset = before.boot != now.boot || new < old;
        amounts.counter_mj += if reset { *new } else { new - old };
    }
}

/// Energy that no counter holds: all of a device without one, and what a reset swallowed while the
/// same agent looked.
fn add_estimated(chain: &[Seen], amounts: &mut Amounts) {
    let mut last_read: Option<(&Seen, u64)> = None;
    let mut last_told: Option<&Seen> = None;
    for now in chain {
        if now.shown.state == State::Down {
            // Everything of a lost GPU is absent.
            continue;
        }
        let told = last_told.filter(|before| before.epoch == now.epoch);
        let increase = told.map(|before| now.integrated_mj.saturating_sub(before.integrated_mj));
        if !now.shown.has_counter {
            amounts.estimated_mj += increase.unwrap_or(0);
        } else if let (Some(value), Some((before, old))) = (now.shown.counter_mj, last_read)
            && (before.boot != now.boot || value < old)
            && let Some(increase) = increase
        {
            amounts.estimated_mj += increase.saturating_sub(value);
        }
        if let Some(value) = now.shown.counter_mj {
            last_read = Some((now, value));
        }
        last_told = Some(now);
    }
}

/// Time that a chain in any order adds up to, at least and at most. Within an epoch every interval
/// counts; between two, one may count that ends where an epoch begins.
pub fn time_bounds(chain: &[Seen], longest_gap_ms: u64) -> (u64, u64) {
    let mut sure = Times::default();
    let mut last = std::collections::BTreeMap::new();
    let mut firsts = Vec::new();
    for now in chain {
        match last.insert(now.epoch, now.wall_ms) {
            Some(before) if now.wall_ms.saturating_sub(before) <= longest_gap_ms => {
                sure.add(before, now.wall_ms);
            }
            Some(_) => {}
            None => firsts.push(now.wall_ms),
        }
    }
    let mut possible = sure.clone();
    for first in firsts {
        let near = chain.iter().map(|s| s.wall_ms).filter(|&at| at < first && first - at <= longest_gap_ms);
        if let Some(from) = near.min() {
            possible.add(from, first);
        }
    }
    (sure.length(), possible.length())
}

/// Energy that was truly used between the first and the last sample, whatever their order.
pub fn used_mj(chain: &[Seen]) -> u64 {
    let used = chain.iter().map(|s| s.shown.used_mj);
    used.clone().max().unwrap_or(0) - used.min().unwrap_or(0)
}
