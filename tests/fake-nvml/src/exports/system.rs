//! The library itself: start, end, versions, and the way to a GPU's handle.

use std::ffi::{CStr, c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlGpuP2PCapsIndex_t, nvmlGpuP2PStatus_t, nvmlGpuTopologyLevel_t, nvmlHwbcEntry_t,
};

use crate::abi::{Out, export};
use crate::code::{Answer, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, text};
use crate::library::{Library, code, handle, init, instance_handle, shutdown};
use crate::model::{Gpu, Process};

const SIMULATED_VERSION: &CStr = c"gpuledger-fake-nvml 1";

/// Starts the library, or counts one more user.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> u32 {
    code(init("nvmlInit_v2"))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit() -> u32 {
    code(init("nvmlInit"))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> u32 {
    code(init("nvmlInitWithFlags"))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> u32 {
    code(shutdown())
}

/// Not NVML's: its presence tells the product that these GPUs are simulated. Gives the library's version.
#[unsafe(no_mangle)]
pub extern "C" fn gpuledgerSimulated() -> *const c_char {
    SIMULATED_VERSION.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(result: u32) -> *const c_char {
    text(result).as_ptr()
}

fn at_index(library: &Library, index: u32) -> Answer<&Gpu> {
    let index = usize::try_from(index).map_err(|_| INVALID_ARGUMENT)?;
    library.gpus().get(index).copied().ok_or(INVALID_ARGUMENT)
}

fn count(library: &Library, count: Out<u32>) -> Answer<()> {
    count.put(u32::try_from(library.gpus().len()).unwrap_or(0))
}

fn find(library: &Library, device: Out<nvmlDevice_t>, is_it: impl Fn(&Gpu) -> bool) -> Answer<()> {
    let gpus = library.gpus();
    let gpu = gpus.into_iter().find(|gpu| is_it(gpu)).ok_or(NOT_FOUND)?;
    device.put(handle(gpu))
}

/// Whether `text` names this PCI bus: the domain may have four or eight digits or be left out.
fn is_bus(gpu: &Gpu, text: &str) -> bool {
    let ours = format!("{:02x}:00.0", gpu.pci_bus);
    let text = text.to_ascii_lowercase();
    let domain = text.strip_suffix(&ours).map(|rest| rest.trim_end_matches(':'));
    domain.is_some_and(|domain| domain.bytes().all(|digit| digit == b'0'))
}

export! {
    library fn nvmlSystemGetDriverVersion(library, version: *mut c_char, length: c_uint) {
        version.put_text(length, &library.model.driver.version)
    }

    library fn nvmlSystemGetNVMLVersion(library, version: *mut c_char, length: c_uint) {
        version.put_text(length, &library.model.driver.nvml)
    }

    library fn nvmlSystemGetCudaDriverVersion(library, version: *mut c_int) {
        version.put(library.model.driver.cuda)
    }

    library fn nvmlSystemGetCudaDriverVersion_v2(library, version: *mut c_int) {
        version.put(library.model.driver.cuda)
    }

    library fn nvmlSystemGetProcessName(_library, pid: c_uint, name: *mut c_char, length: c_uint) {
        let process = Process { pid, memory_bytes: 0, graphics: false };
        name.put_text(length, &process.name())
    }

    library fn nvmlSystemGetHicVersion(_library, count: *mut c_uint, _entries: *mut nvmlHwbcEntry_t) {
        count.put(0)
    }

    library fn nvmlUnitGetCount(_library, count: *mut c_uint) {
        count.put(0)
    }

    library fn nvmlGetExcludedDeviceCount(_library, count: *mut c_uint) {
        count.put(0)
    }

    library fn nvmlDeviceGetCount_v2(library, out: *mut c_uint) {
        count(library, out)
    }

    library unchecked fn nvmlDeviceGetCount(library, out: *mut c_uint) {
        count(library, out)
    }

    library fn nvmlDeviceGetHandleByIndex_v2(library, index: c_uint, device: *mut nvmlDevice_t) {
        device.put(handle(at_index(library, index)?))
    }

    library unchecked fn nvmlDeviceGetHandleByIndex(library, index: c_uint, device: *mut nvmlDevice_t) {
        device.put(handle(at_index(library, index)?))
    }

    library fn nvmlDeviceGetHandleByUUID(library, uuid: *const c_char, device: *mut nvmlDevice_t) {
        let wanted = uuid.read()?;
        let now_us = library.clock.now_us();
        for gpu in library.gpus() {
            let instances = gpu.instances(now_us).unwrap_or_default();
            if let Some(place) = instances.iter().position(|instance| instance.uuid == wanted) {
                return device.put(instance_handle(gpu, place));
            }
        }
        find(library, device, |gpu| gpu.uuid == wanted)
    }

    library fn nvmlDeviceGetHandleBySerial(library, serial: *const c_char, device: *mut nvmlDevice_t) {
        let wanted = serial.read()?;
        find(library, device, |gpu| gpu.serial == wanted)
    }

    library fn nvmlDeviceGetHandleByPciBusId_v2(library, bus: *const c_char, device: *mut nvmlDevice_t) {
        let wanted = bus.read()?;
        find(library, device, |gpu| is_bus(gpu, &wanted))
    }

    device fn nvmlDeviceGetTopologyCommonAncestor(
        call, other: nvmlDevice_t, level: *mut nvmlGpuTopologyLevel_t,
    ) {
        // Every pair meets at the host bridge; NVLink is told by the NvLink functions.
        level.put(if other.number() == handle(call.gpu).addr() { 0 } else { 30 })
    }

    device fn nvmlDeviceGetTopologyNearestGpus(
        _call, _level: nvmlGpuTopologyLevel_t, count: *mut c_uint, _devices: *mut nvmlDevice_t,
    ) {
        count.put(0)
    }

    device fn nvmlDeviceGetP2PStatus(
        _call, _other: nvmlDevice_t, _index: nvmlGpuP2PCapsIndex_t, _status: *mut nvmlGpuP2PStatus_t,
    ) {
        Err(NOT_SUPPORTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    #[test]
    fn a_bus_is_found_by_each_spelling() {
        let model = Model::parse("[[gpu]]\npci_bus = 0x1b", 1).expect("scenario");
        for spelling in ["00000000:1B:00.0", "0000:1b:00.0", "1b:00.0"] {
            assert!(is_bus(&model.gpus[0], spelling), "{spelling}");
        }
        for other in ["0001:1b:00.0", "0000:1c:00.0", "", "0000:1b:00.1"] {
            assert!(!is_bus(&model.gpus[0], other), "{other}");
        }
    }
}
