//! What a GPU is: names, places and modes that do not change while it runs.

use std::ffi::{c_char, c_int, c_uint, c_ulong};

use nvml_wrapper_sys::bindings::{
    nvmlBrandType_t, nvmlBridgeChipHierarchy_t, nvmlBusType_t, nvmlComputeMode_t, nvmlDevice_t,
    nvmlDeviceArchitecture_t, nvmlDeviceAttributes_t, nvmlDriverModel_t, nvmlEnableState_t,
    nvmlGpuOperationMode_t, nvmlGpuVirtualizationMode_t, nvmlInforomObject_t, nvmlPciInfo_t,
    nvmlPowerSource_t,
};

use crate::abi::{export, fixed};
use crate::code::{INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED};
use crate::library::{Call, handle, instance_handle};

/// An H100 SXM5 by NVIDIA.
pub const PCI_DEVICE: u32 = 0x2330_10de;
pub const PCI_SUBSYSTEM: u32 = 0x16c1_10de;
const BRAND_NVIDIA: u32 = 14;
const BUS_TYPE_PCIE: u32 = 2;

fn pci(call: &Call) -> nvmlPciInfo_t {
    let bus = call.gpu.pci_bus;
    nvmlPciInfo_t {
        busIdLegacy: fixed(&format!("0000:{bus:02X}:00.0")),
        domain: 0,
        bus,
        device: 0,
        pciDeviceId: PCI_DEVICE,
        pciSubSystemId: PCI_SUBSYSTEM,
        busId: fixed(&format!("00000000:{bus:02X}:00.0")),
    }
}

fn attributes(call: &Call) -> nvmlDeviceAttributes_t {
    let slices = call.instance.map_or(0, |of| of.spec.slices);
    nvmlDeviceAttributes_t {
        multiprocessorCount: if slices == 0 { 132 } else { slices * 18 },
        sharedCopyEngineCount: 10,
        sharedDecoderCount: 7,
        sharedEncoderCount: 0,
        sharedJpegCount: 7,
        sharedOfaCount: 1,
        gpuInstanceSliceCount: slices,
        computeInstanceSliceCount: slices,
        memorySizeMB: call.instance.map_or(call.gpu.spec.memory_mib, |of| of.spec.memory_mib),
    }
}

export! {
    device fn nvmlDeviceGetName(call, name: *mut c_char, length: c_uint) {
        match call.instance {
            None => name.put_text(length, &call.gpu.spec.name),
            Some(of) => {
                let (slices, gib) = (of.spec.slices, of.spec.memory_mib.div_ceil(1024));
                name.put_text(length, &format!("{} MIG {slices}g.{gib}gb", call.gpu.spec.name))
            }
        }
    }

    device fn nvmlDeviceGetUUID(call, uuid: *mut c_char, length: c_uint) {
        uuid.put_text(length, call.instance.map_or(&call.gpu.uuid, |of| &of.uuid))
    }

    device fn nvmlDeviceGetSerial(call, serial: *mut c_char, length: c_uint) {
        serial.put_text(length, &call.gpu.serial)
    }

    device fn nvmlDeviceGetIndex(call, index: *mut c_uint) {
        let place = match call.instance {
            None => call.library.gpus().iter().position(|gpu| gpu.index == call.gpu.index),
            // Of an instance: its place in its GPU.
            Some(of) => {
                let cut = call.gpu.instances(call.now_us).unwrap_or_default();
                cut.iter().position(|other| other.uuid == of.uuid)
            }
        };
        index.put(place.and_then(|place| u32::try_from(place).ok()).ok_or(INVALID_ARGUMENT)?)
    }

    device fn nvmlDeviceGetMinorNumber(call, minor: *mut c_uint) {
        minor.put(call.gpu.minor)
    }

    device fn nvmlDeviceGetModuleId(call, module: *mut c_uint) {
        module.put(call.gpu.minor)
    }

    device fn nvmlDeviceGetPciInfo_v3(call, info: *mut nvmlPciInfo_t) {
        info.put(pci(&call))
    }

    device unchecked fn nvmlDeviceGetPciInfo_v2(call, info: *mut nvmlPciInfo_t) {
        info.put(pci(&call))
    }

    device fn nvmlDeviceGetBrand(_call, brand: *mut nvmlBrandType_t) {
        brand.put(BRAND_NVIDIA)
    }

    device fn nvmlDeviceGetArchitecture(call, architecture: *mut nvmlDeviceArchitecture_t) {
        architecture.put(call.gpu.spec.architecture)
    }

    device fn nvmlDeviceGetCudaComputeCapability(call, major: *mut c_int, minor: *mut c_int) {
        let [a, b] = call.gpu.spec.compute_capability;
        major.put(a)?;
        minor.put(b)
    }

    device fn nvmlDeviceGetBoardPartNumber(_call, part: *mut c_char, length: c_uint) {
        part.put_text(length, "SIM-00000-0000-000")
    }

    device fn nvmlDeviceGetBoardId(call, board: *mut c_uint) {
        board.put(call.gpu.pci_bus << 8)
    }

    device fn nvmlDeviceGetMultiGpuBoard(_call, several: *mut c_uint) {
        several.put(0)
    }

    device fn nvmlDeviceGetVbiosVersion(_call, version: *mut c_char, length: c_uint) {
        version.put_text(length, "96.00.51.31.7F")
    }

    device fn nvmlDeviceGetInforomImageVersion(_call, version: *mut c_char, length: c_uint) {
        version.put_text(length, "G520.0200.00.05")
    }

    device fn nvmlDeviceGetInforomVersion(
        _call, object: nvmlInforomObject_t, version: *mut c_char, length: c_uint,
    ) {
        match object {
            0 => version.put_text(length, "2.1"),
            1 => version.put_text(length, "7.16"),
            _ => Err(NOT_SUPPORTED),
        }
    }

    device fn nvmlDeviceGetGspFirmwareVersion(call, version: *mut c_char) {
        // NVML gives no length here and asks for a buffer of 64 bytes.
        version.put_text(64, &call.library.model.driver.version)
    }

    device fn nvmlDeviceGetGspFirmwareMode(_call, enabled: *mut c_uint, default: *mut c_uint) {
        enabled.put(1)?;
        default.put(1)
    }

    device fn nvmlDeviceGetPersistenceMode(call, mode: *mut nvmlEnableState_t) {
        mode.put(u32::from(call.gpu.spec.persistence))
    }

    device fn nvmlDeviceGetComputeMode(call, mode: *mut nvmlComputeMode_t) {
        mode.put(call.gpu.spec.compute_mode)
    }

    device fn nvmlDeviceGetDisplayMode(_call, mode: *mut nvmlEnableState_t) {
        mode.put(0)
    }

    device fn nvmlDeviceGetDisplayActive(_call, active: *mut nvmlEnableState_t) {
        active.put(0)
    }

    device fn nvmlDeviceGetMigMode(call, current: *mut c_uint, pending: *mut c_uint) {
        let on = u32::from(call.gpu.instances(call.now_us).is_some());
        current.put(on)?;
        pending.put(on)
    }

    device fn nvmlDeviceIsMigDeviceHandle(call, is_mig: *mut c_uint) {
        is_mig.put(u32::from(call.instance.is_some()))
    }

    device fn nvmlDeviceGetMaxMigDeviceCount(_call, count: *mut c_uint) {
        count.put(7)
    }

    device fn nvmlDeviceGetMigDeviceHandleByIndex(call, index: c_uint, device: *mut nvmlDevice_t) {
        let place = usize::try_from(index).map_err(|_| INVALID_ARGUMENT)?;
        let instances = call.gpu.instances(call.now_us).ok_or(NOT_SUPPORTED)?;
        if place >= instances.len() {
            return Err(NOT_FOUND);
        }
        device.put(instance_handle(call.gpu, place))
    }

    device fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(call, device: *mut nvmlDevice_t) {
        call.instance.ok_or(INVALID_ARGUMENT)?;
        device.put(handle(call.gpu))
    }

    device fn nvmlDeviceGetGpuInstanceId(call, id: *mut c_uint) {
        id.put(call.instance.ok_or(NOT_SUPPORTED)?.spec.gpu_instance)
    }

    device fn nvmlDeviceGetComputeInstanceId(call, id: *mut c_uint) {
        id.put(call.instance.ok_or(NOT_SUPPORTED)?.spec.compute_instance)
    }

    device fn nvmlDeviceGetAttributes_v2(call, out: *mut nvmlDeviceAttributes_t) {
        out.put(attributes(&call))
    }

    device unchecked fn nvmlDeviceGetAttributes(call, out: *mut nvmlDeviceAttributes_t) {
        out.put(attributes(&call))
    }

    device fn nvmlDeviceGetNumGpuCores(_call, cores: *mut c_uint) {
        cores.put(16_896)
    }

    device fn nvmlDeviceGetMemoryBusWidth(_call, width: *mut c_uint) {
        width.put(5120)
    }

    device fn nvmlDeviceGetBusType(_call, bus_type: *mut nvmlBusType_t) {
        bus_type.put(BUS_TYPE_PCIE)
    }

    device fn nvmlDeviceGetPowerSource(_call, source: *mut nvmlPowerSource_t) {
        source.put(0)
    }

    device fn nvmlDeviceGetNumaNodeId(_call, _node: *mut c_uint) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetCpuAffinity(_call, _size: c_uint, set: *mut c_ulong) {
        set.put(c_ulong::MAX)
    }

    device fn nvmlDeviceGetMemoryAffinity(_call, _size: c_uint, set: *mut c_ulong, _scope: c_uint) {
        set.put(1)
    }

    device fn nvmlDeviceGetDriverModel(_call, _current: *mut nvmlDriverModel_t, _pending: *mut nvmlDriverModel_t) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetGpuOperationMode(
        _call, _current: *mut nvmlGpuOperationMode_t, _pending: *mut nvmlGpuOperationMode_t,
    ) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetVirtualizationMode(_call, mode: *mut nvmlGpuVirtualizationMode_t) {
        mode.put(0)
    }

    device fn nvmlDeviceGetBridgeChipInfo(_call, _bridges: *mut nvmlBridgeChipHierarchy_t) {
        Err(NOT_SUPPORTED)
    }
}
