//! The GPUs of this node: every one that was ever seen, in the order of their first appearance.
//!
//! A GPU that was seen once stays: when it is lost, hangs, or the whole library is gone, it is
//! reported as down with the reason. Each has a [`Worker`]; all are asked at once and waited for
//! until one deadline, so that one that hangs costs only its own readings.
//!
//! A worker belongs to one opening of the library. After another opening every worker that is not
//! inside a call is replaced; one that hangs is replaced when it comes out, so there is never more
//! than one thread a GPU.

use super::keeper::{Keeper, News};
use super::worker::{Answer, GpuSample, Task, Worker};
use super::{Fault, GPU_METRICS, Library, LibraryFault, Visible};
use crate::collect::Readings;
use crate::collect::workload::Workload;
use crate::events::{Counters, GpuBack, GpuDown, LibraryFailed, LibraryOpened};
use gpuledger_proto::frame::{Gpu, Holding};
use gpuledger_proto::limits::DEVICES_PER_NODE_MAX;
use gpuledger_proto::reading::{Absence, Reading};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// One position of a node is the node itself.
const GPUS_MAX: usize = DEVICES_PER_NODE_MAX - 1;
/// Answers that wait to be read: one of every worker, and one late one.
const ANSWERS_MAX: usize = GPUS_MAX * 2;

/// Makes the workload source of a GPU.
pub type WorkloadFactory = Box<dyn Fn() -> Box<dyn Workload> + Send>;

/// What a GPU gave, whether it gave anything or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuReport {
    /// Whether the GPU answers: at least one of its readings has a value.
    pub up: bool,
    pub readings: Readings,
    pub holding: Reading<Holding>,
}

impl GpuReport {
    /// A GPU that gives nothing, for one reason.
    fn down(reason: Absence) -> Self {
        let mut readings = Readings::default();
        for id in GPU_METRICS {
            readings.put(id, Reading::Absent(reason));
        }
        Self { up: false, readings, holding: Reading::Absent(reason) }
    }

    fn of(sample: GpuSample) -> Self {
        Self { up: sample.readings.any_value(), readings: sample.readings, holding: sample.holding }
    }

    /// Why it is down.
    fn reason(&self) -> Option<Absence> {
        let first = || self.readings.get(gpuledger_proto::catalogue::GPU_ENERGY);
        (!self.up).then(|| match first() {
            Some(Reading::Absent(reason)) => reason,
            _ => Absence::Failed,
        })
    }
}

struct Slot {
    gpu: Gpu,
    worker: Option<Worker>,
    report: Option<GpuReport>,
    /// As last told; a GPU is taken as up until it is not.
    up: bool,
}

struct Opened {
    generation: u64,
    library: Arc<dyn Library>,
}

pub struct Roster {
    keeper: Keeper,
    workload: WorkloadFactory,
    counters: Arc<Counters>,
    slots: Vec<Slot>,
    library: Option<Opened>,
    driver: Option<String>,
    fault: Option<LibraryFault>,
    answers: Receiver<Answer>,
    /// Cloned for each worker.
    answer: SyncSender<Answer>,
    tick: u64,
}

impl Roster {
    pub fn new(keeper: Keeper, workload: WorkloadFactory, counters: Arc<Counters>) -> Self {
        let (answer, answers) = sync_channel(ANSWERS_MAX);
        Self {
            keeper,
            workload,
            counters,
            slots: Vec::new(),
            library: None,
            driver: None,
            fault: None,
            answers,
            answer,
            tick: 0,
        }
    }

    /// Waits until it is known whether there is a library, so that the first sample has the GPUs in
    /// it. A library that takes longer joins later.
    pub fn settle(&mut self, longest: Duration) {
        match self.keeper.wait(longest) {
            Some(news) => self.hear(news),
            None => self.library_failed(LibraryFault::Hangs),
        }
    }

    /// Every GPU that was ever seen.
    pub fn gpus(&self) -> impl Iterator<Item = &Gpu> {
        self.slots.iter().map(|slot| &slot.gpu)
    }

    /// The driver's version, as last told.
    pub fn driver(&self) -> Option<&str> {
        self.driver.as_deref()
    }

    /// Why there is no library, while there is none.
    pub fn fault(&self) -> Option<&LibraryFault> {
        self.fault.as_ref()
    }

    /// Asks every GPU for a sample. Other work can be done before [`Self::finish`].
    pub fn begin(&mut self) {
        while let Some(news) = self.keeper.news() {
            self.hear(news);
        }
        while let Ok(late) = self.answers.try_recv() {
            self.take(late);
        }
        self.tick += 1;
        for at in 0..self.slots.len() {
            self.renew(at);
            let slot = &mut self.slots[at];
            slot.report = None;
            if let Some(worker) = &mut slot.worker {
                worker.ask(self.tick);
            }
        }
    }

    /// Waits for the answers, until the deadline at the latest, and gives a report for each GPU.
    pub fn finish(&mut self, deadline: Instant) -> Vec<GpuReport> {
        while self.slots.iter().any(|s| s.report.is_none() && s.worker.as_ref().is_some_and(Worker::is_busy))
        {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) => self.take(answer),
                Err(_) => break,
            }
        }
        (0..self.slots.len()).map(|at| self.report(at)).collect()
    }

    fn report(&mut self, at: usize) -> GpuReport {
        let slot = &mut self.slots[at];
        let report = slot.report.take().unwrap_or_else(|| {
            let waits = slot.worker.as_ref().is_some_and(Worker::is_busy);
            GpuReport::down(if waits { Absence::TimedOut } else { Absence::Failed })
        });
        match report.reason() {
            Some(reason) if slot.up => GpuDown { uuid: &slot.gpu.uuid, reason }.emit(&self.counters),
            None if !slot.up => GpuBack { uuid: &slot.gpu.uuid }.emit(),
            _ => {}
        }
        slot.up = report.up;
        report
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Opened { generation, library, driver, visible } => {
                let simulated = visible.gpus.iter().any(|gpu| gpu.simulated);
                let (gpus, nameless) = (visible.gpus.len(), visible.nameless);
                LibraryOpened { driver: driver.as_deref(), gpus, nameless, simulated }.emit();
                self.library = Some(Opened { generation, library });
                self.driver = driver.or(self.driver.take());
                self.fault = None;
                self.see(visible);
            }
            News::Seen { generation, visible } => {
                if self.library.as_ref().is_some_and(|open| open.generation == generation) {
                    self.see(visible);
                }
            }
            News::Failed(fault) => self.library_failed(fault),
        }
    }

    /// Adds GPUs that were not seen before and takes over changed facts.
    fn see(&mut self, visible: Visible) {
        for gpu in visible.gpus {
            if let Some(slot) = self.slots.iter_mut().find(|slot| slot.gpu.uuid == gpu.uuid) {
                slot.gpu = gpu;
            } else if self.slots.len() < GPUS_MAX {
                self.slots.push(Slot { gpu, worker: None, report: None, up: true });
            }
        }
    }

    /// Gives up the library. Told once for each reason.
    fn library_failed(&mut self, fault: LibraryFault) {
        if let Some(open) = self.library.take() {
            self.keeper.reopen(open.generation);
        }
        for slot in &mut self.slots {
            slot.worker = slot.worker.take().filter(Worker::is_busy);
        }
        if self.fault.as_ref() != Some(&fault) {
            LibraryFailed { fault: &fault }.emit(&self.counters);
            self.fault = Some(fault);
        }
    }

    /// Gives a GPU a worker on the library that is open, unless its worker is inside a call.
    fn renew(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(open) = &self.library else { return };
        let current = |worker: &Worker| worker.generation == open.generation && !worker.is_dead();
        if slot.worker.as_ref().is_some_and(|worker| worker.is_busy() || current(worker)) {
            return;
        }
        let task = Task {
            slot: at,
            generation: open.generation,
            uuid: slot.gpu.uuid.clone(),
            library: Arc::clone(&open.library),
            workload: (self.workload)(),
            answers: self.answer.clone(),
        };
        // Without a thread (the system has no more) the GPU is down and tried again next time.
        slot.worker = Worker::start(task).ok();
    }

    fn take(&mut self, answer: Answer) {
        let Some(slot) = self.slots.get_mut(answer.slot) else { return };
        if let Some(worker) = slot.worker.as_mut().filter(|worker| worker.generation == answer.generation) {
            worker.answered();
        }
        let timely = answer.tick == self.tick;
        let current = self.library.as_ref().is_some_and(|open| open.generation == answer.generation);
        match answer.outcome {
            Ok(sample) if timely && current => slot.report = Some(GpuReport::of(sample)),
            Err(Fault::Gpu(reason)) if timely => slot.report = Some(GpuReport::down(reason)),
            Err(Fault::Library(fault)) if current => {
                slot.report = Some(GpuReport::down(Absence::Failed));
                self.library_failed(fault);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keeper::Pauses;
    use super::super::simulated::{Machine, Mood};
    use super::*;
    use gpuledger_proto::catalogue as metric;

    /// Long enough for a loaded machine, and only waited for by what is made to hang.
    const PATIENCE: Duration = Duration::from_secs(20);
    const IMPATIENCE: Duration = Duration::from_millis(400);

    struct Nobody;

    impl Workload for Nobody {
        fn holding(&mut self, _pids: &[u32]) -> Reading<Holding> {
            Reading::Value(Vec::new())
        }
    }

    fn roster(machine: &Machine) -> Roster {
        let pauses = Pauses {
            retry_first: Duration::from_millis(1),
            retry_max: Duration::from_millis(2),
            rescan: Duration::from_millis(1),
        };
        let keeper = Keeper::start(machine.clone(), pauses).unwrap();
        let mut roster = Roster::new(keeper, Box::new(|| Box::new(Nobody)), Arc::default());
        roster.settle(PATIENCE);
        roster
    }

    fn sample(roster: &mut Roster, patience: Duration) -> Vec<GpuReport> {
        roster.begin();
        roster.finish(Instant::now() + patience)
    }

    /// Samples until the condition holds: what other threads have to notice takes some samples.
    fn until(
        roster: &mut Roster,
        what: &str,
        holds: impl Fn(&[GpuReport], &Roster) -> bool,
    ) -> Vec<GpuReport> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let reports = sample(roster, IMPATIENCE);
            if holds(&reports, roster) {
                return reports;
            }
        }
        panic!("not seen: {what}");
    }

    fn power(report: &GpuReport) -> Option<Reading<i64>> {
        report.readings.get(metric::GPU_POWER_AVERAGE)
    }

    const LOST: Mood = Mood::Sick(Fault::Gpu(Absence::Lost));

    #[test]
    fn a_lost_gpu_is_down_with_its_reason_and_is_picked_up_when_it_is_back() {
        let machine = Machine::with(&[("GPU-a", Mood::Well(100)), ("GPU-b", Mood::Well(200))]);
        let mut roster = roster(&machine);
        assert!(sample(&mut roster, PATIENCE).iter().all(|report| report.up));

        machine.set("GPU-a", LOST);
        let reports = sample(&mut roster, PATIENCE);
        assert!(!reports[0].up && reports[1].up);
        assert!(
            GPU_METRICS.iter().all(|&id| reports[0].readings.get(id) == Some(Reading::Absent(Absence::Lost)))
        );
        assert_eq!(reports[0].holding, Reading::Absent(Absence::Lost));
        assert_eq!(power(&reports[1]), Some(Reading::Value(200)));

        machine.set("GPU-a", Mood::Well(300));
        let reports = sample(&mut roster, PATIENCE);
        assert_eq!(power(&reports[0]), Some(Reading::Value(300)));
        assert_eq!(roster.counters.read().gpus_down, 1);
    }

    #[test]
    fn a_gpu_that_hangs_costs_only_itself_and_is_picked_up_when_it_answers() {
        let machine = Machine::with(&[("GPU-a", Mood::Hangs), ("GPU-b", Mood::Well(200))]);
        let mut roster = roster(&machine);
        for _ in 0..3 {
            let reports = sample(&mut roster, IMPATIENCE);
            assert_eq!(
                (reports[0].up, power(&reports[0])),
                (false, Some(Reading::Absent(Absence::TimedOut)))
            );
            assert_eq!(power(&reports[1]), Some(Reading::Value(200)));
        }
        machine.set("GPU-a", Mood::Well(100));
        let reports = until(&mut roster, "the GPU answers", |reports, _| reports[0].up);
        assert_eq!(power(&reports[0]), Some(Reading::Value(100)));
        assert_eq!(roster.counters.read().gpus_down, 1);
    }

    #[test]
    fn a_gpu_whose_every_reading_fails_is_down() {
        let machine = Machine::with(&[("GPU-a", Mood::Speechless)]);
        assert!(!sample(&mut roster(&machine), PATIENCE)[0].up);
    }

    #[test]
    fn a_fault_of_the_library_takes_all_gpus_down_and_it_is_opened_again() {
        let machine = Machine::with(&[("GPU-a", Mood::Well(100)), ("GPU-b", Mood::Well(200))]);
        let mut roster = roster(&machine);
        sample(&mut roster, PATIENCE);
        machine.break_library(Some(LibraryFault::DriverNotLoaded));
        let broken =
            until(&mut roster, "the fault", |_, r| r.fault() == Some(&LibraryFault::DriverNotLoaded));
        assert!(broken.iter().all(|report| !report.up));
        assert_eq!(roster.gpus().count(), 2, "the GPUs are still expected");
        let before = machine.openings();
        machine.break_library(None);
        until(&mut roster, "both GPUs are back", |reports, _| reports.iter().all(|report| report.up));
        assert!(machine.openings() > before);
        assert_eq!(roster.counters.read().library_faults, 1, "told once, however often it was tried");
    }

    #[test]
    fn a_gpu_that_is_plugged_in_later_is_added_at_the_end_and_a_pulled_one_keeps_its_place() {
        let machine = Machine::with(&[("GPU-b", Mood::Well(200))]);
        let mut roster = roster(&machine);
        machine.set("GPU-a", Mood::Well(100));
        until(&mut roster, "the new GPU", |reports, _| reports.len() == 2 && reports[1].up);
        machine.remove("GPU-b");
        let reports = until(&mut roster, "the pulled GPU is down", |reports, _| !reports[0].up);
        assert_eq!(power(&reports[0]), Some(Reading::Absent(Absence::Lost)));
        assert_eq!(power(&reports[1]), Some(Reading::Value(100)));
        let order: Vec<_> = roster.gpus().map(|gpu| gpu.uuid.as_str()).collect();
        assert_eq!(order, ["GPU-b", "GPU-a"]);
    }

    #[test]
    fn no_gpu_at_all_after_having_had_some_leaves_all_of_them_down() {
        let machine = Machine::with(&[("GPU-a", Mood::Well(100))]);
        let mut roster = roster(&machine);
        sample(&mut roster, PATIENCE);
        machine.remove("GPU-a");
        machine.break_library(Some(LibraryFault::Uninitialised));
        until(&mut roster, "the fault", |_, r| r.fault().is_some());
        machine.break_library(None);
        let reports = until(&mut roster, "no GPUs", |_, r| r.fault() == Some(&LibraryFault::NoGpus));
        assert_eq!(reports.len(), 1);
        assert!(!reports[0].up);
    }

    #[test]
    fn a_thread_that_hangs_is_never_joined_by_a_second_one() {
        let machine = Machine::with(&[("GPU-a", Mood::Hangs), ("GPU-b", Mood::Well(200))]);
        let mut roster = roster(&machine);
        sample(&mut roster, IMPATIENCE);
        machine.break_library(Some(LibraryFault::VersionMismatch));
        until(&mut roster, "the fault", |_, r| r.fault().is_some());
        machine.break_library(None);
        until(&mut roster, "the healthy GPU is back", |reports, _| reports[1].up);
        let old = roster.slots[0].worker.as_ref().unwrap();
        assert!(old.is_busy() && old.generation < roster.library.as_ref().unwrap().generation);
        machine.set("GPU-a", Mood::Well(100));
        until(&mut roster, "the other is back on the new library", |reports, _| reports[0].up);
        assert_eq!(
            roster.slots[0].worker.as_ref().unwrap().generation,
            roster.library.as_ref().unwrap().generation
        );
    }
}
