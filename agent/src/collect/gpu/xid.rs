//! XID events: what a GPU complains of, counted by code since the agent started.
//!
//! Two sources tell of the same events: the driver's events (from registration on, not all codes, no
//! time) and the kernel's log (all codes, where it may be read). Neither is complete, and both may tell
//! of one event, at different moments.
//!
//! # How nothing counts twice
//!
//! Each source has its own count of each GPU and code; what is told is the larger of the two. An event that
//! both have seen raises both counts, in whatever order, and the larger one by one. A source that begins to
//! listen, for the first time or again, begins at what is told: what it missed it will not make good.
//!
//! Counters only rise; a code that was never seen has none. The last code and its time are the latest of
//! either source.

use crate::collect::Readings;
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Codes with a counter of their own; all others share one.
const CODES: [(u32, MetricId); 16] = [
    (13, metric::GPU_XID_13),
    (31, metric::GPU_XID_31),
    (43, metric::GPU_XID_43),
    (45, metric::GPU_XID_45),
    (48, metric::GPU_XID_48),
    (62, metric::GPU_XID_62),
    (63, metric::GPU_XID_63),
    (64, metric::GPU_XID_64),
    (74, metric::GPU_XID_74),
    (79, metric::GPU_XID_79),
    (92, metric::GPU_XID_92),
    (94, metric::GPU_XID_94),
    (95, metric::GPU_XID_95),
    (109, metric::GPU_XID_109),
    (119, metric::GPU_XID_119),
    (120, metric::GPU_XID_120),
];
/// Different codes that one GPU may have; NVIDIA lists fewer than two hundred.
const CODES_MAX: usize = 256;

/// Who tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// Events of the library.
    Driver,
    /// `NVRM: Xid` lines of the kernel's log.
    KernelLog,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    driver: u64,
    kernel_log: u64,
}

impl Counts {
    fn told(self) -> u64 {
        self.driver.max(self.kernel_log)
    }

    fn of(&mut self, teller: Teller) -> &mut u64 {
        match teller {
            Teller::Driver => &mut self.driver,
            Teller::KernelLog => &mut self.kernel_log,
        }
    }
}

#[derive(Debug, Default)]
struct OfGpu {
    counts: BTreeMap<u32, Counts>,
    /// Code and wall clock of the latest event.
    last: Option<(u32, u64)>,
}

#[derive(Debug, Default)]
struct State {
    gpus: BTreeMap<GpuUuid, OfGpu>,
    /// UUID by address, as the kernel's log writes it.
    addresses: BTreeMap<String, GpuUuid>,
    driver_listens: bool,
    kernel_log_listens: bool,
}

/// The counters of all GPUs of this node, shared by those who hear of events and those who tell.
#[derive(Debug, Clone, Default)]
pub struct XidLog(Arc<Mutex<State>>);

impl XidLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source begins to listen, for the first time or again.
    pub fn begin(&self, teller: Teller) {
        let mut state = self.state();
        for counts in state.gpus.values_mut().flat_map(|gpu| gpu.counts.values_mut()) {
            let told = counts.told();
            *counts.of(teller) = told;
        }
        *state.listens(teller) = true;
    }

    /// A source does not listen any more.
    pub fn end(&self, teller: Teller) {
        *self.state().listens(teller) = false;
    }

    /// Which GPU is at which address.
    pub fn place(&self, gpu: &GpuUuid, pci_bus_id: &str) {
        if let Some(address) = address(pci_bus_id) {
            self.state().addresses.insert(address, gpu.clone());
        }
    }

    /// An event of this GPU.
    pub fn event(&self, teller: Teller, gpu: &GpuUuid, code: u32, wall_ms: u64) {
        let mut state = self.state();
        let of_gpu = state.gpus.entry(gpu.clone()).or_default();
        if of_gpu.counts.len() >= CODES_MAX && !of_gpu.counts.contains_key(&code) {
            return;
        }
        *of_gpu.counts.entry(code).or_default().of(teller) += 1;
        if of_gpu.last.is_none_or(|(_, at)| wall_ms >= at) {
            of_gpu.last = Some((code, wall_ms));
        }
    }

    /// A line of the kernel's log, with the wall clock of the line. Whether it told of an XID of a GPU that
    /// is known here; every other line is left alone.
    ///
    /// Lines from before the agent started are not to be handed in: they are of another time.
    pub fn kernel_line(&self, line: &str, wall_ms: u64) -> bool {
        let Some((at, code)) = xid_line(line) else { return false };
        let Some(gpu) = self.state().addresses.get(&at).cloned() else { return false };
        self.event(Teller::KernelLog, &gpu, code, wall_ms);
        true
    }

    /// Puts a GPU's counters into its sample: zero events where somebody listens and none came.
    pub fn tell(&self, gpu: &GpuUuid, readings: &mut Readings) {
        let state = self.state();
        let Some(of_gpu) = state.gpus.get(gpu) else {
            let nobody = !state.driver_listens && !state.kernel_log_listens;
            readings.put(
                metric::GPU_XID_EVENTS,
                if nobody { Reading::Absent(Absence::Unsupported) } else { Reading::Value(0) },
            );
            return;
        };
        let mut by_metric: BTreeMap<MetricId, u64> = BTreeMap::new();
        for (code, counts) in &of_gpu.counts {
            let own = CODES.iter().find(|(known, _)| known == code);
            *by_metric.entry(own.map_or(metric::GPU_XID_OTHER, |c| c.1)).or_default() += counts.told();
            *by_metric.entry(metric::GPU_XID_EVENTS).or_default() += counts.told();
        }
        for (metric, count) in by_metric {
            readings.put_int(metric, Reading::Value(count));
        }
        if let Some((code, at_ms)) = of_gpu.last {
            readings.put(metric::GPU_XID_LAST, Reading::Value(i64::from(code)));
            readings.put_int(metric::GPU_XID_LAST_SEEN, Reading::Value(at_ms));
        }
    }
}

impl State {
    fn listens(&mut self, teller: Teller) -> &mut bool {
        match teller {
            Teller::Driver => &mut self.driver_listens,
            Teller::KernelLog => &mut self.kernel_log_listens,
        }
    }
}

/// Address and code of a line like `NVRM: Xid (PCI:0000:1b:00): 79, pid=…, GPU has fallen off the bus.`
fn xid_line(line: &str) -> Option<(String, u32)> {
    let (_, rest) = line.split_once("NVRM: Xid (")?;
    let (at, rest) = rest.split_once("): ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((address(at.trim_start_matches("PCI:"))?, digits.parse().ok()?))
}

/// Domain, bus and device in one spelling: the function may stand behind them or not.
fn address(text: &str) -> Option<String> {
    let text = text.split_once('.').map_or(text, |(device, _)| device);
    let mut parts = text.split(':').map(|part| u32::from_str_radix(part, 16).ok());
    let (domain, bus, device) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then(|| format!("{domain:04x}:{bus:02x}:{device:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FELL_OFF: &str =
        "NVRM: Xid (PCI:0000:1b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.";

    fn log() -> (XidLog, GpuUuid) {
        let (log, gpu) = (XidLog::default(), GpuUuid::new("GPU-a").unwrap());
        log.place(&gpu, "00000000:1B:00.0");
        (log, gpu)
    }

    fn told(log: &XidLog, gpu: &GpuUuid, metric: MetricId) -> Option<Reading<i64>> {
        let mut readings = Readings::default();
        log.tell(gpu, &mut readings);
        readings.get(metric)
    }

    /// nvml.md, row 23.
    #[test]
    fn an_event_that_driver_and_kernel_log_both_tell_of_counts_once_in_either_order() {
        let (log, gpu) = log();
        log.begin(Teller::Driver);
        log.begin(Teller::KernelLog);
        assert_eq!(told(&log, &gpu, metric::GPU_XID_EVENTS), Some(Reading::Value(0)));
        log.event(Teller::Driver, &gpu, 79, 1_000);
        assert!(log.kernel_line(FELL_OFF, 990));
        assert!(log.kernel_line(FELL_OFF, 2_000));
        log.event(Teller::Driver, &gpu, 79, 2_100);
        // A code that the driver does not send.
        assert!(log.kernel_line("[ 12.5] NVRM: Xid (PCI:0000:1b:00): 63, Row Remapper: New row", 3_000));
        assert!(log.kernel_line("NVRM: Xid (0000:1b:00): 999, an old driver's line", 3_000));
        for (metric, expected) in [
            (metric::GPU_XID_79, 2),
            (metric::GPU_XID_63, 1),
            (metric::GPU_XID_OTHER, 1),
            (metric::GPU_XID_EVENTS, 4),
            (metric::GPU_XID_LAST, 999),
            (metric::GPU_XID_LAST_SEEN, 3_000),
        ] {
            assert_eq!(told(&log, &gpu, metric), Some(Reading::Value(expected)), "{metric:?}");
        }
        assert_eq!(told(&log, &gpu, metric::GPU_XID_48), None, "never seen");
    }

    #[test]
    fn a_source_that_begins_again_neither_repeats_nor_loses() {
        let (log, gpu) = log();
        log.begin(Teller::KernelLog);
        log.kernel_line(FELL_OFF, 1);
        log.kernel_line(FELL_OFF, 2);
        log.begin(Teller::Driver);
        log.event(Teller::Driver, &gpu, 79, 3);
        assert_eq!(told(&log, &gpu, metric::GPU_XID_79), Some(Reading::Value(3)));
        log.kernel_line(FELL_OFF, 4);
        assert_eq!(told(&log, &gpu, metric::GPU_XID_79), Some(Reading::Value(3)), "told twice, counted once");
    }

    #[test]
    fn other_lines_and_unknown_gpus_are_left_alone_and_nobody_listening_is_no_zero() {
        let (log, gpu) = log();
        assert_eq!(told(&log, &gpu, metric::GPU_XID_EVENTS), Some(Reading::Absent(Absence::Unsupported)));
        for line in [
            "",
            "NVRM: loading",
            "NVRM: Xid (",
            "NVRM: Xid (PCI:0000:1b:00): x",
            "NVRM: Xid (PCI:0000:99:00): 79,",
        ] {
            assert!(!log.kernel_line(line, 1), "{line}");
        }
    }
}
