//! Runs of samples between which nothing happens but use: the chain goes on without a gap, a reset, a
//! change of owner or state, or the end of an hour. That is nearly everything that a fleet tells.
//!
//! What such a run adds is the sum of what its samples add, so that it goes into the row, the coverage and
//! the chain at once. Whatever is not steady is folded sample by sample; so either way gives the same, and
//! a test says so.

use super::chain::{Energy, Origin};
use super::coverage::Span;
use super::gpu::{Columns, Gpu, State, THROTTLED_MASK};
use super::state::{DeviceMemory, Head};
use super::{FoldError, Stamps};
use gpuledger_ledger::{GpuHour, Hour};
use gpuledger_units::{ByteMillis, Bytes, Millicelsius, Millijoules, Millis, Milliwatts, Ppm, PpmMillis};
use uuid::Uuid;

#[cfg(test)]
thread_local! {
    /// No run is folded at once.
    pub(super) static BY_SAMPLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// Samples of the longest run so far.
    pub(super) static LONGEST: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Where a chain stands that may go on steadily.
#[derive(Clone, Copy)]
struct Standing {
    at_ms: u64,
    counter_mj: u64,
    integrated: Option<(u64, u64)>,
}

impl DeviceMemory {
    /// Where the live chain stands, if it is this epoch's, its time and its counter were both told by the
    /// last sample, and no late chain has counted ahead of it.
    fn standing(&self, origin: Origin) -> Option<Standing> {
        let head = self.heads.first()?;
        let goes_on = head.epoch == origin.epoch
            && head.boot == origin.boot
            && head.late_mj == 0
            && self.covered.ends_at(head.at_ms);
        let (counter_mj, counted_ms) = head.counter.filter(|_| goes_on)?;
        (counted_ms == head.at_ms).then_some(Standing {
            at_ms: head.at_ms,
            counter_mj,
            integrated: head.integrated,
        })
    }

    /// The chain has gone on steadily to there.
    fn go_on(&mut self, to: Standing, boot: Option<(Uuid, u64)>) {
        self.covered.extend(to.at_ms);
        if let Some(head) = self.heads.first_mut() {
            *head = Head {
                at_ms: to.at_ms,
                clock: boot,
                counter: Some((to.counter_mj, to.at_ms)),
                integrated: to.integrated,
                was_live: true,
                ..*head
            };
        }
    }
}

impl Gpu<'_> {
    /// Folds as many samples as are steady from here on, and says how many those are.
    pub(super) fn fold_steady(
        &mut self,
        origin: Origin,
        stamps: &Stamps<'_>,
        first: usize,
        columns: &Columns<'_>,
    ) -> Result<usize, FoldError> {
        #[cfg(test)]
        if BY_SAMPLE.get() {
            return Ok(0);
        }
        let Some(begin) = self.memory.standing(origin) else { return Ok(0) };
        let (state, shares) = self.classify(columns, first)?;
        let [(owner, _)] = *shares else { return Ok(0) };
        if state == State::Unmonitored {
            return Ok(0);
        }
        let hour = Hour::of(begin.at_ms);
        let mut at = begin;
        let mut sums = Sums::default();
        let (mut sample, mut boot_ms) = (first, 0);
        // Time that was seen before the first sample is told only where energy was used in it.
        let mut seen_from_ms = begin.at_ms;
        while let Some(stamp) = stamps.usable(sample) {
            let passed_ms = stamp.wall_ms.wrapping_sub(at.at_ms);
            let follows = stamp.wall_ms > at.at_ms
                && passed_ms <= origin.longest_gap_ms
                && stamp.wall_ms <= hour.end_ms();
            let counter = columns.counter.amount(sample).filter(|&counter| counter >= at.counter_mj);
            let Some(counter_mj) = counter.filter(|_| follows) else { break };
            if sample > first {
                let now = self.classify(columns, sample)?;
                // Nearly always the very same shares, which need not be compared one by one.
                if now.0 != state || !(std::ptr::eq(now.1, shares) || now.1 == shares) {
                    break;
                }
            }
            if sample == first && counter_mj == at.counter_mj {
                seen_from_ms = stamp.wall_ms;
            }
            sums.add(columns, sample, passed_ms);
            boot_ms = stamp.boot_ms;
            at = Standing {
                at_ms: stamp.wall_ms,
                counter_mj,
                integrated: columns.integrated.amount(sample).map(|mj| (mj, stamp.wall_ms)).or(at.integrated),
            };
            sample += 1;
        }
        let samples = sample - first;
        #[cfg(test)]
        LONGEST.set(LONGEST.get().max(samples));
        if samples > 0 {
            let span = Span { from: begin.at_ms, to: at.at_ms };
            let used = Energy { mj: at.counter_mj - begin.counter_mj, span, estimated: false, gap: false };
            let row = sums.row(state, span, used.mj, samples);
            self.pending.gpu_row(hour, self.key, owner)?.merge(&row)?;
            self.memory.count(used)?;
            self.memory.go_on(at, origin.boot.map(|boot| (boot, boot_ms)));
            self.pending.saw_gpu(self.key, seen_from_ms);
            self.pending.saw_gpu(self.key, at.at_ms);
        }
        Ok(samples)
    }
}

/// What the samples of a run say beside state, time and energy.
#[derive(Default)]
struct Sums {
    busy_ppm_ms: u64,
    busy_known_ms: u64,
    memory_byte_ms: u128,
    throttled_ms: u64,
    power_max_mw: Option<u64>,
    temperature_max_mc: Option<i64>,
}

impl Sums {
    #[inline]
    fn add(&mut self, columns: &Columns<'_>, sample: usize, passed_ms: u64) {
        if let Some(utilization) = columns.utilization.amount(sample) {
            // A run is at most an hour: 3.6 million times a million.
            self.busy_ppm_ms += utilization.min(Ppm::WHOLE.0) * passed_ms;
            self.busy_known_ms += passed_ms;
        }
        if let Some(memory) = columns.memory.amount(sample) {
            self.memory_byte_ms += Bytes(memory).over(Millis(passed_ms)).0;
        }
        if columns.throttle.amount(sample).is_some_and(|reasons| reasons & THROTTLED_MASK != 0) {
            self.throttled_ms += passed_ms;
        }
        self.power_max_mw = self.power_max_mw.max(columns.drawn(sample));
        self.temperature_max_mc = self.temperature_max_mc.max(columns.temperature.at(sample).value());
    }

    /// All that a run adds to its row.
    fn row(&self, state: State, span: Span, used_mj: u64, samples: usize) -> GpuHour {
        let mut row = GpuHour {
            counter_mj: Millijoules(used_mj),
            busy_ppm_ms: PpmMillis(self.busy_ppm_ms),
            busy_known_ms: Millis(self.busy_known_ms),
            memory_byte_ms: ByteMillis(self.memory_byte_ms),
            throttled_ms: Millis(self.throttled_ms),
            power_max_mw: self.power_max_mw.map(Milliwatts),
            temperature_max_mc: self.temperature_max_mc.map(Millicelsius),
            samples: samples as u64,
            ..GpuHour::default()
        };
        if let Some(time) = state.time_of(&mut row) {
            *time = Millis(span.length());
        }
        if state == State::Active {
            row.active_mj = Millijoules(used_mj);
        }
        row
    }
}
