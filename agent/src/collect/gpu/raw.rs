//! What the wrapper does not have, by the library's raw symbols. The only unsafe code of the agent.
//!
//! Each function makes one call on a device of the library it was given, fills a structure that
//! lives on this stack, and returns the library's own error.
#![allow(unsafe_code, reason = "NVML is a C library: these are the symbols that no safe wrapper has")]

use super::nvml::{Device, Nvml, NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings as sys;

/// Exported by simulated libraries only, so that their readings are never taken for hardware's.
const SIMULATED: &[u8] = b"gpuledgerSimulated\0";

/// Whether the library says of itself that it is a simulation.
pub fn is_simulated(nvml: &Nvml) -> bool {
    // SAFETY: the symbol is only looked up; it is neither called nor read through.
    unsafe { nvml.lib().__library.get::<*const ()>(SIMULATED) }.is_ok()
}

/// Whether the library can be shut down. Without this symbol the wrapper's `Drop` would panic.
pub fn can_shut_down(nvml: &Nvml) -> bool {
    nvml.lib().nvmlShutdown.is_ok()
}

/// Why clocks are below their maximum, by the symbol that replaced "throttle reasons": every bit as
/// the driver gives it, those that this build has no name for included.
pub fn clocks_event_reasons(device: &Device<'_>) -> Result<u64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetCurrentClocksEventReasons.as_ref())?;
    reasons(device, *symbol)
}

/// The same by the deprecated symbol.
pub fn clocks_throttle_reasons(device: &Device<'_>) -> Result<u64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetCurrentClocksThrottleReasons.as_ref())?;
    reasons(device, *symbol)
}

type ReasonsCall = unsafe extern "C" fn(sys::nvmlDevice_t, *mut std::ffi::c_ulonglong) -> sys::nvmlReturn_t;

fn reasons(device: &Device<'_>, symbol: ReasonsCall) -> Result<u64, NvmlError> {
    let mut reasons = 0;
    // SAFETY: the handle belongs to the library that the symbol comes from, which the device's
    // borrow keeps open; the pointer is to a live integer of the declared type.
    nvml_try(unsafe { symbol(device.handle(), &raw mut reasons) })?;
    Ok(reasons)
}

/// The core's temperature in degrees, by the symbol that replaced `nvmlDeviceGetTemperature`.
pub fn temperature(device: &Device<'_>) -> Result<i32, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetTemperatureV.as_ref())?;
    let mut answer = sys::nvmlTemperature_t {
        version: version::<sys::nvmlTemperature_t>(1),
        sensorType: sys::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU,
        temperature: 0,
    };
    // SAFETY: as above; the structure carries its own size and version, which the library checks.
    nvml_try(unsafe { symbol(device.handle(), &raw mut answer) })?;
    Ok(answer.temperature)
}

/// Memory used and total in bytes by the first version of the call, which counts what the driver
/// reserves as used. For drivers without the second version.
pub fn memory_v1(device: &Device<'_>) -> Result<(u64, u64), NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetMemoryInfo.as_ref())?;
    let mut answer = sys::nvmlMemory_t { total: 0, free: 0, used: 0 };
    // SAFETY: as above; this structure has had the same three fields in every version of NVML.
    nvml_try(unsafe { symbol(device.handle(), &raw mut answer) })?;
    Ok((answer.used, answer.total))
}

/// The performance state as a number: 0 to 15, or 32 for "unknown".
pub fn performance_state(device: &Device<'_>) -> Result<u32, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetPerformanceState.as_ref())?;
    let mut state = 0;
    // SAFETY: as above; the C enumeration is an unsigned integer, which every value fits.
    nvml_try(unsafe { symbol(device.handle(), &raw mut state) })?;
    Ok(state)
}

/// NVML's way to say which layout a structure has: its size, and its version in the top byte.
fn version<T>(number: u32) -> u32 {
    // Structures are far smaller than the 24 bits that their size may take.
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX) | number << 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_version_is_the_one_that_nvml_h_defines() {
        // NVML_STRUCT_VERSION(Temperature, 1) and (Memory, 2) by the C preprocessor.
        assert_eq!(version::<sys::nvmlTemperature_t>(1), 0x0100_000c);
        assert_eq!(version::<sys::nvmlMemory_v2_t>(2), 0x0200_0028);
    }
}
