//! One sample a tick: all GPUs and the host, put together into a frame.
//!
//! The sampler runs on its own thread and keeps to the grid of the boot clock. Nothing that it
//! calls can block for longer than the deadline of a sample, and it never waits for the disk: a
//! frame that the bounded channel has no room for is dropped and counted.
//!
//! Invariant: a frame has as many devices as the inventory that was handed on last.

use crate::clock::{Clock, Grid, WallClock};
use crate::collect::gpu::roster::{GpuReport, Roster};
use crate::collect::power::NodePower;
use crate::collect::{Readings, Source};
use crate::events::{Counters, FrameDropped, PauseChanged, PauseUnanswered, SampleTaken, SamplesMissed};
use crate::meter::Meter;
use crate::pause::Desk;
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::frame::{DeviceFrame, Frame, Host, Inventory};
use gpuledger_proto::reading::{Absence, Reading};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A GPU has this part of the interval to answer, so that the next sample is in time…
const DEADLINE_PER_MILLE: u64 = 800;
/// …and never longer than this, so that a hanging GPU is noticed at slow rates too.
const DEADLINE_MS_MAX: u64 = 2_000;
/// A library that takes longer than this to open joins later: host readings do not wait for it.
pub const SETTLE: Duration = Duration::from_secs(5);
/// Power is integrated over gaps up to this length, or two intervals if that is more.
const METER_GAP_MS: u64 = 10_000;

/// A frame, and the inventory where it is a new one from this frame on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub inventory: Option<Inventory>,
    pub frame: Frame,
}

pub struct Sampler {
    clock: Arc<dyn Clock>,
    interval_ms: u64,
    host: Box<dyn Source + Send>,
    facts: Host,
    roster: Roster,
    meters: Vec<Meter>,
    power: NodePower,
    /// As handed on last; `None` before the first sample.
    inventory: Option<Inventory>,
    counters: Arc<Counters>,
    /// Where a pause is asked for; `None` where nobody can ask.
    desk: Option<Desk>,
    /// Whether the last answer could not be written.
    unanswered: bool,
}

impl Sampler {
    pub fn new(
        clock: Arc<dyn Clock>,
        interval_ms: u64,
        (host, facts): (Box<dyn Source + Send>, Host),
        roster: Roster,
        counters: Arc<Counters>,
    ) -> Self {
        let power = NodePower::new(meter_gap_ms(interval_ms), facts.cpus);
        let meters = Vec::new();
        Self {
            clock,
            interval_ms,
            host,
            facts,
            roster,
            meters,
            power,
            inventory: None,
            counters,
            desk: None,
            unanswered: false,
        }
    }

    /// The GPUs behind the samples.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Waits until it is known which GPUs there are, so that the first frame has them.
    pub fn settle(&mut self) {
        self.roster.settle(SETTLE);
    }

    /// Looks at this desk, with every sample, for somebody who wants the driver for himself.
    #[must_use]
    pub fn with_desk(mut self, desk: Desk) -> Self {
        self.desk = Some(desk);
        self.obey();
        self
    }

    /// Gives the driver up or takes it back, as it is wanted.
    fn obey(&mut self) {
        let Some(desk) = &self.desk else { return };
        let clock = Arc::clone(&self.clock);
        let wanted = desk.wanted(&WallClock::of(move || clock.now().wall_ms));
        let was_paused = self.roster.is_paused();
        match wanted {
            Some(_) => self.roster.pause(),
            None => self.roster.resume(),
        }
        let released = wanted.filter(|_| self.roster.is_released());
        // The answer begins when the driver is free and ends with the pause.
        if desk.answered() != released {
            let written = desk.answer(released);
            if let Some(error) = written.as_ref().err().filter(|_| !self.unanswered) {
                PauseUnanswered { error }.emit();
            }
            self.unanswered = written.is_err();
        }
        if was_paused != wanted.is_some() {
            PauseChanged { until_ms: wanted }.emit();
        }
    }

    /// Takes one sample now.
    pub fn sample(&mut self) -> Sample {
        let stamp = self.clock.now();
        let wait_ms = (self.interval_ms * DEADLINE_PER_MILLE / 1_000).min(DEADLINE_MS_MAX);
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        self.roster.begin();
        let paused = self.roster.is_paused();
        let mut node = self.read_host();
        let reports = self.roster.finish(deadline);
        self.power.complete(&mut node, power_of_all(&reports), stamp.boot_ms);
        let mut devices = vec![DeviceFrame { readings: node.into_values(), holding: None }];
        for (position, report) in reports.into_iter().enumerate() {
            let meter = Meter::new(meter_gap_ms(self.interval_ms));
            match self.meters.get_mut(position) {
                None => self.meters.push(meter),
                // Another GPU in the place of one that is gone: its energy begins with it.
                Some(old) if self.roster.is_new(position) => *old = meter,
                Some(_) => {}
            }
            let mut frame = gpu_frame(report, &mut self.meters[position], stamp.boot_ms);
            if paused {
                unmonitored(&mut frame);
            }
            devices.push(frame);
        }
        SampleTaken.emit(&self.counters);
        Sample { inventory: self.changed_inventory(), frame: Frame { stamp, devices } }
    }

    fn read_host(&mut self) -> Readings {
        let mut readings = Readings::default();
        // The host source has no fault of the whole host: what it can't read, it says one by one.
        let _ = self.host.read(&mut readings);
        readings
    }

    fn changed_inventory(&mut self) -> Option<Inventory> {
        let host = Host { driver_version: self.roster.driver().map(str::to_owned), ..self.facts.clone() };
        let now = Inventory { host, gpus: self.roster.gpus().cloned().collect() }.cleaned();
        if self.inventory.as_ref() == Some(&now) {
            return None;
        }
        self.inventory = Some(now.clone());
        Some(now)
    }

    /// Samples on the grid until it is stopped and unparked. `alive` is called after each sample.
    pub fn run(mut self, out: &SyncSender<Sample>, stop: &CancellationToken, alive: impl Fn()) {
        let mut grid = Grid::starting(self.interval_ms, self.clock.now().boot_ms);
        while !stop.is_cancelled() {
            if self.clock.now().boot_ms < grid.due_ms() {
                self.clock.sleep_until(grid.due_ms());
                continue;
            }
            self.obey();
            let sample = self.sample();
            match out.try_send(sample) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    // The next frame has to bring the inventory along again.
                    self.inventory = None;
                    FrameDropped.emit(&self.counters);
                }
                Err(TrySendError::Disconnected(_)) => return,
            }
            alive();
            let count = grid.advance(self.clock.now().boot_ms);
            if count > 0 {
                SamplesMissed { count }.emit(&self.counters);
            }
        }
    }
}

fn gpu_frame(report: GpuReport, meter: &mut Meter, boot_ms: u64) -> DeviceFrame {
    let GpuReport { up, mut readings, holding } = report;
    let energy = meter.read(boot_ms, power(&readings));
    readings.put(metric::GPU_UP, Reading::Value(i64::from(up)));
    readings.put(metric::GPU_ENERGY_INTEGRATED, energy);
    DeviceFrame { readings: readings.into_values(), holding: Some(holding) }
}

/// A GPU that we do not look at is neither up nor down.
fn unmonitored(frame: &mut DeviceFrame) {
    if let Ok(at) = frame.readings.binary_search_by_key(&metric::GPU_UP, |reading| reading.0) {
        frame.readings[at].1 = Reading::Absent(Absence::Stale);
    }
}

fn meter_gap_ms(interval_ms: u64) -> u64 {
    METER_GAP_MS.max(interval_ms * 2)
}

/// The power of all GPUs together: of every one, or of none.
fn power_of_all(reports: &[GpuReport]) -> Reading<i64> {
    let mut sum: i64 = 0;
    for report in reports {
        match power(&report.readings) {
            Reading::Value(power_mw) => sum = sum.saturating_add(power_mw),
            absent @ Reading::Absent(_) => return absent,
        }
    }
    Reading::Value(sum)
}

/// The power to integrate: the average where there is one, since it misses nothing in between.
fn power(readings: &Readings) -> Reading<i64> {
    let absent = Reading::Absent(Absence::Unsupported);
    let average = readings.get(metric::GPU_POWER_AVERAGE).unwrap_or(absent);
    match (average, readings.get(metric::GPU_POWER_INSTANT)) {
        (Reading::Absent(_), Some(instant @ Reading::Value(_))) => instant,
        _ => average,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::gpu::keeper::{Keeper, Pauses};
    use crate::collect::gpu::simulated::{Machine, Mood};
    use crate::collect::gpu::{Fault, LibraryFault};
    use crate::collect::workload::Workload;
    use gpuledger_proto::frame::{Holding, Stamp};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::sync_channel;

    /// A clock that jumps to where somebody waits for.
    #[derive(Default)]
    struct JumpingClock(AtomicU64);

    impl Clock for JumpingClock {
        fn now(&self) -> Stamp {
            let boot_ms = self.0.load(Ordering::Relaxed);
            Stamp { wall_ms: 1_700_000_000_000 + boot_ms, boot_ms }
        }

        fn sleep_until(&self, boot_ms: u64) {
            self.0.store(boot_ms, Ordering::Relaxed);
        }
    }

    struct Nobody;

    impl Workload for Nobody {
        fn holding(&mut self, _processes: Reading<Vec<u32>>) -> Reading<Holding> {
            Reading::Value(Vec::new())
        }
    }

    struct FixedHost;

    impl Source for FixedHost {
        fn read(&mut self, readings: &mut Readings) -> Result<(), Fault> {
            readings.put(metric::NODE_CPU, Reading::Value(500_000));
            Ok(())
        }
    }

    fn sampler(machine: &Machine, clock: &Arc<JumpingClock>) -> Sampler {
        let counters = Arc::<Counters>::default();
        let keeper = Keeper::start(machine.clone(), Pauses::default()).unwrap();
        let roster = Roster::new(keeper, Box::new(|_| Box::new(Nobody)), Arc::clone(&counters));
        let host = (Box::new(FixedHost) as Box<dyn Source + Send>, Host::default());
        let mut sampler = Sampler::new(clock.clone(), 2_500, host, roster, counters);
        sampler.settle();
        sampler
    }

    #[test]
    fn a_frame_has_the_node_first_and_the_inventory_comes_with_the_first_one_only() {
        let clock = Arc::<JumpingClock>::default();
        let mut sampler = sampler(&Machine::with(&[("GPU-a", Mood::Well(200_000))]), &clock);
        let first = sampler.sample();
        let inventory = first.inventory.unwrap();
        assert_eq!(inventory.host.driver_version.as_deref(), Some("1.2.3"));
        assert_eq!(inventory.gpus.len() + 1, first.frame.devices.len());
        assert_eq!(first.frame.devices[0].reading(metric::NODE_CPU), Some(Reading::Value(500_000)));
        assert_eq!(first.frame.devices[0].holding, None);

        clock.sleep_until(2_500);
        let second = sampler.sample();
        assert_eq!(second.inventory, None);
        let gpu = &second.frame.devices[1];
        assert_eq!(gpu.reading(metric::GPU_UP), Some(Reading::Value(1)));
        assert_eq!(gpu.reading(metric::GPU_ENERGY_INTEGRATED), Some(Reading::Value(500_000)));
        assert_eq!(gpu.holding, Some(Reading::Value(Vec::new())));
        assert!(gpu.readings.windows(2).all(|w| w[0].0 < w[1].0), "sorted: {gpu:?}");
    }

    #[test]
    fn a_node_without_a_driver_has_frames_of_the_host_alone() {
        let machine = Machine::default();
        machine.break_library(Some(LibraryFault::DriverNotLoaded));
        let mut sampler = sampler(&machine, &Arc::default());
        let sample = sampler.sample();
        assert_eq!(sample.frame.devices.len(), 1);
        assert_eq!(sample.inventory.unwrap().host.driver_version, None);
        assert_eq!(sampler.roster().fault(), Some(&LibraryFault::DriverNotLoaded));
    }

    #[test]
    fn samples_are_on_the_grid_and_a_full_channel_drops_frames_but_never_the_inventory() {
        let clock = Arc::<JumpingClock>::default();
        clock.sleep_until(700);
        let sampler = sampler(&Machine::with(&[("GPU-a", Mood::Well(1))]), &clock);
        let counters = Arc::clone(&sampler.counters);
        let (out, frames) = sync_channel(2);
        let stop = CancellationToken::new();
        let (ending, ended) = (stop.clone(), AtomicU64::new(0));
        let alive = || {
            // The fourth sample: two are in the channel, one was dropped. Make room for the next.
            match ended.fetch_add(1, Ordering::Relaxed) {
                2 => drop(frames.recv().unwrap()),
                3 => ending.cancel(),
                _ => {}
            }
        };
        sampler.run(&out, &stop, alive);
        let left: Vec<Sample> = frames.try_iter().collect();
        let times: Vec<u64> = left.iter().map(|s| s.frame.stamp.boot_ms).collect();
        assert_eq!(times, [5_000, 10_000]);
        assert!(left[0].inventory.is_none() && left[1].inventory.is_some());
        assert_eq!(counters.read().frames_dropped, 1);
    }

    #[test]
    fn the_average_is_integrated_and_the_instant_only_where_there_is_none() {
        let mut readings = Readings::default();
        assert_eq!(power(&readings), Reading::Absent(Absence::Unsupported));
        readings.put(metric::GPU_POWER_AVERAGE, Reading::Absent(Absence::TimedOut));
        assert_eq!(power(&readings), Reading::Absent(Absence::TimedOut));
        readings.put(metric::GPU_POWER_INSTANT, Reading::Value(2));
        assert_eq!(power(&readings), Reading::Value(2));
        readings.put(metric::GPU_POWER_AVERAGE, Reading::Value(1));
        assert_eq!(power(&readings), Reading::Value(1));
    }
}
