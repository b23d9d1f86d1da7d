//! NVIDIA's management library, through the one wrapper around it.
//!
//! - What an error of a call means is decided in one place: [`verdict`].
//! - A call that is not supported is made once and then never again, until the GPU is reopened.
//! - Where NVML replaced a call, the new one is made first and the old one only if the library or
//!   the GPU does not have the new one.
//! - Average and instantaneous power are two readings. Where the driver only has the old call,
//!   which of the two it gives depends on the chip ([`old_power_is_instant`]).

use super::{Fault, Library, LibraryFault, Opener, Visible, raw};
use crate::collect::{Readings, Source};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::frame::Gpu;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::{DeviceArchitecture, SampleValue};
pub(super) use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::structs::device::FieldId;
pub(super) use nvml_wrapper::{Device, Nvml};
use std::path::PathBuf;
use std::sync::Arc;

/// What is opened when nothing else is named.
pub const LIBRARY: &str = "libnvidia-ml.so.1";

/// NVML's field identifiers, by `nvml.h`.
const FIELD_MEMORY_TEMPERATURE: u32 = 82;
const FIELD_POWER_AVERAGE: u32 = 185;
const FIELD_POWER_INSTANT: u32 = 186;

/// Opens the library by name or path.
#[derive(Debug, Clone)]
pub struct NvmlOpener {
    /// `None` is [`LIBRARY`], found by the dynamic linker.
    pub path: Option<PathBuf>,
}

impl Opener for NvmlOpener {
    fn open(&self) -> Result<Arc<dyn Library>, LibraryFault> {
        let name = self.path.as_ref().map_or(LIBRARY.as_ref(), |p| p.as_os_str());
        let nvml = Nvml::builder().lib_path(name).init().map_err(|error| opening_fault(&error))?;
        Ok(Arc::new(NvmlLibrary { nvml: Some(nvml) }))
    }
}

/// The library, open.
struct NvmlLibrary {
    /// `None` only while it is dropped.
    nvml: Option<Nvml>,
}

impl NvmlLibrary {
    fn nvml(&self) -> Result<&Nvml, LibraryFault> {
        self.nvml.as_ref().ok_or(LibraryFault::Uninitialised)
    }
}

impl Drop for NvmlLibrary {
    fn drop(&mut self) {
        let Some(nvml) = self.nvml.take() else { return };
        if raw::can_shut_down(&nvml) {
            drop(nvml);
        } else {
            // The wrapper panics where this symbol is missing; such a library stays loaded.
            std::mem::forget(nvml);
        }
    }
}

impl Library for NvmlLibrary {
    fn driver_version(&self) -> Option<String> {
        self.nvml().ok()?.sys_driver_version().ok()
    }

    fn gpus(&self) -> Result<Visible, LibraryFault> {
        let nvml = self.nvml()?;
        let simulated = raw::is_simulated(nvml);
        let count = nvml.device_count().map_err(|error| opening_fault(&error))?;
        let mut visible = Visible::default();
        for index in 0..count {
            match describe(nvml, index, simulated) {
                Ok(gpu) => visible.gpus.push(gpu),
                Err(Fault::Library(fault)) => return Err(fault),
                Err(Fault::Gpu(_)) => visible.nameless += 1,
            }
        }
        Ok(visible)
    }

    fn open_gpu<'l>(&'l self, uuid: &GpuUuid) -> Result<Box<dyn Source + 'l>, Fault> {
        let device = self.nvml()?.device_by_uuid(uuid.as_str()).map_err(|error| match verdict(&error) {
            // A GPU that was there and is not found any more has fallen off the bus.
            Verdict::Reading(_) => Fault::Gpu(Absence::Lost),
            Verdict::Gpu(reason) => Fault::Gpu(reason),
            Verdict::Library(fault) => Fault::Library(fault),
        })?;
        let old_power_is_instant =
            old_power_is_instant(device.architecture().ok().as_ref(), device.name().ok().as_deref());
        Ok(Box::new(NvmlGpu { device, unsupported: 0, old_power_is_instant }))
    }
}

/// A GPU's facts. What may not be read or does not exist is `None`; without a UUID there is no GPU.
fn describe(nvml: &Nvml, index: u32, simulated: bool) -> Result<Gpu, Fault> {
    let whole = |error: NvmlError| match verdict(&error) {
        Verdict::Reading(reason) | Verdict::Gpu(reason) => Fault::Gpu(reason),
        Verdict::Library(fault) => Fault::Library(fault),
    };
    let device = nvml.device_by_index(index).map_err(whole)?;
    let uuid = device.uuid().map_err(whole)?;
    Ok(Gpu {
        uuid: GpuUuid::new(&uuid).map_err(|_| Fault::Gpu(Absence::Failed))?,
        model: device.name().unwrap_or_default(), // not a measurement
        serial: device.serial().ok().filter(|s| !s.is_empty() && s != "0"),
        pci_bus_id: device.pci_info().ok().map(|pci| pci.bus_id),
        index,
        memory_bytes: device
            .memory_info()
            .ok()
            .map(|m| m.total)
            .or(raw::memory_v1(&device).ok().map(|m| m.1)),
        simulated,
    })
}

/// The calls that a GPU may not support.
#[derive(Debug, Clone, Copy)]
enum Call {
    Energy,
    Fields,
    FieldPowerAverage,
    FieldPowerInstant,
    FieldMemoryTemperature,
    Power,
    PowerLimit,
    TemperatureV,
    Temperature,
    Utilization,
    MemoryV2,
    MemoryV1,
    ClockSm,
    ClockMemory,
    EventReasons,
    ThrottleReasons,
    PerformanceState,
    EccCorrected,
    EccUncorrected,
    Processes,
}

/// One GPU, open for reading.
struct NvmlGpu<'l> {
    device: Device<'l>,
    /// A bit for each [`Call`] that this GPU was found not to support.
    unsupported: u32,
    old_power_is_instant: bool,
}

impl Source for NvmlGpu<'_> {
    fn read(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        readings.put_int(metric::GPU_ENERGY, self.ask(Call::Energy, Device::total_energy_consumption)?);
        self.read_fields(readings)?;
        readings.put_int(metric::GPU_POWER_LIMIT, self.ask(Call::PowerLimit, Device::enforced_power_limit)?);
        self.read_temperature(readings)?;
        self.read_utilization(readings)?;
        self.read_memory(readings)?;
        self.read_clocks(readings)?;
        self.read_health(readings)?;
        self.read_processes(readings)
    }
}

impl<'l> NvmlGpu<'l> {
    /// Makes a call unless it is known to be unsupported. A fault of the whole GPU or library ends
    /// the sample; any other error is this reading's absence.
    fn ask<T>(
        &mut self,
        call: Call,
        make: impl FnOnce(&Device<'l>) -> Result<T, NvmlError>,
    ) -> Result<Reading<T>, Fault> {
        if self.unsupported & bit(call) != 0 {
            return Ok(Reading::Absent(Absence::Unsupported));
        }
        match make(&self.device) {
            Ok(value) => Ok(Reading::Value(value)),
            Err(error) => self.absent(call, &error).map(Reading::Absent),
        }
    }

    fn absent(&mut self, call: Call, error: &NvmlError) -> Result<Absence, Fault> {
        match verdict(error) {
            Verdict::Reading(reason) => {
                if reason == Absence::Unsupported {
                    self.unsupported |= bit(call);
                }
                Ok(reason)
            }
            Verdict::Gpu(reason) => Err(Fault::Gpu(reason)),
            Verdict::Library(fault) => Err(Fault::Library(fault)),
        }
    }

    /// Power and memory temperature, which newer drivers give as fields.
    fn read_fields(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let [average, instant, degrees] = self.fields([
            (Call::FieldPowerAverage, FIELD_POWER_AVERAGE),
            (Call::FieldPowerInstant, FIELD_POWER_INSTANT),
            (Call::FieldMemoryTemperature, FIELD_MEMORY_TEMPERATURE),
        ])?;
        let (average, instant) = if average.value().is_none() && instant.value().is_none() {
            self.old_power(average, instant)?
        } else {
            (average, instant)
        };
        readings.put(metric::GPU_POWER_AVERAGE, average);
        readings.put(metric::GPU_POWER_INSTANT, instant);
        readings.put(metric::GPU_TEMPERATURE_MEMORY, degrees.map(|c| c.saturating_mul(1_000)));
        Ok(())
    }

    /// The old power call, filed under what it is on this chip. Where the driver has not even that,
    /// the fields' own reasons stand.
    fn old_power(
        &mut self,
        average: Reading<i64>,
        instant: Reading<i64>,
    ) -> Result<(Reading<i64>, Reading<i64>), Fault> {
        let power = self.ask(Call::Power, Device::power_usage)?.map(i64::from);
        Ok(match (power, self.old_power_is_instant) {
            (Reading::Absent(Absence::Unsupported), _) => (average, instant),
            (power, true) => (average, power),
            (power, false) => (power, instant),
        })
    }

    /// Several fields by one call. It may succeed while single fields fail; answers come in the
    /// order of the question, under identifiers that depend on the driver's version.
    fn fields<const N: usize>(&mut self, wanted: [(Call, u32); N]) -> Result<[Reading<i64>; N], Fault> {
        let supported: Vec<usize> = (0..N).filter(|&at| self.unsupported & bit(wanted[at].0) == 0).collect();
        let mut readings = [Reading::Absent(Absence::Unsupported); N];
        if supported.is_empty() {
            return Ok(readings);
        }
        let ids: Vec<FieldId> = supported.iter().map(|&at| FieldId(wanted[at].1)).collect();
        match self.ask(Call::Fields, |device| device.field_values_for(&ids))? {
            Reading::Absent(reason) => {
                for at in supported {
                    readings[at] = Reading::Absent(reason);
                }
            }
            Reading::Value(samples) => {
                for (at, sample) in supported.into_iter().zip(samples) {
                    readings[at] = match sample.and_then(|sample| sample.value) {
                        Ok(value) => integer(&value).map_err(|()| Absence::Failed).into(),
                        Err(error) => Reading::Absent(self.absent(wanted[at].0, &error)?),
                    };
                }
            }
        }
        Ok(readings)
    }

    fn read_temperature(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let degrees = match self.ask(Call::TemperatureV, raw::temperature)? {
            Reading::Absent(Absence::Unsupported) => {
                let old = |device: &Device<'l>| device.temperature(TemperatureSensor::Gpu);
                self.ask(Call::Temperature, old)?.map(i64::from)
            }
            new => new.map(i64::from),
        };
        readings.put(metric::GPU_TEMPERATURE, degrees.map(|c| c.saturating_mul(1_000)));
        Ok(())
    }

    fn read_utilization(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let rates = self.ask(Call::Utilization, Device::utilization_rates)?;
        // Percent to parts per million.
        readings.put(metric::GPU_UTILIZATION, rates.clone().map(|r| i64::from(r.gpu) * 10_000));
        readings.put(metric::GPU_UTILIZATION_MEMORY, rates.map(|r| i64::from(r.memory) * 10_000));
        Ok(())
    }

    fn read_memory(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let v2 = self.ask(Call::MemoryV2, |device| device.memory_info().map(|m| (m.used, m.total)))?;
        let memory = match v2 {
            Reading::Absent(Absence::Unsupported) => self.ask(Call::MemoryV1, raw::memory_v1)?,
            v2 => v2,
        };
        readings.put_int(metric::GPU_MEMORY_USED, memory.map(|m| m.0));
        readings.put_int(metric::GPU_MEMORY_TOTAL, memory.map(|m| m.1));
        Ok(())
    }

    fn read_clocks(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        for (id, call, clock) in [
            (metric::GPU_CLOCK_SM, Call::ClockSm, Clock::SM),
            (metric::GPU_CLOCK_MEMORY, Call::ClockMemory, Clock::Memory),
        ] {
            let mhz = self.ask(call, |device| device.clock_info(clock))?;
            readings.put(id, mhz.map(|mhz| i64::from(mhz) * 1_000));
        }
        Ok(())
    }

    fn read_health(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let reasons = match self.ask(Call::EventReasons, raw::clocks_event_reasons)? {
            Reading::Absent(Absence::Unsupported) => {
                self.ask(Call::ThrottleReasons, raw::clocks_throttle_reasons)?
            }
            new => new,
        };
        readings.put_int(metric::GPU_THROTTLE_REASONS, reasons);
        let state = self.ask(Call::PerformanceState, raw::performance_state)?;
        readings.put(metric::GPU_PERFORMANCE_STATE, known_state(state));
        self.read_ecc(readings, metric::GPU_ECC_CORRECTED, Call::EccCorrected, MemoryError::Corrected)?;
        self.read_ecc(readings, metric::GPU_ECC_UNCORRECTED, Call::EccUncorrected, MemoryError::Uncorrected)
    }

    fn read_ecc(
        &mut self,
        readings: &mut Readings,
        id: MetricId,
        call: Call,
        kind: MemoryError,
    ) -> Result<(), Fault> {
        let errors = self.ask(call, |device| device.total_ecc_errors(kind, EccCounter::Aggregate))?;
        readings.put_int(id, errors);
        Ok(())
    }

    fn read_processes(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        let processes = self.ask(Call::Processes, |device| match device.running_compute_processes() {
            // How the driver says that there are none.
            Err(NvmlError::NotFound) => Ok(Vec::new()),
            other => other,
        })?;
        let pids = processes.map(|list| {
            let mut pids: Vec<u32> = list.into_iter().map(|process| process.pid).collect();
            pids.sort_unstable();
            pids.dedup();
            pids
        });
        readings.put_int(metric::GPU_PROCESSES, pids.clone().map(|pids| pids.len()));
        readings.processes = Some(pids);
        Ok(())
    }
}

const fn bit(call: Call) -> u32 {
    1 << call as u32
}

/// 0 to 15; NVML's 32 says that the state is unknown.
fn known_state(state: Reading<u32>) -> Reading<i64> {
    match state {
        Reading::Value(state @ 0..=15) => Reading::Value(i64::from(state)),
        Reading::Value(_) => Reading::Absent(Absence::Failed),
        Reading::Absent(reason) => Reading::Absent(reason),
    }
}

/// A field's value, whatever integer type the driver chose. None of our fields is a fraction.
fn integer(value: &SampleValue) -> Result<i64, ()> {
    match *value {
        SampleValue::U32(value) => Ok(i64::from(value)),
        SampleValue::U64(value) => i64::try_from(value).map_err(drop),
        SampleValue::I64(value) => Ok(value),
        SampleValue::F64(_) => Err(()),
    }
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

/// What an error of one call means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// This reading is absent; the GPU goes on.
    Reading(Absence),
    /// The GPU is gone; its other readings need not be tried.
    Gpu(Absence),
    /// The whole library is gone.
    Library(LibraryFault),
}

fn verdict(error: &NvmlError) -> Verdict {
    use NvmlError as E;
    Verdict::Reading(match error {
        E::Uninitialized => return Verdict::Library(LibraryFault::Uninitialised),
        E::DriverNotLoaded => return Verdict::Library(LibraryFault::DriverNotLoaded),
        E::LibRmVersionMismatch => return Verdict::Library(LibraryFault::VersionMismatch),
        // 28, GPU_NOT_FOUND, has no name in the wrapper.
        E::GpuLost | E::ResetRequired | E::UnexpectedVariant(28) => return Verdict::Gpu(Absence::Lost),
        // A symbol or structure version that this library does not have, or no longer (25, 26).
        E::NotSupported | E::FailedToLoadSymbol(_) | E::FunctionNotFound | E::UnexpectedVariant(25 | 26) => {
            Absence::Unsupported
        }
        E::NoPermission => Absence::NoPermission,
        E::Timeout => Absence::TimedOut,
        _ => Absence::Failed,
    })
}

/// What an error on opening or counting means: nothing can be read without these.
fn opening_fault(error: &NvmlError) -> LibraryFault {
    match (verdict(error), error) {
        (Verdict::Library(fault), _) => fault,
        (_, NvmlError::LibloadingError(_)) => {
            // "libnvidia-ml.so.1: cannot open shared object file: …", or what else is wrong with it.
            let message = chain(error);
            if message.contains("No such file") {
                LibraryFault::NotFound(message)
            } else {
                LibraryFault::Unusable(message)
            }
        }
        (_, NvmlError::FailedToLoadSymbol(symbol)) => LibraryFault::Unusable(symbol.clone()),
        (_, NvmlError::LibraryNotFound) => LibraryFault::NotFound(error.to_string()),
        (_, NvmlError::NoPermission) => LibraryFault::NoPermission,
        _ => LibraryFault::Failed(error.to_string()),
    }
}

/// The innermost message of an error: the dynamic linker's own words.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests;
