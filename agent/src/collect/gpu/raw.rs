//! What the wrapper does not have, by the library's raw symbols. The only unsafe code of the agent.
//!
//! Each function makes one call on a device of the library it was given, fills a structure that
//! lives on this stack, and returns the library's own error.
#![allow(unsafe_code, reason = "NVML is a C library: these are the symbols that no safe wrapper has")]

use super::nvml::{Device, FieldIdScheme, GpmSample, Nvml, NvmlError, nvml_sym, nvml_try};
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

/// The core's temperature in thousandths of a degree, by the symbol that replaced `nvmlDeviceGetTemperature`.
pub fn temperature(device: &Device<'_>) -> Result<i64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetTemperatureV.as_ref())?;
    let mut answer = sys::nvmlTemperature_t {
        version: version::<sys::nvmlTemperature_t>(1),
        sensorType: sys::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU,
        temperature: 0,
    };
    // SAFETY: as above; the structure carries its own size and version, which the library checks.
    nvml_try(unsafe { symbol(device.handle(), &raw mut answer) })?;
    Ok(i64::from(answer.temperature) * 1_000)
}

/// The distance to the temperature at which the GPU slows down, in thousandths of a degree.
pub fn temperature_margin(device: &Device<'_>) -> Result<i64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetMarginTemperature.as_ref())?;
    let mut answer = sys::nvmlMarginTemperature_t {
        version: version::<sys::nvmlMarginTemperature_t>(1),
        marginTemperature: 0,
    };
    // SAFETY: as above, with size and version in the structure.
    nvml_try(unsafe { symbol(device.handle(), &raw mut answer) })?;
    Ok(i64::from(answer.marginTemperature) * 1_000)
}

/// Percent of time in which the JPEG decoders were busy.
pub fn jpeg_utilization(device: &Device<'_>) -> Result<i64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetJpgUtilization.as_ref())?;
    engine(device, *symbol)
}

/// Percent of time in which the optical flow accelerator was busy.
pub fn ofa_utilization(device: &Device<'_>) -> Result<i64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetOfaUtilization.as_ref())?;
    engine(device, *symbol)
}

type EngineCall = unsafe extern "C" fn(sys::nvmlDevice_t, *mut u32, *mut u32) -> sys::nvmlReturn_t;

fn engine(device: &Device<'_>, symbol: EngineCall) -> Result<i64, NvmlError> {
    let (mut percent, mut period_us) = (0, 0);
    // SAFETY: as above; both pointers are to live integers.
    nvml_try(unsafe { symbol(device.handle(), &raw mut percent, &raw mut period_us) })?;
    Ok(i64::from(percent))
}

/// 1 where so many SRAM errors occurred that the GPU should be replaced, else 0.
pub fn sram_threshold_exceeded(device: &Device<'_>) -> Result<i64, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetSramEccErrorStatus.as_ref())?;
    // SAFETY: a structure of integers only, for which zeros are values.
    let mut answer: sys::nvmlEccSramErrorStatus_t = unsafe { std::mem::zeroed() };
    answer.version = version::<sys::nvmlEccSramErrorStatus_t>(1);
    // SAFETY: as above, with size and version in the structure.
    nvml_try(unsafe { symbol(device.handle(), &raw mut answer) })?;
    Ok(i64::from(answer.bThresholdExceeded != 0))
}

/// The number of the GPU instance that a MIG device lies in.
pub fn gpu_instance_id(device: &Device<'_>) -> Result<u32, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetGpuInstanceId.as_ref())?;
    let mut id = 0;
    // SAFETY: as above; the pointer is to a live integer.
    nvml_try(unsafe { symbol(device.handle(), &raw mut id) })?;
    Ok(id)
}

/// The number of a MIG device within its GPU instance.
pub fn compute_instance_id(device: &Device<'_>) -> Result<u32, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetComputeInstanceId.as_ref())?;
    let mut id = 0;
    // SAFETY: as above; the pointer is to a live integer.
    nvml_try(unsafe { symbol(device.handle(), &raw mut id) })?;
    Ok(id)
}

/// Several fields, each (number, scope), by one call. The numbers are those before driver 580.82, which
/// moved some: the question is put in the driver's own numbers. Each answer is a number or an error.
pub fn field_values(
    device: &Device<'_>,
    asked: &[(u32, u32)],
) -> Result<Vec<Result<i64, NvmlError>>, NvmlError> {
    let symbol = nvml_sym(device.nvml().lib().nvmlDeviceGetFieldValues.as_ref())?;
    let scheme = device.nvml().field_id_scheme();
    let entry = |&(field, scope): &(u32, u32)| sys::nvmlFieldValue_t {
        fieldId: number(scheme, field),
        scopeId: scope,
        timestamp: 0,
        latencyUsec: 0,
        valueType: 0,
        // What the library does not fill has failed.
        nvmlReturn: sys::nvmlReturn_enum_NVML_ERROR_UNKNOWN,
        value: sys::nvmlValue_t { ullVal: 0 },
    };
    let mut entries: Vec<sys::nvmlFieldValue_t> = asked.iter().map(entry).collect();
    let count = i32::try_from(entries.len()).map_err(|_| NvmlError::InvalidArg)?;
    // SAFETY: as above; the array has as many entries as is said, and lives until the call returns.
    nvml_try(unsafe { symbol(device.handle(), count, entries.as_mut_ptr()) })?;
    Ok(entries.iter().map(integer).collect())
}

/// A field's number in this driver's numbering; see `nvml.h` before and after driver 580.82.
fn number(scheme: FieldIdScheme, field: u32) -> u32 {
    match (scheme, field) {
        (FieldIdScheme::V13Update1, 251..=255) => field + 18,
        (FieldIdScheme::V13Update1, 256..=273) => field - 5,
        _ => field,
    }
}

/// A field's value, whatever integer type the driver chose. None of our fields is a fraction.
fn integer(entry: &sys::nvmlFieldValue_t) -> Result<i64, NvmlError> {
    nvml_try(entry.nvmlReturn)?;
    let value = entry.value;
    // SAFETY: the library filled the member that the type names, and the entry was zero before; every
    // pattern of bits is an integer.
    unsafe {
        match entry.valueType {
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT => Ok(i64::from(value.uiVal)),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG
            | sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG => {
                i64::try_from(value.ullVal).map_err(|_| NvmlError::Unknown)
            }
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG => Ok(value.sllVal),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT => Ok(i64::from(value.siVal)),
            _ => Err(NvmlError::Unknown),
        }
    }
}

/// GPM's metrics between two samples, by their numbers: each a value or an error.
pub fn gpm_metrics(
    nvml: &Nvml,
    before: &GpmSample<'_>,
    after: &GpmSample<'_>,
    numbers: &[u32],
) -> Result<Vec<Result<f64, NvmlError>>, NvmlError> {
    let symbol = nvml_sym(nvml.lib().nvmlGpmMetricsGet.as_ref())?;
    // SAFETY: a structure of numbers and pointers, for which zeros are values.
    let mut question: sys::nvmlGpmMetricsGet_t = unsafe { std::mem::zeroed() };
    question.version = 1;
    question.numMetrics = u32::try_from(numbers.len()).map_err(|_| NvmlError::InvalidArg)?;
    // SAFETY: the handles are only handed on; both samples outlive the call.
    (question.sample1, question.sample2) = unsafe { (before.handle(), after.handle()) };
    for (entry, number) in question.metrics.iter_mut().zip(numbers) {
        entry.metricId = *number;
        entry.nvmlReturn = sys::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
    }
    // SAFETY: the structure lives until the call returns, and the library fills the entries that are counted.
    nvml_try(unsafe { symbol(&raw mut question) })?;
    let answers = question.metrics.iter().take(numbers.len());
    Ok(answers.map(|entry| nvml_try(entry.nvmlReturn).map(|()| entry.value)).collect())
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

    /// nvml.md, row 14.
    #[test]
    fn a_field_that_moved_is_asked_by_the_number_that_the_driver_has_for_it() {
        for (field, old, new) in [(185, 185, 185), (251, 251, 269), (253, 253, 271), (256, 256, 251)] {
            assert_eq!(number(FieldIdScheme::V12, field), old);
            assert_eq!(number(FieldIdScheme::V13Update1, field), new);
        }
    }

    /// nvml.md, row 11, and the wrapper's gap for signed integers.
    #[test]
    fn a_field_of_any_integer_type_is_read_and_one_that_failed_or_is_a_fraction_is_not() {
        let entry = |kind, value, outcome| sys::nvmlFieldValue_t {
            fieldId: 0,
            scopeId: 0,
            timestamp: 0,
            latencyUsec: 0,
            valueType: kind,
            nvmlReturn: outcome,
            value,
        };
        assert_eq!(integer(&entry(1, sys::nvmlValue_t { uiVal: 77_900 }, 0)).ok(), Some(77_900));
        assert!(matches!(
            integer(&entry(3, sys::nvmlValue_t { ullVal: u64::MAX }, 0)),
            Err(NvmlError::Unknown)
        ));
        assert_eq!(integer(&entry(4, sys::nvmlValue_t { sllVal: -3 }, 0)).ok(), Some(-3));
        assert_eq!(integer(&entry(5, sys::nvmlValue_t { siVal: -7 }, 0)).ok(), Some(-7));
        assert!(matches!(integer(&entry(0, sys::nvmlValue_t { dVal: 1.0 }, 0)), Err(NvmlError::Unknown)));
        assert!(matches!(integer(&entry(1, sys::nvmlValue_t { uiVal: 0 }, 3)), Err(NvmlError::NotSupported)));
    }

    #[test]
    fn a_structure_version_is_the_one_that_nvml_h_defines() {
        // NVML_STRUCT_VERSION(Temperature, 1) and (Memory, 2) by the C preprocessor.
        assert_eq!(version::<sys::nvmlTemperature_t>(1), 0x0100_000c);
        assert_eq!(version::<sys::nvmlMemory_v2_t>(2), 0x0200_0028);
    }
}
