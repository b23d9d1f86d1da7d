//! Memory errors, PCI Express and NVLink.

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlDetachGpuState_t, nvmlEccCounterType_t, nvmlEnableState_t, nvmlGpuFabricInfo_t,
    nvmlIntNvLinkDeviceType_t, nvmlMemoryErrorType_t, nvmlMemoryLocation_t, nvmlNvLinkCapability_t,
    nvmlPageRetirementCause_t, nvmlPciInfo_t, nvmlPcieUtilCounter_t, nvmlRowRemapperHistogramValues_t,
};

use crate::abi::export;
use crate::code::{Answer, INVALID_ARGUMENT, NOT_SUPPORTED};
use crate::library::Call;

pub const PCIE_GENERATION: u32 = 5;
const PCIE_WIDTH: u32 = 16;
/// NVLink 4: 18 links of 26562 MB/s each way.
pub const NVLINKS: u32 = 18;
pub const NVLINK_MBPS: u32 = 26_562;
const NVLINK_VERSION: u32 = 7;
/// Two independent banks of rows an HBM stack: all spare rows are still there.
const REMAPPER_BANKS: u32 = 2560;
/// The kind of error and place that NVML numbers so.
const UNCORRECTED: u32 = 1;
const IN_DEVICE_MEMORY: u32 = 2;

pub fn ecc(call: &Call, kind: u32) -> Answer<u64> {
    match kind {
        0 | UNCORRECTED if call.instance.is_some() => Ok(0),
        0 => Ok(call.gpu.spec.ecc_corrected),
        UNCORRECTED => Ok(call.gpu.spec.ecc_uncorrected),
        _ => Err(INVALID_ARGUMENT),
    }
}

fn link(number: u32) -> Answer<()> {
    if number < NVLINKS { Ok(()) } else { Err(INVALID_ARGUMENT) }
}

export! {
    device fn nvmlDeviceGetEccMode(_call, current: *mut nvmlEnableState_t, pending: *mut nvmlEnableState_t) {
        current.put(1)?;
        pending.put(1)
    }

    device fn nvmlDeviceGetTotalEccErrors(
        call, kind: nvmlMemoryErrorType_t, _counter: nvmlEccCounterType_t, count: *mut c_ulonglong,
    ) {
        count.put(ecc(&call, kind)?)
    }

    device fn nvmlDeviceGetMemoryErrorCounter(
        call, kind: nvmlMemoryErrorType_t, _counter: nvmlEccCounterType_t, place: nvmlMemoryLocation_t,
        count: *mut c_ulonglong,
    ) {
        count.put(if place == IN_DEVICE_MEMORY { ecc(&call, kind)? } else { 0 })
    }

    device fn nvmlDeviceGetRetiredPages(
        _call, _cause: nvmlPageRetirementCause_t, _count: *mut c_uint, _addresses: *mut c_ulonglong,
    ) {
        // Replaced by row remapping since Ampere.
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetRetiredPages_v2(
        _call, _cause: nvmlPageRetirementCause_t, _count: *mut c_uint, _addresses: *mut c_ulonglong,
        _stamps: *mut c_ulonglong,
    ) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetRetiredPagesPendingStatus(_call, _pending: *mut nvmlEnableState_t) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetRemappedRows(
        call, corrected: *mut c_uint, uncorrected: *mut c_uint, pending: *mut c_uint, failed: *mut c_uint,
    ) {
        let rows = &call.gpu.spec.remapped_rows;
        corrected.put(rows.corrected)?;
        uncorrected.put(rows.uncorrected)?;
        pending.put(u32::from(rows.pending))?;
        failed.put(u32::from(rows.failed))
    }

    device fn nvmlDeviceGetRowRemapperHistogram(_call, values: *mut nvmlRowRemapperHistogramValues_t) {
        values.put(nvmlRowRemapperHistogramValues_t { max: REMAPPER_BANKS, high: 0, partial: 0, low: 0, none: 0 })
    }

    device fn nvmlDeviceGetMaxPcieLinkGeneration(_call, generation: *mut c_uint) {
        generation.put(PCIE_GENERATION)
    }

    device fn nvmlDeviceGetGpuMaxPcieLinkGeneration(_call, generation: *mut c_uint) {
        generation.put(PCIE_GENERATION)
    }

    device fn nvmlDeviceGetCurrPcieLinkGeneration(_call, generation: *mut c_uint) {
        generation.put(PCIE_GENERATION)
    }

    device fn nvmlDeviceGetMaxPcieLinkWidth(_call, width: *mut c_uint) {
        width.put(PCIE_WIDTH)
    }

    device fn nvmlDeviceGetCurrPcieLinkWidth(_call, width: *mut c_uint) {
        width.put(PCIE_WIDTH)
    }

    device fn nvmlDeviceGetPcieThroughput(_call, _counter: nvmlPcieUtilCounter_t, kilobytes: *mut c_uint) {
        // The driver watches the link for this long.
        std::thread::sleep(std::time::Duration::from_millis(20));
        kilobytes.put(0)
    }

    device fn nvmlDeviceGetPcieReplayCounter(call, count: *mut c_uint) {
        count.put(call.gpu.spec.links.pcie_replays)
    }

    device fn nvmlDeviceGetNvLinkState(call, number: c_uint, active: *mut nvmlEnableState_t) {
        link(number)?;
        active.put(u32::from(number + call.gpu.spec.links.nvlinks_down < NVLINKS))
    }

    device fn nvmlDeviceGetNvLinkVersion(_call, number: c_uint, version: *mut c_uint) {
        link(number)?;
        version.put(NVLINK_VERSION)
    }

    device fn nvmlDeviceGetNvLinkCapability(
        _call, number: c_uint, _capability: nvmlNvLinkCapability_t, yes: *mut c_uint,
    ) {
        link(number)?;
        yes.put(1)
    }

    device fn nvmlDeviceGetNvLinkErrorCounter(call, number: c_uint, _counter: c_uint, count: *mut c_ulonglong) {
        link(number)?;
        count.put(u64::from(call.gpu.spec.links.nvlink_errors))
    }

    device fn nvmlDeviceGetNvLinkRemoteDeviceType(
        _call, number: c_uint, kind: *mut nvmlIntNvLinkDeviceType_t,
    ) {
        link(number)?;
        kind.put(2)
    }

    device fn nvmlDeviceGetNvLinkRemotePciInfo_v2(_call, _number: c_uint, _info: *mut nvmlPciInfo_t) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetGpuFabricInfo(_call, info: *mut nvmlGpuFabricInfo_t) {
        // State 3 is "completed", with success as its status.
        info.put(nvmlGpuFabricInfo_t { clusterUuid: [0; 16], status: 0, cliqueId: 0, state: 3 })
    }

    library fn nvmlDeviceRemoveGpu_v2(
        _library, _info: *mut nvmlPciInfo_t, _state: nvmlDetachGpuState_t, _link: c_uint,
    ) {
        Err(NOT_SUPPORTED)
    }
}
