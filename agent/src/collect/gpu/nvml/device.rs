//! One GPU, open for reading.
//!
//! - Average and instantaneous power are two readings. Where the driver only has the old call,
//!   which of the two it gives depends on the chip ([`old_power_is_instant`]).
//! - A GPU that is cut into instances has them read with it: see [`super::mig`].
//! - A GPU that the system has put to sleep is left asleep.

use super::ask::{Line, Lines, Way, line, line_or};
use super::fields::{FAST, Fields};
use super::gpm::Gpm;
use super::mig::Mig;
use super::older::int;
use super::slow::Slow;
use super::{Clock, Device, DeviceArchitecture, NvmlError, older};
use crate::collect::gpu::{Fault, raw, sleep::Sleep};
use crate::collect::{Readings, Source};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::reading::{Absence, Reading};
use std::time::{Duration, Instant};

/// After the driver has woken a GPU up, its memory is scrubbed, which shows as utilisation.
const SCRUBBING: Duration = Duration::from_secs(3);

/// One call for each, with every sample.
const LINES: &[Line] = &[
    line(metric::GPU_ENERGY, |d| d.total_energy_consumption().and_then(int)),
    line_or(metric::GPU_TEMPERATURE, raw::temperature, older::temperature),
    line(metric::GPU_TEMPERATURE_MARGIN, raw::temperature_margin),
    line(metric::GPU_UTILIZATION_ENCODER, |d| Ok(i64::from(d.encoder_utilization()?.utilization) * PERCENT)),
    line(metric::GPU_UTILIZATION_DECODER, |d| Ok(i64::from(d.decoder_utilization()?.utilization) * PERCENT)),
    line(metric::GPU_UTILIZATION_JPEG, |d| Ok(raw::jpeg_utilization(d)? * PERCENT)),
    line(metric::GPU_UTILIZATION_OFA, |d| Ok(raw::ofa_utilization(d)? * PERCENT)),
    line(metric::GPU_CLOCK_SM, |d| clock(d, Clock::SM)),
    line(metric::GPU_CLOCK_MEMORY, |d| clock(d, Clock::Memory)),
    line(metric::GPU_CLOCK_GRAPHICS, |d| clock(d, Clock::Graphics)),
    line(metric::GPU_CLOCK_VIDEO, |d| clock(d, Clock::Video)),
    line_or(
        metric::GPU_THROTTLE_REASONS,
        |d| raw::clocks_event_reasons(d).and_then(int),
        older::throttle_reasons,
    ),
    line(metric::GPU_PERFORMANCE_STATE, |d| known_state(raw::performance_state(d)?)),
];

/// Percent to ppm.
const PERCENT: i64 = 10_000;

fn clock(device: &Device<'_>, which: Clock) -> Result<i64, NvmlError> {
    Ok(i64::from(device.clock_info(which)?) * 1_000)
}

/// Everything that is asked of one GPU.
pub(super) struct NvmlGpu<'l> {
    device: Device<'l>,
    sleep: Sleep,
    /// Until when utilisation is the driver's own doing.
    scrubbed: Option<Instant>,
    lines: Lines,
    fields: Fields,
    power: Way,
    utilization: Way,
    memory: Way,
    processes: Way,
    old_power_is_instant: bool,
    gpm: Gpm<'l>,
    slow: Slow,
    mig: Mig<'l>,
}

impl<'l> NvmlGpu<'l> {
    pub fn open(device: Device<'l>) -> Self {
        let persistent = device.is_in_persistent_mode().unwrap_or(true); // not a measurement
        let sleep = Sleep::of(device.pci_info().ok().map(|pci| pci.bus_id).as_deref());
        Self {
            sleep,
            scrubbed: (!persistent).then(|| Instant::now() + SCRUBBING),
            lines: Lines::new(LINES),
            fields: Fields::new(FAST),
            power: Way::New,
            utilization: Way::New,
            memory: Way::New,
            processes: Way::New,
            old_power_is_instant: old_power_is_instant(
                device.architecture().ok().as_ref(),
                device.name().ok().as_deref(),
            ),
            gpm: Gpm::new(None),
            slow: Slow::new(),
            mig: Mig::new(),
            device,
        }
    }

    /// What a GPU supports differs with MIG on and off: nothing that was found out counts any more.
    fn forget(&mut self) {
        self.lines = Lines::new(LINES);
        self.fields = Fields::new(FAST);
        (self.power, self.utilization) = (Way::New, Way::New);
        (self.memory, self.processes) = (Way::New, Way::New);
        self.gpm = Gpm::new(None);
        self.slow = Slow::new();
    }

    /// Where the driver has no fields for power: the old call, filed under what it is on this chip.
    /// Where it has not even that, the fields' own reasons stand.
    fn old_power(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let known = |id| readings.get(id).and_then(Reading::value).is_some();
        if known(metric::GPU_POWER_AVERAGE) || known(metric::GPU_POWER_INSTANT) {
            return Ok(());
        }
        let power = self.power.ask_one(|| self.device.power_usage())?;
        if power != Reading::Absent(Absence::Unsupported) {
            let instant = self.old_power_is_instant;
            let which = if instant { metric::GPU_POWER_INSTANT } else { metric::GPU_POWER_AVERAGE };
            readings.put_int(which, power);
        }
        Ok(())
    }

    fn read_utilization(&mut self, now: Instant, readings: &mut Readings) -> Result<(), Fault> {
        let mut rates = self.utilization.ask_one(|| self.device.utilization_rates())?;
        if self.scrubbed.is_some_and(|until| now < until) && rates.clone().value().is_some() {
            rates = Reading::Absent(Absence::Pending);
        }
        readings.put(metric::GPU_UTILIZATION, rates.clone().map(|r| i64::from(r.gpu) * PERCENT));
        readings.put(metric::GPU_UTILIZATION_MEMORY, rates.map(|r| i64::from(r.memory) * PERCENT));
        Ok(())
    }

    /// Version 1 of the call counts what the driver reserves as used, and does not tell how much.
    fn read_memory(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let v2 = || self.device.memory_info().map(|m| (m.used, m.total, Some(m.reserved)));
        let v1 = || raw::memory_v1(&self.device).map(|(used, total)| (used, total, None));
        let memory = match self.memory.ask(v2, Some(v1))? {
            Reading::Value((used, total, _)) if used > total => Reading::Absent(Absence::Failed),
            memory => memory,
        };
        readings.put_int(metric::GPU_MEMORY_USED, memory.map(|m| m.0));
        readings.put_int(metric::GPU_MEMORY_TOTAL, memory.map(|m| m.1));
        let reserved = match memory.map(|m| m.2) {
            Reading::Value(reserved) => reserved.ok_or(Absence::Unsupported).into(),
            Reading::Absent(reason) => Reading::Absent(reason),
        };
        readings.put_int(metric::GPU_MEMORY_RESERVED, reserved);
        Ok(())
    }

    fn read_processes(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let pids = self.processes.ask_one(|| compute_processes(&self.device))?;
        readings.put_int(metric::GPU_PROCESSES, pids.clone().map(|pids| pids.len()));
        readings.processes = Some(pids);
        Ok(())
    }
}

impl Source for NvmlGpu<'_> {
    fn read(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        if self.sleep.is_asleep() {
            return Err(Fault::Gpu(Absence::Stale));
        }
        let now = Instant::now();
        if self.mig.look(&self.device, now)? {
            self.forget();
        }
        self.lines.read(&self.device, readings)?;
        self.fields.read(&self.device, readings)?;
        self.old_power(readings)?;
        self.read_utilization(now, readings)?;
        self.read_memory(readings)?;
        self.read_processes(readings)?;
        self.gpm.read(&self.device, now, readings)?;
        self.mig.read(&self.device, now, readings)?;
        // Only with an answer of its own: what is held from before says nothing of now.
        if readings.any_value() {
            self.slow.read(&self.device, now, readings)?;
        }
        Ok(())
    }
}

/// The processes that compute on a GPU or an instance, each once.
pub(super) fn compute_processes(device: &Device<'_>) -> Result<Vec<u32>, NvmlError> {
    let listed = match device.running_compute_processes() {
        // How the driver says that there are none.
        Err(NvmlError::NotFound) => Vec::new(),
        listed => listed?,
    };
    let mut pids: Vec<u32> = listed.into_iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// 0 to 15; NVML's 32 says that the state is unknown.
fn known_state(state: u32) -> Result<i64, NvmlError> {
    if state <= 15 { Ok(i64::from(state)) } else { Err(NvmlError::Unknown) }
}

/// Whether `nvmlDeviceGetPowerUsage` gives the power of the moment: on chips before Ampere and on
/// GA100. Every other chip gives the average of a second. A chip that does not tell is taken as new.
fn old_power_is_instant(architecture: Option<&DeviceArchitecture>, model: Option<&str>) -> bool {
    use DeviceArchitecture as A;
    match architecture {
        Some(A::Kepler | A::Maxwell | A::Pascal | A::Volta | A::Turing) => true,
        Some(A::Ampere) => model.is_some_and(is_ga100),
        _ => false,
    }
}

/// A100, A100X, A800, A30, A30X and CMP 170HX carry the GA100; A10, A40, A3000 do not.
fn is_ga100(model: &str) -> bool {
    let mut words = model.split([' ', '-']);
    words.any(|word| matches!(word, "A100" | "A100X" | "A800" | "A30" | "A30X" | "170HX"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nvml.md, row 1.
    #[test]
    fn the_old_power_call_is_filed_by_chip() {
        use DeviceArchitecture as A;
        for (architecture, model, instant) in [
            (A::Volta, "Tesla V100-SXM2-16GB", true),
            (A::Turing, "Tesla T4", true),
            (A::Ampere, "NVIDIA A100-SXM4-80GB", true),
            (A::Ampere, "NVIDIA A800 80GB PCIe", true),
            (A::Ampere, "NVIDIA A30", true),
            (A::Ampere, "NVIDIA RTX A3000 Laptop GPU", false),
            (A::Ampere, "NVIDIA A10", false),
            (A::Ampere, "NVIDIA GeForce RTX 3090", false),
            (A::Ada, "NVIDIA L40S", false),
            (A::Hopper, "NVIDIA H100 80GB HBM3", false),
        ] {
            assert_eq!(old_power_is_instant(Some(&architecture), Some(model)), instant, "{model}");
        }
        assert!(!old_power_is_instant(None, None));
    }

    #[test]
    fn a_performance_state_beyond_the_scale_is_not_a_value() {
        assert_eq!(known_state(15).ok(), Some(15));
        assert!(matches!(known_state(32), Err(NvmlError::Unknown)));
    }
}
