//! What happens to the agent that an operator should hear of. An event is one struct: its log line
//! and its count go out together, so that they can't disagree.
//!
//! Events are edges, not states: a GPU that stays lost is told once when it is lost and once when
//! it is back.

use crate::collect::gpu::LibraryFault;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::Absence;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{error, info, warn};

/// How often each event happened since the agent started.
#[derive(Debug, Default)]
pub struct Counters {
    samples: AtomicU64,
    samples_missed: AtomicU64,
    frames_dropped: AtomicU64,
    gpus_down: AtomicU64,
    library_faults: AtomicU64,
    samples_refused: AtomicU64,
    schedulers_silent: AtomicU64,
}

/// A [`Counters`] read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub samples: u64,
    pub samples_missed: u64,
    pub frames_dropped: u64,
    pub gpus_down: u64,
    pub library_faults: u64,
    pub samples_refused: u64,
    pub schedulers_silent: u64,
}

impl Counters {
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            samples: read(&self.samples),
            samples_missed: read(&self.samples_missed),
            frames_dropped: read(&self.frames_dropped),
            gpus_down: read(&self.gpus_down),
            library_faults: read(&self.library_faults),
            samples_refused: read(&self.samples_refused),
            schedulers_silent: read(&self.schedulers_silent),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// A sample was taken.
#[derive(Debug)]
pub struct SampleTaken;

impl SampleTaken {
    pub fn emit(self, counters: &Counters) {
        add(&counters.samples, 1);
    }
}

/// The sampler came too late for some instants of its grid: the machine slept or stalled.
#[derive(Debug)]
pub struct SamplesMissed {
    pub count: u64,
}

impl SamplesMissed {
    pub fn emit(self, counters: &Counters) {
        add(&counters.samples_missed, self.count);
        warn!(count = self.count, "samples were missed: the machine slept, stalled or is overloaded");
    }
}

/// A sample could not be handed on because the disk has been too slow for too long.
#[derive(Debug)]
pub struct FrameDropped;

impl FrameDropped {
    pub fn emit(self, counters: &Counters) {
        add(&counters.frames_dropped, 1);
        warn!("a sample was dropped: the spool's disk does not keep up");
    }
}

/// A GPU stopped answering.
#[derive(Debug)]
pub struct GpuDown<'a> {
    pub uuid: &'a GpuUuid,
    pub reason: Absence,
}

impl GpuDown<'_> {
    pub fn emit(self, counters: &Counters) {
        add(&counters.gpus_down, 1);
        let help = match self.reason {
            Absence::Lost => "it fell off the bus or needs a reset: see dmesg (NVRM, Xid)",
            Absence::TimedOut => "a driver call does not return: see dmesg (NVRM, Xid)",
            _ => "see dmesg (NVRM, Xid)",
        };
        warn!(gpu = %self.uuid, reason = %self.reason, help, "GPU is down; it is tried again with every sample");
    }
}

/// A GPU answers again.
#[derive(Debug)]
pub struct GpuBack<'a> {
    pub uuid: &'a GpuUuid,
}

impl GpuBack<'_> {
    pub fn emit(self) {
        info!(gpu = %self.uuid, "GPU answers again");
    }
}

/// The library is open.
#[derive(Debug)]
pub struct LibraryOpened<'a> {
    pub driver: Option<&'a str>,
    pub gpus: usize,
    pub nameless: u32,
    pub simulated: bool,
}

impl LibraryOpened<'_> {
    pub fn emit(self) {
        info!(driver = self.driver.unwrap_or("unknown"), gpus = self.gpus, "GPU library is open");
        if self.simulated {
            warn!("the GPU library is a simulation: its readings are marked as simulated");
        }
        if self.nameless > 0 {
            warn!(count = self.nameless, "GPUs are there that do not tell their UUID: see dmesg (NVRM, Xid)");
        }
    }
}

/// There is no GPU library to ask, for a reason that was not told before.
#[derive(Debug)]
pub struct LibraryFailed<'a> {
    pub fault: &'a LibraryFault,
}

impl LibraryFailed<'_> {
    pub fn emit(self, counters: &Counters) {
        add(&counters.library_faults, 1);
        warn!(reason = %self.fault, help = self.fault.help(),
            "no GPU readings; host readings go on, and the library is tried again with growing pauses");
    }
}

/// A scheduler that is here does not say to whom it has given the GPUs.
#[derive(Debug)]
pub struct SchedulerSilent<'a> {
    pub scheduler: &'static str,
    pub error: &'a str,
}

impl SchedulerSilent<'_> {
    pub fn emit(self, counters: &Counters) {
        add(&counters.schedulers_silent, 1);
        let Self { scheduler, error } = self;
        warn!(
            scheduler,
            error, "a scheduler does not tell its allocations; idle GPUs have no known holder until it does"
        );
    }
}

/// It answers again.
#[derive(Debug)]
pub struct SchedulerAnswers {
    pub scheduler: &'static str,
}

impl SchedulerAnswers {
    pub fn emit(self) {
        info!(scheduler = self.scheduler, "scheduler answers again");
    }
}

/// The driver is given up for somebody else, or taken back.
#[derive(Debug)]
pub struct PauseChanged {
    /// Until when, where it is given up.
    pub until_ms: Option<u64>,
}

impl PauseChanged {
    pub fn emit(self) {
        if let Some(until_ms) = self.until_ms {
            info!(
                until_ms,
                "paused: the GPU driver is given up; host readings go on, GPU time is unmonitored"
            );
        } else {
            info!("resumed: the GPU driver is opened again");
        }
    }
}

/// Whoever asked for a pause is not told that the driver is free.
#[derive(Debug)]
pub struct PauseUnanswered<'a> {
    pub error: &'a std::io::Error,
}

impl PauseUnanswered<'_> {
    pub fn emit(self) {
        warn!(error = %self.error, "cannot write the answer to a pause into the spool's folder");
    }
}

/// A configuration that was read again is in force.
#[derive(Debug)]
pub struct ConfigChanged;

impl ConfigChanged {
    pub fn emit(self) {
        info!("the configuration was read again and is in force");
    }
}

/// A configuration that was read again cannot be used.
#[derive(Debug)]
pub struct ConfigRefused<'a> {
    pub error: &'a dyn std::error::Error,
}

impl ConfigRefused<'_> {
    pub fn emit(self) {
        error!(error = %self.error, "the new configuration is refused; the old one stays in force");
    }
}

/// The recorder refused a sample: it does not fit what the collector may be sent.
#[derive(Debug)]
pub struct SampleRefused<'a> {
    pub error: &'a dyn std::error::Error,
    /// Whether the sample before was taken: the rest are counted only.
    pub first: bool,
}

impl SampleRefused<'_> {
    pub fn emit(self, counters: &Counters) {
        add(&counters.samples_refused, 1);
        if self.first {
            error!(error = %self.error, "a sample cannot be recorded");
        }
    }
}

/// The agent ends; what it did is told once.
#[derive(Debug)]
pub struct Stopped {
    pub waiting_batches: u64,
}

impl Stopped {
    pub fn emit(self, counters: &Counters) {
        let Counts {
            samples,
            samples_missed,
            frames_dropped,
            gpus_down,
            library_faults,
            samples_refused,
            schedulers_silent,
        } = counters.read();
        info!(
            samples,
            samples_missed,
            frames_dropped,
            samples_refused,
            gpus_down,
            library_faults,
            schedulers_silent,
            waiting_batches = self.waiting_batches,
            "stopped; what waits is in the spool and is sent after the next start"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_what_it_tells() {
        let counters = Counters::default();
        SampleTaken.emit(&counters);
        SamplesMissed { count: 3 }.emit(&counters);
        FrameDropped.emit(&counters);
        let uuid = GpuUuid::new("GPU-1").unwrap();
        GpuDown { uuid: &uuid, reason: Absence::Lost }.emit(&counters);
        LibraryFailed { fault: &LibraryFault::DriverNotLoaded }.emit(&counters);
        SampleRefused { error: &std::io::Error::other("odd"), first: false }.emit(&counters);
        SchedulerSilent { scheduler: "Slurm", error: "away" }.emit(&counters);
        let expected = Counts {
            samples: 1,
            samples_missed: 3,
            frames_dropped: 1,
            gpus_down: 1,
            library_faults: 1,
            samples_refused: 1,
            schedulers_silent: 1,
        };
        assert_eq!(counters.read(), expected);
    }
}
