//! Memory, utilisation, processes, samples.

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlBAR1Memory_t, nvmlEnableState_t, nvmlEncoderSessionInfo_t, nvmlFBCSessionInfo_t, nvmlFBCStats_t,
    nvmlMemory_t, nvmlMemory_v2_t, nvmlProcessInfo_t, nvmlProcessInfo_v1_t, nvmlProcessInfo_v2_t,
    nvmlProcessUtilizationSample_t, nvmlSample_t, nvmlSamplingType_t, nvmlUtilization_t, nvmlValue_t,
    nvmlValueType_t,
};

use crate::abi::{Out, export, version};
use crate::code::{ARGUMENT_VERSION_MISMATCH, Answer, NOT_FOUND, NOT_SUPPORTED};
use crate::library::Call;
use crate::model::Process;

/// Not in a MIG instance.
pub const NO_INSTANCE: u32 = u32::MAX;
/// The encoder's and decoder's sampling period.
const CODEC_PERIOD_US: u32 = 167_000;
/// How often the driver puts a sample into its buffer, and how many it keeps.
const SAMPLE_PERIOD_US: u64 = 100_000;
const SAMPLES_KEPT: u64 = 60;
const BAR1_BYTES: u64 = 128 << 30;

/// Bytes of memory: all, reserved by the driver, used by processes, free.
struct Memory {
    total: u64,
    reserved: u64,
    used: u64,
}

impl Memory {
    fn of(call: &Call) -> Self {
        let spec = &call.gpu.spec;
        if let Some(of) = call.instance {
            return Self {
                total: of.spec.memory_mib << 20,
                reserved: 0,
                used: of.spec.memory_used_mib << 20,
            };
        }
        Self {
            total: spec.memory_mib << 20,
            reserved: spec.reserved_mib << 20,
            used: call.phase().spec.memory_used_mib << 20,
        }
    }

    fn free(&self) -> u64 {
        self.total - self.reserved - self.used
    }
}

fn codec(percent: u32, utilization: Out<u32>, period: Out<u32>) -> Answer<()> {
    utilization.put(percent)?;
    period.put(CODEC_PERIOD_US)
}

fn processes<T: Copy>(
    call: &Call,
    graphics: bool,
    count: Out<u32>,
    infos: Out<T>,
    info: impl Fn(&Process) -> T,
) -> Answer<()> {
    let cut = call.gpu.instances(call.now_us).unwrap_or_default();
    // The whole GPU lists what runs in its instances too.
    let listed: Vec<&Process> = match call.instance {
        Some(of) => of.processes.iter().collect(),
        None => call.phase().processes.iter().chain(cut.iter().flat_map(|of| &of.processes)).collect(),
    };
    let of_kind = listed.into_iter().filter(|process| process.graphics == graphics);
    infos.put_all(count, &of_kind.map(info).collect::<Vec<T>>())
}

fn info_v1(process: &Process) -> nvmlProcessInfo_v1_t {
    nvmlProcessInfo_v1_t { pid: process.pid, usedGpuMemory: process.memory_bytes }
}

fn info_v2(process: &Process) -> nvmlProcessInfo_v2_t {
    nvmlProcessInfo_v2_t {
        pid: process.pid,
        usedGpuMemory: process.memory_bytes,
        gpuInstanceId: NO_INSTANCE,
        computeInstanceId: NO_INSTANCE,
    }
}

fn info(process: &Process) -> nvmlProcessInfo_t {
    nvmlProcessInfo_t {
        pid: process.pid,
        usedGpuMemory: process.memory_bytes,
        gpuInstanceId: NO_INSTANCE,
        computeInstanceId: NO_INSTANCE,
    }
}

/// The value of one kind of sample at a moment.
fn sampled(call: &Call, kind: u32, at_us: u64) -> Answer<u32> {
    let phase = &call.gpu.phase(at_us).spec;
    match kind {
        0 => Ok(call.gpu.power_mw(at_us)),
        1 => Ok(phase.gpu_util),
        2 => Ok(phase.memory_util),
        3 => Ok(phase.encoder_util),
        4 => Ok(phase.decoder_util),
        5 => Ok(phase.sm_mhz),
        6 => Ok(phase.memory_mhz),
        _ => Err(NOT_SUPPORTED),
    }
}

/// The samples still in the buffer that are newer than `seen_unix_us`.
fn samples(call: &Call, kind: u32, seen_unix_us: u64) -> Answer<Vec<nvmlSample_t>> {
    let last = call.now_us / SAMPLE_PERIOD_US;
    let mut found = Vec::new();
    for number in (last + 1).saturating_sub(SAMPLES_KEPT)..=last {
        let at_us = number * SAMPLE_PERIOD_US;
        let stamp = call.library.clock.unix_us_at(at_us);
        if stamp > seen_unix_us {
            let value = nvmlValue_t { uiVal: sampled(call, kind, at_us)? };
            found.push(nvmlSample_t { timeStamp: stamp, sampleValue: value });
        }
    }
    Ok(found)
}

export! {
    device fn nvmlDeviceGetMemoryInfo(call, memory: *mut nvmlMemory_t) {
        // Version 1 counts what the driver reserves as used.
        let m = Memory::of(&call);
        memory.put(nvmlMemory_t { total: m.total, free: m.free(), used: m.used + m.reserved })
    }

    device fn nvmlDeviceGetMemoryInfo_v2(call, memory: *mut nvmlMemory_v2_t) {
        let asked = memory.get()?.version;
        if asked != version::<nvmlMemory_v2_t>(2) {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        let m = Memory::of(&call);
        memory.put(nvmlMemory_v2_t {
            version: asked,
            total: m.total,
            reserved: m.reserved,
            free: m.free(),
            used: m.used,
        })
    }

    device fn nvmlDeviceGetBAR1MemoryInfo(_call, memory: *mut nvmlBAR1Memory_t) {
        memory.put(nvmlBAR1Memory_t { bar1Total: BAR1_BYTES, bar1Free: BAR1_BYTES - (1 << 20), bar1Used: 1 << 20 })
    }

    device fn nvmlDeviceGetUtilizationRates(call, rates: *mut nvmlUtilization_t) {
        let phase = &call.phase().spec;
        rates.put(nvmlUtilization_t { gpu: phase.gpu_util, memory: phase.memory_util })
    }

    device fn nvmlDeviceGetEncoderUtilization(call, percent: *mut c_uint, period: *mut c_uint) {
        codec(call.phase().spec.encoder_util, percent, period)
    }

    device fn nvmlDeviceGetDecoderUtilization(call, percent: *mut c_uint, period: *mut c_uint) {
        codec(call.phase().spec.decoder_util, percent, period)
    }

    device fn nvmlDeviceGetJpgUtilization(_call, percent: *mut c_uint, period: *mut c_uint) {
        codec(0, percent, period)
    }

    device fn nvmlDeviceGetOfaUtilization(_call, percent: *mut c_uint, period: *mut c_uint) {
        codec(0, percent, period)
    }

    device fn nvmlDeviceGetEncoderStats(
        _call, sessions: *mut c_uint, fps: *mut c_uint, latency: *mut c_uint,
    ) {
        sessions.put(0)?;
        fps.put(0)?;
        latency.put(0)
    }

    device fn nvmlDeviceGetEncoderSessions(_call, count: *mut c_uint, _infos: *mut nvmlEncoderSessionInfo_t) {
        count.put(0)
    }

    device fn nvmlDeviceGetFBCStats(_call, stats: *mut nvmlFBCStats_t) {
        stats.put(nvmlFBCStats_t { sessionsCount: 0, averageFPS: 0, averageLatency: 0 })
    }

    device fn nvmlDeviceGetFBCSessions(_call, count: *mut c_uint, _infos: *mut nvmlFBCSessionInfo_t) {
        count.put(0)
    }

    device fn nvmlDeviceGetComputeRunningProcesses_v3(call, count: *mut c_uint, infos: *mut nvmlProcessInfo_t) {
        processes(&call, false, count, infos, info)
    }

    device unchecked fn nvmlDeviceGetComputeRunningProcesses_v2(
        call, count: *mut c_uint, infos: *mut nvmlProcessInfo_v2_t,
    ) {
        processes(&call, false, count, infos, info_v2)
    }

    device unchecked fn nvmlDeviceGetComputeRunningProcesses(
        call, count: *mut c_uint, infos: *mut nvmlProcessInfo_v1_t,
    ) {
        processes(&call, false, count, infos, info_v1)
    }

    device fn nvmlDeviceGetGraphicsRunningProcesses_v3(call, count: *mut c_uint, infos: *mut nvmlProcessInfo_t) {
        processes(&call, true, count, infos, info)
    }

    device unchecked fn nvmlDeviceGetGraphicsRunningProcesses_v2(
        call, count: *mut c_uint, infos: *mut nvmlProcessInfo_v2_t,
    ) {
        processes(&call, true, count, infos, info_v2)
    }

    device unchecked fn nvmlDeviceGetGraphicsRunningProcesses(
        call, count: *mut c_uint, infos: *mut nvmlProcessInfo_v1_t,
    ) {
        processes(&call, true, count, infos, info_v1)
    }

    device fn nvmlDeviceGetMPSComputeRunningProcesses_v3(_call, count: *mut c_uint, infos: *mut nvmlProcessInfo_t) {
        infos.put_all(count, &[])
    }

    device unchecked fn nvmlDeviceGetMPSComputeRunningProcesses_v2(
        _call, count: *mut c_uint, infos: *mut nvmlProcessInfo_v2_t,
    ) {
        infos.put_all(count, &[])
    }

    device fn nvmlDeviceGetProcessUtilization(
        _call, _samples: *mut nvmlProcessUtilizationSample_t, count: *mut c_uint, _seen: c_ulonglong,
    ) {
        // As the driver does when no process has used an engine lately.
        count.put(0)?;
        Err(NOT_FOUND)
    }

    device fn nvmlDeviceGetSamples(
        call, kind: nvmlSamplingType_t, seen: c_ulonglong, value_type: *mut nvmlValueType_t,
        count: *mut c_uint, out: *mut nvmlSample_t,
    ) {
        let found = samples(&call, kind, seen)?;
        value_type.put(1)?;
        if out.is_null() {
            return count.put(u32::try_from(SAMPLES_KEPT).unwrap_or(0));
        }
        if found.is_empty() {
            return Err(NOT_FOUND);
        }
        out.put_all(count, &found)
    }

    device fn nvmlDeviceGetAccountingMode(_call, mode: *mut nvmlEnableState_t) {
        mode.put(0)
    }

    device fn nvmlDeviceGetAccountingBufferSize(_call, size: *mut c_uint) {
        size.put(4000)
    }

    device fn nvmlDeviceGetAccountingPids(_call, count: *mut c_uint, _pids: *mut c_uint) {
        count.put(0)
    }
}
