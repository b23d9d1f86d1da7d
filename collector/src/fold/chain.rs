//! One device's chain of samples: which time and which energy a sample adds.
//!
//! A device has one *live* chain: the epoch that has reached furthest, by the boot-time clock within
//! one boot and by the wall clock across two. Within it and across a change
//! of epoch the hardware counter is differenced without a break, so that the energy of a restart, an
//! outage or dropped batches is counted once, as the difference over the gap. A chain that speaks of
//! older time (an old spool found again, an import) is *late*: it adds energy only for time whose
//! energy nobody has counted.
//!
//! Rules, in order:
//! 1. Time: the interval from the sample before, where it is not longer than the longest gap, and
//!    only the parts that were not counted yet. The time between two epochs counts too, but for
//!    imported power: what was used between two files is in neither.
//! 2. Counter, live: the whole increase. A counter that fell, or that belongs to another boot, was
//!    reset: its new value is the increase, and what the integrated power says beyond it is the
//!    estimated tail.
//!    A boot that had a live chain before and comes again is differenced from its own last value: two machines that report one device have two counters.
//! 3. Counter, late: the increase in proportion to the uncounted parts of its interval.
//! 4. Without a counter the same for integrated energy, which begins anew with each epoch and is
//!    therefore never differenced across two.

use super::coverage::Span;
use super::state::{DeviceMemory, HEADS_MAX, Head};
use gpuledger_proto::ids::Epoch;
use gpuledger_units::prorate;
use uuid::Uuid;

/// The segment that a sample comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub epoch: Epoch,
    pub boot: Option<Uuid>,
    /// Longer intervals between two samples are gaps.
    pub longest_gap_ms: u64,
}

/// What a chain needs of one sample.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub at_ms: u64,
    /// The boot-time clock, which never steps within a boot.
    pub boot_ms: u64,
    /// The hardware counter, if it was read.
    pub counter_mj: Option<u64>,
    /// The integrated energy, if it was told.
    pub integrated_mj: Option<u64>,
    /// The device has no counter, or none that may be read, so that integrated energy is what there
    /// is. A counter that merely failed once is waited for: its next difference holds everything.
    pub counterless: bool,
}

/// Energy that was used in `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Energy {
    pub mj: u64,
    pub span: Span,
    /// Integrated from power, not counted.
    pub estimated: bool,
    /// Used while nobody looked.
    pub gap: bool,
}

/// What a sample adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Time that belongs to the sample and was not counted before.
    pub time: Vec<Span>,
    pub energy: Vec<Energy>,
}

/// Where the hardware counter of a chain stands.
#[derive(Clone, Copy)]
struct Counter {
    /// Its last value and when it was read.
    value: Option<(u64, u64)>,
    /// The boot in which it was read.
    boot: Option<Uuid>,
    /// What its next difference holds that late chains have counted.
    owed_mj: u64,
}

/// How a sample stands to the chains that are known.
#[derive(Clone, Copy)]
enum Place {
    /// Continues the live chain.
    Live(Head),
    /// A late chain, or a new epoch, reaches beyond the live one and becomes it.
    Takeover { live: Head, own: Option<Head> },
    /// Continues a late chain.
    Late(Head),
    /// The first of a chain that adds nothing yet.
    First,
}

impl DeviceMemory {
    /// Takes one sample in. `timed` is false where the state of the device in it is unknown: its
    /// time then stays uncounted, its energy does not.
    pub fn advance(&mut self, origin: Origin, point: Point, timed: bool) -> Step {
        let place = self.place(origin, point);
        let mut step = Step::default();
        // Before time is claimed: what is free now is what late energy may be counted for.
        let counted = self.counter_energy(&place, origin, point, &mut step.energy);
        let integrated = self.integrated_energy(&place, origin, point, &mut step.energy);
        for energy in &step.energy {
            if energy.gap || !timed {
                self.bridged.claim(energy.span.from, energy.span.to, &mut Vec::new());
            }
        }
        // Only an import has no boot.
        let unbridged = matches!(place, Place::Takeover { own: None, .. })
            && origin.boot.is_none()
            && point.counterless
            && point.integrated_mj.is_some();
        if let Some(from) = place.previous_ms()
            && timed
            && !unbridged
            && point.at_ms.saturating_sub(from) <= origin.longest_gap_ms
        {
            self.covered.claim(from, point.at_ms, &mut step.time);
        }
        let by_counter_mj = step.energy.iter().filter(|e| !e.estimated).map(|e| e.mj).sum();
        let late_mj = match place {
            Place::Late(head) => head.late_mj.saturating_add(by_counter_mj),
            _ => counted.owed_mj,
        };
        let head = Head {
            epoch: origin.epoch,
            boot: counted.boot,
            at_ms: point.at_ms,
            clock: origin.boot.map(|boot| (boot, point.boot_ms)),
            counter: counted.value,
            integrated,
            was_live: match place {
                Place::Live(_) | Place::Takeover { .. } => true,
                Place::Late(head) => head.was_live,
                Place::First => self.heads.is_empty(),
            },
            late_mj,
        };
        self.keep(&place, head, origin);
        step
    }

    fn place(&self, origin: Origin, point: Point) -> Place {
        let own = self.heads.iter().position(|h| h.epoch == origin.epoch);
        let Some(&live) = self.heads.first() else { return Place::First };
        let beyond = live.is_before(origin, point);
        match own {
            Some(0) => Place::Live(live),
            Some(at) if beyond => Place::Takeover { live, own: Some(self.heads[at]) },
            Some(at) => Place::Late(self.heads[at]),
            None if beyond => Place::Takeover { live, own: None },
            None => Place::First,
        }
    }

    /// Energy by the hardware counter. Gives the counter's new place in the chain.
    fn counter_energy(
        &self,
        place: &Place,
        origin: Origin,
        point: Point,
        energy: &mut Vec<Energy>,
    ) -> Counter {
        let base = self.base(place, origin);
        let Some(value) = point.counter_mj else {
            // What integration counts from here on must not be in a later difference of the counter.
            let waits = base.value.is_some() && !point.counterless;
            return if waits { base } else { Counter { value: None, boot: origin.boot, owed_mj: 0 } };
        };
        let read = Counter { value: Some((value, point.at_ms)), boot: origin.boot, owed_mj: 0 };
        let Some((before, since)) = base.value else { return read };
        let rebooted = matches!((base.boot, origin.boot), (Some(then), Some(now)) if then != now);
        let reset = rebooted || value < before;
        let risen = if reset { value } else { value - before };
        let increase = risen.saturating_sub(base.owed_mj);
        let span = Span { from: since.min(point.at_ms), to: point.at_ms };
        let whole =
            Energy { mj: increase, span, estimated: false, gap: span.length() > origin.longest_gap_ms };
        if let Place::Late(_) = place {
            self.free_parts(whole, energy);
        } else if increase > 0 || whole.gap {
            energy.push(whole);
        }
        if let (true, &Place::Live(head)) = (reset, place) {
            energy.extend(reset_tail(head, point, value, whole));
        }
        read
    }

    /// What the next value of the counter is differenced from.
    fn base(&self, place: &Place, origin: Origin) -> Counter {
        let from = |head: Head, owed_mj| Counter { value: head.counter, boot: head.boot, owed_mj };
        match *place {
            Place::Live(head) => from(head, head.late_of(origin)),
            Place::Late(head) => from(head, 0),
            Place::Takeover { live, own } => match self.took_turns(live, origin) {
                // What the chain itself counted late is in its value.
                Some(before) => from(before, self.late_of_boot(origin) - before.late_of(origin)),
                None if live.rebooted(origin) => from(live, self.late_of_boot(origin)),
                None => from(live, live.late_of(origin) + own.map_or(0, |own| own.late_mj)),
            },
            Place::First => Counter { value: None, boot: origin.boot, owed_mj: 0 },
        }
    }

    /// The chain that goes on where two boots take turns, as where two machines report one device. Each
    /// has a counter of its own, which was counted while its chain was live: no reset is between. The
    /// last of a boot's chains is told by the boot's clock; the wall clock may have been set back.
    fn took_turns(&self, live: Head, origin: Origin) -> Option<Head> {
        if !live.rebooted(origin) {
            return None;
        }
        let boot_ms =
            |head: &Head| head.clock.filter(|clock| Some(clock.0) == origin.boot).map(|clock| clock.1);
        let counted = |head: &&Head| head.was_live && head.boot == origin.boot && head.counter.is_some();
        self.heads.iter().filter(counted).max_by_key(|head| boot_ms(head)).copied()
    }

    /// What late chains have counted of a boot already.
    fn late_of_boot(&self, origin: Origin) -> u64 {
        self.heads.iter().map(|head| head.late_of(origin)).sum()
    }

    /// Energy by integration, where there is no counter to go by.
    fn integrated_energy(
        &self,
        place: &Place,
        origin: Origin,
        point: Point,
        energy: &mut Vec<Energy>,
    ) -> Option<(u64, u64)> {
        let own = place.own();
        let base = own.and_then(|head| head.integrated);
        let Some(value) = point.integrated_mj else { return base };
        let counter_begins = point.counter_mj.is_some() && own.is_some_and(|head| head.counter.is_none());
        if !(point.counterless || counter_begins) {
            return Some((value, point.at_ms));
        }
        if let Some((before, since)) = base
            && value > before
        {
            let span = Span { from: since.min(point.at_ms), to: point.at_ms };
            let gap = span.length() > origin.longest_gap_ms;
            let whole = Energy { mj: value - before, span, estimated: true, gap };
            match place {
                Place::Live(_) => energy.push(whole),
                _ => self.free_parts(whole, energy),
            }
        }
        Some((value, point.at_ms))
    }

    /// The parts of an energy that fall on time whose energy nobody has counted.
    fn free_parts(&self, whole: Energy, energy: &mut Vec<Energy>) {
        let Span { from, to } = whole.span;
        let mut uncovered = Vec::new();
        self.covered.uncovered(from, to, &mut uncovered);
        let mut free = Vec::new();
        for span in uncovered {
            self.bridged.uncovered(span.from, span.to, &mut free);
        }
        for span in free {
            let until = |ms: u64| prorate(whole.mj, ms - from, to - from);
            energy.push(Energy { mj: until(span.to) - until(span.from), span, ..whole });
        }
    }

    /// The live chain stands first. What late chains of its boot have counted was taken off its
    /// difference, or is owed by it from now on.
    fn keep(&mut self, place: &Place, head: Head, origin: Origin) {
        if let (Place::Live(_), Some(live)) = (place, self.heads.first_mut()) {
            *live = head;
            return;
        }
        self.heads_may_change();
        if let Place::Takeover { .. } = place {
            let of_boot = |head: &&mut Head| head.clock.map(|(boot, _)| boot) == origin.boot;
            self.heads.iter_mut().filter(of_boot).for_each(|head| head.late_mj = 0);
        }
        let behind_live = match place {
            Place::Live(_) | Place::Takeover { .. } => false,
            Place::Late(_) => true,
            Place::First => !self.heads.is_empty(),
        };
        self.heads.retain(|h| h.epoch != head.epoch);
        self.heads.insert(usize::from(behind_live).min(self.heads.len()), head);
        self.heads.truncate(HEADS_MAX);
    }
}

/// What was used between the last reading and the reset, by integrated power: a mark, not a count.
fn reset_tail(head: Head, point: Point, value: u64, whole: Energy) -> Option<Energy> {
    let integrated = point.integrated_mj?.checked_sub(head.integrated?.0)?;
    let tail = integrated.checked_sub(value).filter(|&mj| mj > 0)?;
    Some(Energy { mj: tail, estimated: true, ..whole })
}

impl Place {
    /// When the sample before was taken, in the chain that this one continues.
    fn previous_ms(&self) -> Option<u64> {
        match self {
            Self::Live(head) | Self::Late(head) | Self::Takeover { own: Some(head), .. } => Some(head.at_ms),
            Self::Takeover { live, own: None } => Some(live.at_ms),
            Self::First => None,
        }
    }

    /// The sample's own epoch, where it was seen before.
    fn own(&self) -> Option<Head> {
        match *self {
            Self::Live(head) | Self::Late(head) => Some(head),
            Self::Takeover { own, .. } => own,
            Self::First => None,
        }
    }
}

impl Head {
    /// Whether a sample was taken after this chain's last one. Within one boot its clock tells, however
    /// often the wall clock was set; else the wall clock has to.
    fn is_before(&self, origin: Origin, point: Point) -> bool {
        match (self.clock, origin.boot) {
            (Some((boot, at_ms)), Some(now)) if boot == now => point.boot_ms > at_ms,
            _ => point.at_ms >= self.at_ms,
        }
    }

    /// What was counted late of the boot that a sample comes from. It is a part of the counter's value.
    fn late_of(&self, origin: Origin) -> u64 {
        if self.clock.map(|(boot, _)| boot) == origin.boot { self.late_mj } else { 0 }
    }

    fn rebooted(&self, origin: Origin) -> bool {
        matches!((self.boot, origin.boot), (Some(then), Some(now)) if then != now)
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
