//! The GPUs of this node: every one that was ever seen, in the order of their first appearance.
//!
//! A GPU that was seen once stays: when it is lost, hangs, or the whole library is gone, it is
//! reported as down with the reason. Each has a [`Worker`]; all are asked at once and waited for
//! until one deadline, so that one that hangs costs only its own readings.
//!
//! A worker belongs to one opening of the library. After another opening every worker that is not
//! inside a call is replaced; one that hangs is replaced when it comes out, so there is never more
//! than one thread a GPU.

mod pause;

use super::agreement::Agreement;
use super::keeper::{Keeper, News};
use super::watcher::Watcher;
use super::worker::{Answer, GpuSample, Task, Worker};
use super::xid::XidLog;
use super::{Facts, Fault, Library, LibraryFault, Visible, metrics_of_a_gpu};
use crate::collect::workload::Workload;
use crate::collect::{Instance, Readings};
use crate::events::{Counters, GpuBack, GpuDown, LibraryFailed, LibraryOpened};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::frame::{Gpu, Holding};
use gpuledger_proto::ids::GpuUuid;
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
pub type WorkloadFactory = Box<dyn Fn(&Gpu) -> Box<dyn Workload> + Send>;

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
        for id in metrics_of_a_gpu() {
            readings.put(id, Reading::Absent(reason));
        }
        Self { up: false, readings, holding: Reading::Absent(reason) }
    }

    fn of(sample: GpuSample) -> Self {
        Self { up: sample.readings.any_value(), readings: sample.readings, holding: sample.holding }
    }

    /// Why it is down.
    fn reason(&self) -> Option<Absence> {
        let first = || self.readings.get(metric::GPU_ENERGY);
        (!self.up).then(|| match first() {
            Some(Reading::Absent(reason)) => reason,
            _ => Absence::Failed,
        })
    }
}

struct Slot {
    gpu: Gpu,
    facts: Facts,
    worker: Option<Worker>,
    report: Option<GpuReport>,
    /// The instances of the last sample, where the GPU is cut by MIG.
    instances: Vec<Instance>,
    agreement: Agreement,
    /// Whether its first sample is still to be taken, and whether this one is the first.
    unseen: bool,
    is_new: bool,
    /// As last told; a GPU is taken as up until it is not.
    up: bool,
}

impl Slot {
    fn new(gpu: Gpu, facts: Facts) -> Self {
        Self {
            gpu,
            facts,
            worker: None,
            report: None,
            instances: Vec::new(),
            agreement: Agreement::default(),
            unseen: true,
            is_new: false,
            up: true,
        }
    }
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
    /// Waits for the events of the GPUs that are visible, while the library is open.
    watcher: Option<Watcher>,
    xids: XidLog,
    driver: Option<String>,
    fault: Option<LibraryFault>,
    pause: Option<pause::Pause>,
    answers: Receiver<Answer>,
    /// Cloned for each worker.
    answer: SyncSender<Answer>,
    tick: u64,
    /// What time is counted from.
    begun: Instant,
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
            watcher: None,
            xids: XidLog::default(),
            driver: None,
            fault: None,
            pause: None,
            answers,
            answer,
            tick: 0,
            begun: Instant::now(),
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

    /// Whether this is the first sample of the GPU at this position: what was remembered of the one that it
    /// replaced is not its.
    pub fn is_new(&self, at: usize) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.is_new)
    }

    /// What else is known of the GPU at this position.
    pub fn facts(&self, at: usize) -> Facts {
        self.slots.get(at).map(|slot| slot.facts.clone()).unwrap_or_default() // not a measurement
    }

    /// The MIG instances of the GPU at this position, by the last sample.
    pub fn instances(&self, at: usize) -> &[Instance] {
        self.slots.get(at).map_or(&[], |slot| &slot.instances)
    }

    /// The counters of XID events, for others that hear of them: the kernel's log.
    pub fn xids(&self) -> XidLog {
        self.xids.clone()
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
            slot.instances.clear();
            slot.is_new = std::mem::take(&mut slot.unseen);
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
        if self.pause.is_some() {
            return GpuReport::down(Absence::Stale);
        }
        let mut report = slot.report.take().unwrap_or_else(|| {
            let waits = slot.worker.as_ref().is_some_and(Worker::is_busy);
            GpuReport::down(if waits { Absence::TimedOut } else { Absence::Failed })
        });
        match report.reason() {
            Some(reason) if slot.up => GpuDown { uuid: &slot.gpu.uuid, reason }.emit(&self.counters),
            None if !slot.up => GpuBack { uuid: &slot.gpu.uuid }.emit(),
            _ => {}
        }
        slot.up = report.up;
        let (energy, power) = (report.readings.get(metric::GPU_ENERGY), report.readings.power());
        if let Some(energy) = energy {
            let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let ratio = slot.agreement.read_and_tell(&slot.gpu.uuid, at_ms, energy, power);
            report.readings.put(metric::GPU_ENERGY_AGREEMENT, ratio);
        }
        // A GPU that fell off the bus has its last event to tell.
        self.xids.tell(&slot.gpu.uuid, &mut report.readings);
        report
    }

    fn hear(&mut self, news: News) {
        if self.is_paused() {
            return self.hear_paused(news);
        }
        match news {
            News::Opened { generation, library, driver, visible } => {
                let simulated = visible.gpus.iter().any(|gpu| gpu.simulated);
                let (gpus, nameless) = (visible.gpus.len(), visible.nameless);
                LibraryOpened { driver: driver.as_deref(), gpus, nameless, simulated }.emit();
                self.watcher = None;
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

    /// Adds GPUs that were not seen before and takes over changed facts. A GPU at the address of one that
    /// is not there any more has replaced it, and takes its place.
    fn see(&mut self, visible: Visible) {
        let there: Vec<_> = visible.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        for (gpu, facts) in visible.gpus.into_iter().zip(visible.facts) {
            gpu.pci_bus_id.iter().for_each(|address| self.xids.place(&gpu.uuid, address));
            let replaced = |slot: &Slot| {
                gpu.pci_bus_id.is_some()
                    && slot.gpu.pci_bus_id == gpu.pci_bus_id
                    && !there.contains(&slot.gpu.uuid)
            };
            if let Some(slot) = self.slots.iter_mut().find(|slot| slot.gpu.uuid == gpu.uuid) {
                (slot.gpu, slot.facts) = (gpu, facts);
            } else if let Some(slot) = self.slots.iter_mut().find(|slot| replaced(slot)) {
                *slot = Slot::new(gpu, facts);
            } else if self.slots.len() < GPUS_MAX {
                self.slots.push(Slot::new(gpu, facts));
            }
        }
        self.listen(there);
    }

    /// Waits for the events of these GPUs, where the system gives a thread for it.
    fn listen(&mut self, gpus: Vec<GpuUuid>) {
        let Some(open) = &self.library else { return };
        if self.watcher.as_ref().is_some_and(|watcher| watcher.is_of(&gpus)) {
            return;
        }
        self.watcher = None;
        self.watcher = Watcher::start(Arc::clone(&open.library), gpus, self.xids.clone()).ok();
    }

    /// Gives up the library. Told once for each reason.
    fn library_failed(&mut self, fault: LibraryFault) {
        if let Some(open) = self.library.take() {
            self.keeper.reopen(open.generation);
        }
        self.watcher = None;
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
        let Some(open) = &self.library else {
            // It came out of its call after the library was given up: it must not keep it open.
            slot.worker = slot.worker.take().filter(Worker::is_busy);
            return;
        };
        let current = |worker: &Worker| worker.generation == open.generation && !worker.is_dead();
        if slot.worker.as_ref().is_some_and(|worker| worker.is_busy() || current(worker)) {
            return;
        }
        let task = Task {
            slot: at,
            generation: open.generation,
            uuid: slot.gpu.uuid.clone(),
            library: Arc::clone(&open.library),
            workload: (self.workload)(&slot.gpu),
            answers: self.answer.clone(),
        };
        // Without a thread (the system has no more) the GPU is down and tried again next time.
        slot.worker = Worker::start(task).ok();
    }

    fn take(&mut self, answer: Answer) {
        let Some(slot) = self.slots.get_mut(answer.slot) else { return };
        if slot.gpu.uuid != answer.uuid {
            return;
        }
        if let Some(worker) = slot.worker.as_mut().filter(|worker| worker.generation == answer.generation) {
            worker.answered();
        }
        let timely = answer.tick == self.tick;
        let current = self.library.as_ref().is_some_and(|open| open.generation == answer.generation);
        match answer.outcome {
            Ok(mut sample) if timely && current => {
                slot.instances = std::mem::take(&mut sample.instances);
                slot.report = Some(GpuReport::of(sample));
            }
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
mod tests;
