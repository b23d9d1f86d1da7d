//! One thread a GPU, because a driver call can block for ever in the kernel.
//!
//! The thread is asked for one sample at a time and asked again only after it has answered, so
//! that nothing queues behind a call that hangs. Whoever asks decides how long it waits; a late
//! answer is told from a timely one by its tick. After a fault the GPU is opened again by its UUID
//! with the next sample: that is how a lost GPU is picked up.

use super::{Fault, Library, plausible, shared};
use crate::collect::workload::Workload;
use crate::collect::{Instance, Readings, Source};
use gpuledger_proto::frame::Holding;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// NVML needs little stack; this is generous and keeps hundreds of GPUs' threads small.
const STACK_BYTES: usize = 512 * 1024;

/// What one GPU gave in one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuSample {
    pub readings: Readings,
    pub holding: Reading<Holding>,
    /// The instances of a GPU that is cut by MIG.
    pub instances: Vec<Instance>,
}

/// A thread's answer to a tick.
#[derive(Debug)]
pub struct Answer {
    pub slot: usize,
    /// Which opening of the library the thread works on.
    pub generation: u64,
    /// Which GPU the answer is about: another one may have taken the slot meanwhile.
    pub uuid: GpuUuid,
    pub tick: u64,
    pub outcome: Result<GpuSample, Fault>,
}

/// What a thread needs to know.
pub struct Task {
    pub slot: usize,
    pub generation: u64,
    pub uuid: GpuUuid,
    pub library: Arc<dyn Library>,
    pub workload: Box<dyn Workload>,
    /// Has room for one answer of every worker.
    pub answers: SyncSender<Answer>,
}

/// The handle on a thread. Dropping it ends the thread as soon as it comes out of the driver; it
/// is not waited for.
#[derive(Debug)]
pub struct Worker {
    pub generation: u64,
    ticks: SyncSender<u64>,
    thread: JoinHandle<()>,
    busy: bool,
}

impl Worker {
    pub fn start(task: Task) -> io::Result<Self> {
        let (ticks, inbox) = sync_channel(1);
        let generation = task.generation;
        let thread = std::thread::Builder::new()
            .name(format!("gpu-{}", task.slot))
            .stack_size(STACK_BYTES)
            .spawn(move || serve(task, &inbox))?;
        Ok(Self { generation, ticks, thread, busy: false })
    }

    /// Asks for a sample, unless the thread still works on an earlier one.
    pub fn ask(&mut self, tick: u64) {
        if !self.busy {
            // Full cannot be: the thread takes a tick before it answers the one before.
            self.busy = !matches!(self.ticks.try_send(tick), Err(TrySendError::Disconnected(_)));
        }
    }

    /// Notes that the answer has come.
    pub fn answered(&mut self) {
        self.busy = false;
    }

    /// Whether an answer is due.
    pub fn is_busy(&self) -> bool {
        self.busy && !self.is_dead()
    }

    /// Whether the thread has ended by itself, which it does only by a panic in the library.
    pub fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }
}

fn serve(mut task: Task, ticks: &Receiver<u64>) {
    let library = Arc::clone(&task.library);
    let mut source: Option<Box<dyn Source + '_>> = None;
    while let Ok(tick) = ticks.recv() {
        let outcome = sample(&*library, &task.uuid, &mut source, &mut *task.workload);
        if outcome.is_err() {
            source = None;
        }
        let answer =
            Answer { slot: task.slot, generation: task.generation, uuid: task.uuid.clone(), tick, outcome };
        if task.answers.send(answer).is_err() {
            return;
        }
    }
}

fn sample<'l>(
    library: &'l dyn Library,
    uuid: &GpuUuid,
    source: &mut Option<Box<dyn Source + 'l>>,
    workload: &mut dyn Workload,
) -> Result<GpuSample, Fault> {
    let source = match source {
        Some(source) => source,
        None => source.insert(library.open_gpu(uuid)?),
    };
    let mut readings = Readings::default();
    source.read(&mut readings)?;
    plausible::check(&mut readings)?;
    let instances = std::mem::take(&mut readings.instances);
    let processes = readings.processes.take().unwrap_or(Reading::Absent(Absence::Unsupported));
    let holding = if instances.is_empty() {
        workload.holding(processes)
    } else {
        shared::holding(&instances, |of| workload.holding(of))
    };
    Ok(GpuSample { readings, holding, instances })
}
