//! Power, energy, temperature, clocks.

use std::ffi::{c_int, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlClockId_t, nvmlClockType_t, nvmlEnableState_t, nvmlMarginTemperature_t, nvmlPerfPolicyType_t,
    nvmlPstates_t, nvmlTemperature_t, nvmlTemperatureSensors_t, nvmlTemperatureThresholds_t,
    nvmlViolationTime_t,
};

use crate::abi::{Out, export, version};
use crate::code::{ARGUMENT_VERSION_MISMATCH, Answer, INVALID_ARGUMENT, NOT_SUPPORTED};
use crate::library::Call;

/// Every reason that Hopper can give for a lower clock.
const REASONS_SUPPORTED: u64 = 0x1ff;
/// Below the slowdown temperature memory and GPU each have their own ceiling.
const MEMORY_MAX_C: u32 = 95;

fn clock(call: &Call, kind: u32) -> Answer<u32> {
    let phase = &call.phase().spec;
    match kind {
        0 | 1 => Ok(phase.sm_mhz),
        2 => Ok(phase.memory_mhz),
        3 => Ok(phase.sm_mhz / 10 * 9),
        _ => Err(INVALID_ARGUMENT),
    }
}

fn max_clock(call: &Call, kind: u32) -> Answer<u32> {
    match kind {
        0 | 1 => Ok(call.gpu.spec.max_sm_mhz),
        2 => Ok(call.gpu.spec.max_memory_mhz),
        3 => Ok(call.gpu.spec.max_sm_mhz / 10 * 9),
        _ => Err(INVALID_ARGUMENT),
    }
}

fn reasons(call: &Call, out: Out<u64>) -> Answer<()> {
    out.put(call.phase().spec.clock_reasons)
}

/// Time in which one of these reasons held the clock down, since the scenario began.
pub fn throttled_ns(call: &Call, reasons: u64) -> u64 {
    call.gpu.time_us(call.now_us, |phase| phase.spec.clock_reasons & reasons != 0) * 1000
}

export! {
    device fn nvmlDeviceGetPowerUsage(call, power: *mut c_uint) {
        power.put(call.gpu.average_power_mw(call.now_us))
    }

    device fn nvmlDeviceGetTotalEnergyConsumption(call, energy: *mut c_ulonglong) {
        energy.put(call.energy_mj()?)
    }

    device fn nvmlDeviceGetPowerManagementMode(_call, mode: *mut nvmlEnableState_t) {
        mode.put(1)
    }

    device fn nvmlDeviceGetPowerManagementLimit(call, limit: *mut c_uint) {
        limit.put(call.gpu.spec.power_limit_mw)
    }

    device fn nvmlDeviceGetEnforcedPowerLimit(call, limit: *mut c_uint) {
        limit.put(call.gpu.spec.power_limit_mw)
    }

    device fn nvmlDeviceGetPowerManagementDefaultLimit(call, limit: *mut c_uint) {
        limit.put(call.gpu.spec.power_limit_max_mw)
    }

    device fn nvmlDeviceGetPowerManagementLimitConstraints(call, least: *mut c_uint, most: *mut c_uint) {
        least.put(call.gpu.spec.power_limit_min_mw)?;
        most.put(call.gpu.spec.power_limit_max_mw)
    }

    device fn nvmlDeviceGetTemperature(call, sensor: nvmlTemperatureSensors_t, celsius: *mut c_uint) {
        if sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        celsius.put(call.phase().spec.temperature_c)
    }

    device fn nvmlDeviceGetTemperatureV(call, reading: *mut nvmlTemperature_t) {
        let mut asked = reading.get()?;
        if asked.version != version::<nvmlTemperature_t>(1) {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        if asked.sensorType != 0 {
            return Err(INVALID_ARGUMENT);
        }
        asked.temperature = call.phase().spec.temperature_c.cast_signed();
        reading.put(asked)
    }

    device fn nvmlDeviceGetMarginTemperature(call, margin: *mut nvmlMarginTemperature_t) {
        let mut asked = margin.get()?;
        if asked.version != version::<nvmlMarginTemperature_t>(1) {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        let ceiling_c = call.gpu.spec.slowdown_c.cast_signed();
        asked.marginTemperature = ceiling_c - call.phase().spec.temperature_c.cast_signed();
        margin.put(asked)
    }

    device fn nvmlDeviceGetTemperatureThreshold(
        call, kind: nvmlTemperatureThresholds_t, celsius: *mut c_uint,
    ) {
        celsius.put(match kind {
            0 => call.gpu.spec.shutdown_c,
            1 => call.gpu.spec.slowdown_c,
            2 => MEMORY_MAX_C,
            3 => call.gpu.spec.slowdown_c.saturating_sub(3),
            _ => return Err(NOT_SUPPORTED),
        })
    }

    device fn nvmlDeviceGetPerformanceState(call, state: *mut nvmlPstates_t) {
        state.put(call.phase().spec.pstate)
    }

    device fn nvmlDeviceGetPowerState(call, state: *mut nvmlPstates_t) {
        state.put(call.phase().spec.pstate)
    }

    device fn nvmlDeviceGetClockInfo(call, kind: nvmlClockType_t, mhz: *mut c_uint) {
        mhz.put(clock(&call, kind)?)
    }

    device fn nvmlDeviceGetMaxClockInfo(call, kind: nvmlClockType_t, mhz: *mut c_uint) {
        mhz.put(max_clock(&call, kind)?)
    }

    device fn nvmlDeviceGetClock(call, kind: nvmlClockType_t, which: nvmlClockId_t, mhz: *mut c_uint) {
        mhz.put(if which == 0 { clock(&call, kind)? } else { max_clock(&call, kind)? })
    }

    device fn nvmlDeviceGetMaxCustomerBoostClock(call, kind: nvmlClockType_t, mhz: *mut c_uint) {
        mhz.put(max_clock(&call, kind)?)
    }

    device fn nvmlDeviceGetApplicationsClock(call, kind: nvmlClockType_t, mhz: *mut c_uint) {
        mhz.put(max_clock(&call, kind)?)
    }

    device fn nvmlDeviceGetDefaultApplicationsClock(call, kind: nvmlClockType_t, mhz: *mut c_uint) {
        mhz.put(max_clock(&call, kind)?)
    }

    device fn nvmlDeviceGetSupportedMemoryClocks(call, count: *mut c_uint, clocks: *mut c_uint) {
        clocks.put_all(count, &[call.gpu.spec.max_memory_mhz])
    }

    device fn nvmlDeviceGetSupportedGraphicsClocks(
        call, memory_mhz: c_uint, count: *mut c_uint, clocks: *mut c_uint,
    ) {
        if memory_mhz != call.gpu.spec.max_memory_mhz {
            return Err(INVALID_ARGUMENT);
        }
        clocks.put_all(count, &[call.gpu.spec.max_sm_mhz])
    }

    device fn nvmlDeviceGetAutoBoostedClocksEnabled(
        _call, _enabled: *mut nvmlEnableState_t, _default: *mut nvmlEnableState_t,
    ) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetGpcClkVfOffset(_call, _offset: *mut c_int) {
        Err(NOT_SUPPORTED)
    }

    device fn nvmlDeviceGetCurrentClocksEventReasons(call, out: *mut c_ulonglong) {
        reasons(&call, out)
    }

    device fn nvmlDeviceGetCurrentClocksThrottleReasons(call, out: *mut c_ulonglong) {
        reasons(&call, out)
    }

    device fn nvmlDeviceGetSupportedClocksEventReasons(_call, out: *mut c_ulonglong) {
        out.put(REASONS_SUPPORTED)
    }

    device fn nvmlDeviceGetSupportedClocksThrottleReasons(_call, out: *mut c_ulonglong) {
        out.put(REASONS_SUPPORTED)
    }

    device fn nvmlDeviceGetViolationStatus(call, policy: nvmlPerfPolicyType_t, time: *mut nvmlViolationTime_t) {
        let reasons = match policy {
            0 => 0x4,
            1 => 0x60,
            2 => 0x10,
            3..=5 => 0,
            _ => return Err(NOT_SUPPORTED),
        };
        let violation_ns = throttled_ns(&call, reasons);
        time.put(nvmlViolationTime_t {
            referenceTime: call.library.clock.unix_us_at(call.now_us),
            violationTime: violation_ns,
        })
    }

    device fn nvmlDeviceGetNumFans(call, fans: *mut c_uint) {
        // A server's GPU is cooled by the chassis.
        fans.put(u32::try_from(call.gpu.spec.fans.len()).unwrap_or(0))
    }

    device fn nvmlDeviceGetFanSpeed(call, percent: *mut c_uint) {
        percent.put(call.gpu.spec.fans.first().copied().ok_or(NOT_SUPPORTED)?)
    }

    device fn nvmlDeviceGetFanSpeed_v2(call, fan: c_uint, percent: *mut c_uint) {
        let fan = usize::try_from(fan).map_err(|_| INVALID_ARGUMENT)?;
        if call.gpu.spec.fans.is_empty() {
            return Err(NOT_SUPPORTED);
        }
        percent.put(call.gpu.spec.fans.get(fan).copied().ok_or(INVALID_ARGUMENT)?)
    }
}
