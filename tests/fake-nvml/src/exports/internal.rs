//! The private function table that NVIDIA's `nvidia-smi` insists on.
//!
//! `nvidia-smi` finds GPUs and lists processes through a table which it fetches by an identifier,
//! and refuses a library without one. The table's first word is its size in bytes, then come
//! function pointers at fixed places. The places served here were learnt from NVIDIA's own mock
//! (`k8s-test-infra`) and by watching versions 535 and 550; all others answer "not supported".

use std::ffi::{c_char, c_uint, c_void};
use std::ptr::addr_of;

use nvml_wrapper_sys::bindings::nvmlDevice_t;

use crate::abi::{Argument, Out, export, fixed};
use crate::code::{Answer, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_SUPPORTED};
use crate::exports::health::PCIE_GENERATION;
use crate::exports::usage::NO_INSTANCE;
use crate::library::{Call, code};
use crate::model::Process;

/// 6c3efec4-8fc9-4e6c-a327-ee696e12f7c4 as it lies in memory.
const TABLE_ID: [u8; 16] =
    [0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4];

const WORDS: usize = 256;
const SLOT_HANDLE_BY_INDEX: usize = 81;
const SLOT_POWER_LIMIT: usize = 108;
const SLOT_COMPUTE_PROCESSES: usize = 213;
const SLOT_GRAPHICS_PROCESSES: usize = 214;
const SLOT_MPS_PROCESSES: usize = 215;
const SLOT_HOST_PCIE_GENERATION: usize = 230;

/// The longest process name in a list, with its final zero.
const NAME_BYTES: usize = 4096;

/// One entry of the private process lists.
#[repr(C)]
pub struct Entry {
    pid: c_uint,
    memory_bytes: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
    protected_memory_bytes: u64,
    name: [c_char; NAME_BYTES],
}

#[repr(C)]
struct Table {
    size: usize,
    slots: [*const c_void; WORDS - 1],
}

// SAFETY: the table is never written, and what it points to is code.
unsafe impl Sync for Table {}

static TABLE: Table = {
    let mut slots = [not_supported as *const c_void; WORDS - 1];
    slots[SLOT_HANDLE_BY_INDEX - 1] = handle_by_index as *const c_void;
    slots[SLOT_COMPUTE_PROCESSES - 1] = compute_processes as *const c_void;
    slots[SLOT_GRAPHICS_PROCESSES - 1] = graphics_processes as *const c_void;
    slots[SLOT_MPS_PROCESSES - 1] = mps_processes as *const c_void;
    slots[SLOT_POWER_LIMIT - 1] = power_limit as *const c_void;
    slots[SLOT_HOST_PCIE_GENERATION - 1] = host_pcie_generation as *const c_void;
    Table { size: size_of::<Table>(), slots }
};

extern "C" fn not_supported() -> u32 {
    NOT_SUPPORTED.0
}

/// # Safety
///
/// As for every exported function: pointers are null or valid.
unsafe extern "C" fn handle_by_index(index: c_uint, device: *mut nvmlDevice_t) -> u32 {
    // SAFETY: what this function demands of its caller.
    unsafe { super::system::nvmlDeviceGetHandleByIndex_v2(index, device) }
}

/// # Safety
///
/// As above; `entries` has room for as many entries as `count` says.
unsafe extern "C" fn compute_processes(device: nvmlDevice_t, count: *mut c_uint, entries: *mut Entry) -> u32 {
    // SAFETY: what this function demands of its caller.
    let (count, entries) = unsafe { (Argument::into_inside(count), Argument::into_inside(entries)) };
    code(list(device, "nvmlDeviceGetComputeRunningProcesses_v3", false, count, entries))
}

/// # Safety
///
/// As for `compute_processes`.
unsafe extern "C" fn graphics_processes(
    device: nvmlDevice_t,
    count: *mut c_uint,
    entries: *mut Entry,
) -> u32 {
    // SAFETY: what this function demands of its caller.
    let (count, entries) = unsafe { (Argument::into_inside(count), Argument::into_inside(entries)) };
    code(list(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", true, count, entries))
}

/// # Safety
///
/// As for `compute_processes`.
unsafe extern "C" fn mps_processes(_device: nvmlDevice_t, count: *mut c_uint, _entries: *mut Entry) -> u32 {
    // SAFETY: what this function demands of its caller.
    let count: Out<c_uint> = unsafe { Argument::into_inside(count) };
    code(count.put(0))
}

/// # Safety
///
/// As for every exported function.
unsafe extern "C" fn power_limit(device: nvmlDevice_t, limit: *mut c_uint) -> u32 {
    // SAFETY: what this function demands of its caller.
    unsafe { super::power::nvmlDeviceGetEnforcedPowerLimit(device, limit) }
}

/// # Safety
///
/// As for every exported function.
unsafe extern "C" fn host_pcie_generation(_device: nvmlDevice_t, generation: *mut c_uint) -> u32 {
    // SAFETY: what this function demands of its caller.
    let generation: Out<c_uint> = unsafe { Argument::into_inside(generation) };
    code(generation.put(PCIE_GENERATION))
}

fn list(
    device: nvmlDevice_t,
    call: &str,
    graphics: bool,
    count: Out<u32>,
    entries: Out<Entry>,
) -> Answer<()> {
    let call = Call::enter(device, call)?;
    let room = usize::try_from(count.get()?).map_err(|_| INVALID_ARGUMENT)?;
    let cut = call.gpu.instances(call.now_us).unwrap_or_default();
    let whole = call.phase().processes.iter().map(|process| (process, NO_INSTANCE, NO_INSTANCE));
    let of_instances = cut.iter().flat_map(|of| {
        let (gpu, compute) = (of.spec.gpu_instance, of.spec.compute_instance);
        of.processes.iter().map(move |process| (process, gpu, compute))
    });
    let found: Vec<(&Process, u32, u32)> =
        whole.chain(of_instances).filter(|(process, ..)| process.graphics == graphics).collect();
    if found.len() > room {
        return Err(INSUFFICIENT_SIZE);
    }
    count.put(u32::try_from(found.len()).map_err(|_| INVALID_ARGUMENT)?)?;
    for (index, (process, gpu_instance, compute_instance)) in found.into_iter().enumerate() {
        entries.at(index).put(Entry {
            pid: process.pid,
            memory_bytes: process.memory_bytes,
            gpu_instance,
            compute_instance,
            protected_memory_bytes: 0,
            name: fixed(&process.name()),
        })?;
    }
    Ok(())
}

export! {
    library unchecked fn nvmlInternalGetExportTable(_library, table: *mut *const c_void, id: *mut [u8; 16]) {
        if id.get()? != TABLE_ID {
            return Err(INVALID_ARGUMENT);
        }
        table.put(addr_of!(TABLE).cast())
    }
}
