//! Calls with versioned structures that newer clients ask for.
//!
//! The caller states the version it was built with; each answer fills exactly that structure.

use std::ffi::{c_ulong, c_ulonglong};
use std::ptr::addr_of_mut;

use nvml_wrapper_sys::bindings::{
    nvmlC2cModeInfo_v1_t, nvmlConfComputeMemSizeInfo_t, nvmlEccSramErrorStatus_t, nvmlGpuFabricInfo_v2_t,
    nvmlGpuFabricInfoV_t, nvmlHostVgpuMode_t, nvmlMemory_t, nvmlPciInfoExt_t, nvmlVgpuHeterogeneousMode_t,
};

use super::identity::{PCI_DEVICE, PCI_SUBSYSTEM};
use crate::abi::{Out, export, fixed, version};
use crate::code::{ARGUMENT_VERSION_MISMATCH, Answer, NOT_SUPPORTED};

/// A display controller (3), 3D (2).
const PCI_CLASS: (u32, u32) = (3, 2);
/// The fabric manager has done its work.
const FABRIC_COMPLETED: u8 = 3;

const NO_SRAM_ERRORS: nvmlEccSramErrorStatus_t = nvmlEccSramErrorStatus_t {
    version: 0,
    aggregateUncParity: 0,
    aggregateUncSecDed: 0,
    aggregateCor: 0,
    volatileUncParity: 0,
    volatileUncSecDed: 0,
    volatileCor: 0,
    aggregateUncBucketL2: 0,
    aggregateUncBucketSm: 0,
    aggregateUncBucketPcie: 0,
    aggregateUncBucketMcu: 0,
    aggregateUncBucketOther: 0,
    bThresholdExceeded: 0,
};

fn fabric(info: Out<nvmlGpuFabricInfoV_t>) -> Answer<()> {
    // SAFETY: the address of the first field; nothing is read here.
    let asked = info.field(|i| unsafe { addr_of_mut!((*i).version) }).get()?;
    let v2 = nvmlGpuFabricInfo_v2_t {
        version: asked,
        clusterUuid: [0; 16],
        status: 0,
        cliqueId: 0,
        state: FABRIC_COMPLETED,
        healthMask: 0,
    };
    if asked == version::<nvmlGpuFabricInfo_v2_t>(2) {
        return info.field(<*mut nvmlGpuFabricInfoV_t>::cast).put(v2);
    }
    if asked != version::<nvmlGpuFabricInfoV_t>(3) {
        return Err(ARGUMENT_VERSION_MISMATCH);
    }
    info.put(nvmlGpuFabricInfoV_t {
        version: asked,
        clusterUuid: v2.clusterUuid,
        status: v2.status,
        cliqueId: v2.cliqueId,
        state: v2.state,
        healthMask: v2.healthMask,
        healthSummary: 0,
    })
}

export! {
    device fn nvmlDeviceGetPciInfoExt(call, info: *mut nvmlPciInfoExt_t) {
        let asked = info.get()?.version;
        if asked != version::<nvmlPciInfoExt_t>(1) {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        let bus = call.gpu.pci_bus;
        info.put(nvmlPciInfoExt_t {
            version: asked,
            domain: 0,
            bus,
            device: 0,
            pciDeviceId: PCI_DEVICE,
            pciSubSystemId: PCI_SUBSYSTEM,
            baseClass: PCI_CLASS.0,
            subClass: PCI_CLASS.1,
            busId: fixed(&format!("00000000:{bus:02X}:00.0")),
        })
    }

    device fn nvmlDeviceGetGpuFabricInfoV(_call, info: *mut nvmlGpuFabricInfoV_t) {
        fabric(info)
    }

    device fn nvmlDeviceGetSramEccErrorStatus(_call, status: *mut nvmlEccSramErrorStatus_t) {
        let asked = status.get()?.version;
        if asked != version::<nvmlEccSramErrorStatus_t>(1) {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        // Where a scenario has errors they are in device memory, not in SRAM.
        status.put(nvmlEccSramErrorStatus_t { version: asked, ..NO_SRAM_ERRORS })
    }

    device fn nvmlDeviceGetC2cModeInfoV(_call, info: *mut nvmlC2cModeInfo_v1_t) {
        info.put(nvmlC2cModeInfo_v1_t { isC2cEnabled: 0 })
    }

    device fn nvmlDeviceGetConfComputeMemSizeInfo(_call, info: *mut nvmlConfComputeMemSizeInfo_t) {
        info.put(nvmlConfComputeMemSizeInfo_t { protectedMemSizeKib: 0, unprotectedMemSizeKib: 0 })
    }

    device fn nvmlDeviceGetConfComputeProtectedMemoryUsage(_call, memory: *mut nvmlMemory_t) {
        memory.put(nvmlMemory_t { total: 0, free: 0, used: 0 })
    }

    device fn nvmlDeviceGetHostVgpuMode(_call, _mode: *mut nvmlHostVgpuMode_t) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetVgpuHeterogeneousMode(_call, _mode: *mut nvmlVgpuHeterogeneousMode_t) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetLastBBXFlushTime(_call, _stamp: *mut c_ulonglong, _duration: *mut c_ulong) {
        Err(NOT_SUPPORTED)
    }
}
