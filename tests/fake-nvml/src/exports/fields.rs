//! Field values: many readings in one call, each with its own return code.
//!
//! A fault can hit a single field by the name `field:NUMBER`.

use std::ffi::c_int;
use std::ptr::addr_of_mut;

use nvml_wrapper_sys::bindings::{field_id, nvmlFieldValue_t, nvmlReturn_t, nvmlValue_t, nvmlValueType_t};

use crate::abi::{Out, export};
use crate::code::{Answer, INVALID_ARGUMENT, NOT_SUPPORTED};
use crate::exports::health::{NVLINK_MBPS, NVLINKS, ecc};
use crate::exports::power::throttled_ns;
use crate::library::{Call, code};

/// Power scopes: the GPU, the module with its CPU, the memory.
const SCOPE_GPU: u32 = 0;
const SCOPE_MEMORY: u32 = 2;
/// The part of the GPU's power that its memory draws.
const MEMORY_POWER_PART: u32 = 8;
/// The most fields one call may ask for; the driver has about 300.
const FIELDS_MAX: usize = 1024;

enum Value {
    Unsigned(u32),
    Long(u64),
}

fn scoped(scope: u32, power_mw: u32) -> Answer<Value> {
    match scope {
        SCOPE_GPU => Ok(Value::Unsigned(power_mw)),
        SCOPE_MEMORY => Ok(Value::Unsigned(power_mw / MEMORY_POWER_PART)),
        _ => Err(NOT_SUPPORTED),
    }
}

fn value(call: &Call, field: u32, scope: u32) -> Answer<Value> {
    use Value::{Long, Unsigned};
    let spec = &call.gpu.spec;
    let margin = |ceiling_c: u32| Unsigned(ceiling_c.saturating_sub(spec.slowdown_c));
    Ok(match field {
        field_id::NVML_FI_DEV_ECC_CURRENT | field_id::NVML_FI_DEV_ECC_PENDING => Unsigned(1),
        field_id::NVML_FI_DEV_ECC_SBE_VOL_TOTAL | field_id::NVML_FI_DEV_ECC_SBE_AGG_TOTAL => {
            Long(ecc(call, 0)?)
        }
        field_id::NVML_FI_DEV_ECC_DBE_VOL_TOTAL | field_id::NVML_FI_DEV_ECC_DBE_AGG_TOTAL => {
            Long(ecc(call, 1)?)
        }
        field_id::NVML_FI_DEV_MEMORY_TEMP => Unsigned(call.phase().spec.memory_temperature_c),
        field_id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => Long(call.energy_mj()?),
        field_id::NVML_FI_DEV_NVLINK_LINK_COUNT => Unsigned(NVLINKS),
        field_id::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON => Unsigned(NVLINK_MBPS),
        field_id::NVML_FI_DEV_ECC_SBE_AGG_DEV => Long(ecc(call, 0)?),
        field_id::NVML_FI_DEV_ECC_DBE_AGG_DEV => Long(ecc(call, 1)?),
        field_id::NVML_FI_DEV_ECC_SBE_AGG_L1..=field_id::NVML_FI_DEV_ECC_DBE_AGG_CBU => Long(0),
        field_id::NVML_FI_DEV_REMAPPED_COR => Unsigned(spec.remapped_rows.corrected),
        field_id::NVML_FI_DEV_REMAPPED_UNC => Unsigned(spec.remapped_rows.uncorrected),
        field_id::NVML_FI_DEV_REMAPPED_PENDING => Unsigned(u32::from(spec.remapped_rows.pending)),
        field_id::NVML_FI_DEV_REMAPPED_FAILURE => Unsigned(u32::from(spec.remapped_rows.failed)),
        field_id::NVML_FI_DEV_PCIE_REPLAY_COUNTER => Unsigned(spec.links.pcie_replays),
        field_id::NVML_FI_DEV_PCIE_COUNT_TX_BYTES => Long(call.gained(spec.links.pcie_sent_mib_s) << 20),
        field_id::NVML_FI_DEV_PCIE_COUNT_RX_BYTES => Long(call.gained(spec.links.pcie_received_mib_s) << 20),
        // KiB of all links; of one link nothing is simulated.
        field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX if scope == u32::MAX => {
            Long(call.gained(spec.links.nvlink_sent_mib_s) << 10)
        }
        field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX if scope == u32::MAX => {
            Long(call.gained(spec.links.nvlink_received_mib_s) << 10)
        }
        field_id::NVML_FI_DEV_PERF_POLICY_POWER => Long(throttled_ns(call, 0x4)),
        field_id::NVML_FI_DEV_PERF_POLICY_THERMAL => Long(throttled_ns(call, 0x60)),
        field_id::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST => Long(throttled_ns(call, 0x10)),
        field_id::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT | field_id::NVML_FI_DEV_PERF_POLICY_RELIABILITY => {
            Long(0)
        }
        field_id::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN => Long(throttled_ns(call, 0x20)),
        field_id::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN => Long(throttled_ns(call, 0x40)),
        field_id::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN => Long(throttled_ns(call, 0x80)),
        field_id::NVML_FI_DEV_POWER_AVERAGE => scoped(scope, call.gpu.average_power_mw(call.now_us))?,
        field_id::NVML_FI_DEV_POWER_INSTANT => scoped(scope, call.power_mw())?,
        field_id::NVML_FI_DEV_POWER_MIN_LIMIT..=field_id::NVML_FI_DEV_POWER_REQUESTED_LIMIT
            if scope != SCOPE_GPU =>
        {
            return Err(NOT_SUPPORTED);
        }
        field_id::NVML_FI_DEV_POWER_MIN_LIMIT => Unsigned(spec.power_limit_min_mw),
        field_id::NVML_FI_DEV_POWER_MAX_LIMIT | field_id::NVML_FI_DEV_POWER_DEFAULT_LIMIT => {
            Unsigned(spec.power_limit_max_mw)
        }
        field_id::NVML_FI_DEV_POWER_CURRENT_LIMIT | field_id::NVML_FI_DEV_POWER_REQUESTED_LIMIT => {
            Unsigned(spec.power_limit_mw)
        }
        field_id::NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT => margin(spec.shutdown_c),
        field_id::NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT => margin(spec.slowdown_c),
        _ => return Err(NOT_SUPPORTED),
    })
}

fn fill(call: &Call, entry: Out<nvmlFieldValue_t>) -> Answer<()> {
    let asked = |address: fn(*mut nvmlFieldValue_t) -> *mut u32| entry.field(address).get();
    // SAFETY: the addresses of fields inside an entry of the caller's array; nothing is read here.
    let (field, scope) = (
        asked(|e| unsafe { addr_of_mut!((*e).fieldId) })?,
        asked(|e| unsafe { addr_of_mut!((*e).scopeId) })?,
    );
    let answer = call.part(&format!("field:{field}")).and_then(|()| value(call, field, scope));
    let (value_type, filled, outcome): (nvmlValueType_t, nvmlValue_t, nvmlReturn_t) = match answer {
        Ok(Value::Unsigned(number)) => (1, nvmlValue_t { ullVal: u64::from(number) }, 0),
        Ok(Value::Long(number)) => (3, nvmlValue_t { ullVal: number }, 0),
        Err(why) => (1, nvmlValue_t { ullVal: 0 }, code(Err(why))),
    };
    entry.put(nvmlFieldValue_t {
        fieldId: field,
        scopeId: scope,
        timestamp: call.library.clock.unix_us_at(call.now_us).cast_signed(),
        latencyUsec: 1,
        valueType: value_type,
        nvmlReturn: outcome,
        value: filled,
    })
}

export! {
    device fn nvmlDeviceGetFieldValues(call, count: c_int, values: *mut nvmlFieldValue_t) {
        let count = usize::try_from(count).map_err(|_| INVALID_ARGUMENT)?;
        if count > FIELDS_MAX {
            return Err(INVALID_ARGUMENT);
        }
        (0..count).try_for_each(|index| fill(&call, values.at(index)))
    }
}
