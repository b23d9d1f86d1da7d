//! From a GPU's readings to its state and its hour rows.
//!
//! Every counted millisecond is exactly one of these, in order of precedence:
//!
//! | the sample says | state | owner |
//! |---|---|---|
//! | `gpu_up` is 0 | down | nobody |
//! | `gpu_up` is absent | not counted: unmonitored | |
//! | utilisation above 0, or unknown with compute processes | active | the holder, else unknown |
//! | utilisation and processes unknown | not counted: unmonitored | |
//! | nothing runs, somebody holds it | held idle | the holder |
//! | nothing runs, processes of unreadable owners | held idle | unknown |
//! | nothing runs, nobody holds it | free | nobody |
//! | nothing runs, unknown whether somebody holds it | not counted: unmonitored | |

use super::chain::{Energy, Origin, Point};
use super::coverage::Span;
use super::pending::Pending;
use super::rows::{Shares, by_hour, hours};
use super::state::DeviceMemory;
use super::{FoldError, Metered, Stamps};
use gpuledger_ledger::{GpuHour, GpuKey, Hour, OwnerKey};
use gpuledger_proto::catalogue as c;
use gpuledger_proto::column::DeviceColumns;
use gpuledger_proto::frame::Stamp;
use gpuledger_proto::reading::Reading;
use gpuledger_units::{Bytes, Millicelsius, Millijoules, Millis, Milliwatts, Ppm};

/// NVML's clock event reasons that mean less work than asked for: software power cap, hardware
/// slowdown, software and hardware thermal slowdown, hardware power brake (nvml.h,
/// `nvmlClocksEventReason…`).
pub(super) const THROTTLED_MASK: u64 = 0x04 | 0x08 | 0x20 | 0x40 | 0x80;

const NOBODY: &Shares = &[(OwnerKey::NOBODY, 1_000_000)];
const UNKNOWN: &Shares = &[(OwnerKey::UNKNOWN, 1_000_000)];

/// What a GPU was doing in a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Active,
    Held,
    Free,
    Down,
    /// Not known: the time is not counted.
    Unmonitored,
}

impl State {
    /// The time of a row that is counted in this state.
    pub fn time_of(self, row: &mut GpuHour) -> Option<&mut Millis> {
        match self {
            Self::Active => Some(&mut row.active_ms),
            Self::Held => Some(&mut row.held_ms),
            Self::Free => Some(&mut row.free_ms),
            Self::Down => Some(&mut row.down_ms),
            Self::Unmonitored => None,
        }
    }
}

/// One GPU while a batch is folded.
pub(super) struct Gpu<'a> {
    pub key: GpuKey,
    pub memory: &'a mut DeviceMemory,
    pub pending: &'a mut Pending,
    pub owners: &'a [Vec<(OwnerKey, u32)>],
}

/// The columns that the fold reads; of the others nothing is asked.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub up: Metered<'a>,
    pub counter: Metered<'a>,
    pub integrated: Metered<'a>,
    pub utilization: Metered<'a>,
    pub processes: Metered<'a>,
    pub holder: Metered<'a>,
    pub memory: Metered<'a>,
    pub power: Metered<'a>,
    pub power_instant: Metered<'a>,
    pub temperature: Metered<'a>,
    pub throttle: Metered<'a>,
}

impl<'a> Columns<'a> {
    fn of(device: &DeviceColumns<'a>) -> Self {
        let mut columns = Self::default();
        for (metric, cells) in device.iter() {
            let place = match metric {
                c::GPU_UP => &mut columns.up,
                c::GPU_ENERGY => &mut columns.counter,
                c::GPU_ENERGY_INTEGRATED => &mut columns.integrated,
                c::GPU_UTILIZATION => &mut columns.utilization,
                c::GPU_PROCESSES => &mut columns.processes,
                c::GPU_HOLDER => &mut columns.holder,
                c::GPU_MEMORY_USED => &mut columns.memory,
                c::GPU_POWER_AVERAGE => &mut columns.power,
                c::GPU_POWER_INSTANT => &mut columns.power_instant,
                c::GPU_TEMPERATURE => &mut columns.temperature,
                c::GPU_THROTTLE_REASONS => &mut columns.throttle,
                _ => continue,
            };
            place.set(cells);
        }
        columns
    }

    fn point(&self, sample: usize, stamp: Stamp) -> Point {
        Point {
            at_ms: stamp.wall_ms,
            boot_ms: stamp.boot_ms,
            counter_mj: self.counter.amount(sample),
            integrated_mj: self.integrated.amount(sample),
            counterless: self.counter.is_denied(sample),
        }
    }

    /// Power, as an average where it is told.
    pub fn drawn(&self, sample: usize) -> Option<u64> {
        self.power.amount(sample).or_else(|| self.power_instant.amount(sample))
    }

    /// What a sample says of the GPU for a time, beside state and energy.
    fn row(&self, sample: usize, state: State, time: Millis) -> Result<GpuHour, FoldError> {
        let mut row = GpuHour {
            power_max_mw: self.drawn(sample).map(Milliwatts),
            temperature_max_mc: self.temperature.at(sample).value().map(Millicelsius),
            ..GpuHour::default()
        };
        if let Some(of_state) = state.time_of(&mut row) {
            *of_state = time;
        }
        if let Some(utilization) = self.utilization.amount(sample) {
            row.busy_ppm_ms = Ppm(utilization.min(Ppm::WHOLE.0)).over(time)?;
            row.busy_known_ms = time;
        }
        if let Some(memory) = self.memory.amount(sample) {
            row.memory_byte_ms = Bytes(memory).over(time);
        }
        if self.throttle.amount(sample).is_some_and(|reasons| reasons & THROTTLED_MASK != 0) {
            row.throttled_ms = time;
        }
        Ok(row)
    }
}

impl<'a> Gpu<'a> {
    /// Folds the GPU's columns of one batch. Samples that are not usable are passed over.
    pub fn fold(
        &mut self,
        origin: Origin,
        stamps: &Stamps<'_>,
        device: &DeviceColumns<'_>,
    ) -> Result<(), FoldError> {
        let columns = Columns::of(device);
        let mut sample = 0;
        while sample < stamps.len() {
            let steady = self.fold_steady(origin, stamps, sample, &columns)?;
            if steady == 0 {
                self.fold_sample(origin, stamps, sample, &columns)?;
            }
            sample += steady.max(1);
        }
        Ok(())
    }

    fn fold_sample(
        &mut self,
        origin: Origin,
        stamps: &Stamps<'_>,
        sample: usize,
        columns: &Columns<'_>,
    ) -> Result<(), FoldError> {
        let Some(stamp) = stamps.usable(sample) else { return Ok(()) };
        let (state, shares) = self.classify(columns, sample)?;
        let point = columns.point(sample, stamp);
        let step = self.memory.advance(origin, point, state != State::Unmonitored);
        for &span in &step.time {
            for (hour, piece) in hours(span) {
                let row = columns.row(sample, state, Millis(piece.length()))?;
                self.pending.add_shared(hour, self.key, shares, &row)?;
            }
        }
        for energy in step.energy {
            self.add_energy(energy, state, shares)?;
        }
        if !step.time.is_empty() {
            let row = GpuHour { samples: 1, ..GpuHour::default() };
            let owner = shares.first().map_or(OwnerKey::NOBODY, |s| s.0);
            // A sample that ends an hour belongs to the hour that it measured.
            let hour = Hour::of(stamp.wall_ms.saturating_sub(1));
            self.pending.gpu_row(hour, self.key, owner)?.merge(&row)?;
        }
        self.pending.saw_gpu(self.key, stamp.wall_ms);
        Ok(())
    }

    pub(super) fn classify(
        &self,
        columns: &Columns<'_>,
        sample: usize,
    ) -> Result<(State, &'a Shares), FoldError> {
        match columns.up.at(sample).value() {
            None => return Ok((State::Unmonitored, NOBODY)),
            Some(0) => return Ok((State::Down, NOBODY)),
            Some(_) => {}
        }
        let holder = self.holder(columns.holder.at(sample))?;
        let processes = columns.processes.amount(sample);
        let busy = columns.utilization.amount(sample).or(processes);
        Ok(match (busy, holder, processes) {
            (Some(1..), Some(shares), _) if !shares.is_empty() => (State::Active, shares),
            (Some(1..), _, _) => (State::Active, UNKNOWN),
            (Some(0), Some(shares), _) if !shares.is_empty() => (State::Held, shares),
            (Some(0), Some(_), _) | (Some(0), None, Some(0)) => (State::Free, NOBODY),
            (Some(0), None, Some(_)) => (State::Held, UNKNOWN),
            (None, _, _) | (Some(0), None, None) => (State::Unmonitored, NOBODY),
        })
    }

    /// Who holds the GPU: the shares, none for nobody, or `None` when it is not known.
    fn holder(&self, reading: Reading<i64>) -> Result<Option<&'a Shares>, FoldError> {
        let Some(code) = reading.value() else { return Ok(None) };
        let owners: &'a [Vec<(OwnerKey, u32)>] = self.owners;
        let holdings = owners.len();
        match usize::try_from(code) {
            Ok(0) => Ok(Some(&[])),
            Ok(n) if n <= holdings => Ok(Some(&owners[n - 1])),
            _ => Err(FoldError::Holding { holding: code, holdings }),
        }
    }

    fn add_energy(&mut self, energy: Energy, state: State, shares: &Shares) -> Result<(), FoldError> {
        // Nobody knows who used what was used while nobody looked.
        let shares = if energy.gap { NOBODY } else { shares };
        for (hour, mj) in by_hour(energy.mj, energy.span) {
            let mj = Millijoules(mj);
            let mut row = GpuHour::default();
            if energy.estimated {
                row.estimated_mj = mj;
            } else {
                row.counter_mj = mj;
            }
            if energy.gap && !energy.estimated {
                row.gap_mj = mj;
            }
            if state == State::Active && !energy.gap {
                row.active_mj = mj;
            }
            self.pending.add_shared(hour, self.key, shares, &row)?;
        }
        self.memory.count(energy)?;
        let Span { from, to } = energy.span;
        self.pending.saw_gpu(self.key, from);
        self.pending.saw_gpu(self.key, to);
        Ok(())
    }
}
