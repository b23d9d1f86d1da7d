//! NVIDIA's management library, through the one wrapper around it.
//!
//! - What an error of a call means is decided in one place: [`mod@verdict`].
//! - A call that is not supported is made once and then never again, until the GPU is opened again;
//!   where NVML replaced a call, the new one is made first ([`ask`]).
//! - What changes slowly is asked rarely ([`slow`]), many readings by one call ([`fields`]).
//! - Everything of one GPU is asked from one thread ([`device`]); events are waited for by another
//!   ([`mod@watch`]).

mod ask;
mod device;
mod fields;
mod gpm;
mod links;
mod mig;
mod older;
mod slow;
mod verdict;
mod watch;

use super::{Facts, Fault, Library, LibraryFault, Opener, Visible, Watch, raw};
use crate::collect::Source;
use gpuledger_proto::frame::Gpu;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::Absence;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{
    Clock, ComputeMode, EccCounter, MemoryError, MemoryLocation, PerformancePolicy, TemperatureSensor,
    TemperatureThreshold,
};
use nvml_wrapper::enum_wrappers::nv_link::ErrorCounter;
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::enums::event::XidError;
pub(super) use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
pub(super) use nvml_wrapper::gpm::GpmSample;
pub(super) use nvml_wrapper::{Device, EventSet, FieldIdScheme, Nvml};
use std::path::PathBuf;
use std::sync::Arc;
use verdict::{Verdict, opening_fault, verdict};

/// What is opened when nothing else is named.
pub const LIBRARY: &str = "libnvidia-ml.so.1";

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
                Ok((gpu, facts)) => {
                    visible.gpus.push(gpu);
                    visible.facts.push(facts);
                }
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
        Ok(Box::new(device::NvmlGpu::open(device)))
    }

    fn watch<'l>(&'l self, gpus: &[GpuUuid]) -> Result<Box<dyn Watch + 'l>, Fault> {
        Ok(Box::new(watch::XidEvents::register(self.nvml()?, gpus)?))
    }
}

/// A GPU's facts. What may not be read or does not exist is `None`; without a UUID there is no GPU.
fn describe(nvml: &Nvml, index: u32, simulated: bool) -> Result<(Gpu, Facts), Fault> {
    let whole = |error: NvmlError| match verdict(&error) {
        Verdict::Reading(reason) | Verdict::Gpu(reason) => Fault::Gpu(reason),
        Verdict::Library(fault) => Fault::Library(fault),
    };
    let device = nvml.device_by_index(index).map_err(whole)?;
    let uuid = device.uuid().map_err(whole)?;
    let facts = Facts {
        vbios: device.vbios_version().ok(),
        board_part: device.board_part_number().ok().filter(|part| !part.is_empty()),
        minor: device.minor_number().ok(),
    };
    let gpu = Gpu {
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
    };
    Ok((gpu, facts))
}

#[cfg(test)]
mod tests;
