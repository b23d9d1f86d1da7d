//! GPM: metrics of the time between two samples. A sample is a GPU and a moment.

use std::collections::BTreeMap;
use std::ffi::c_uint;
use std::ptr::{addr_of_mut, without_provenance_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nvml_wrapper_sys::bindings::{nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlGpmSupport_t};

use crate::abi::{Out, export};
use crate::code::{ARGUMENT_VERSION_MISMATCH, Answer, INVALID_ARGUMENT, NOT_SUPPORTED};
use crate::library::{Call, Library, code};

/// GPM begins with Hopper.
const HOPPER: u32 = 9;
const METRICS_MAX: u32 = 210;

#[derive(Clone, Copy, Debug)]
struct Taken {
    gpu: usize,
    /// The GPU instance; `None` is the whole.
    instance: Option<u32>,
    at_us: u64,
}

static SAMPLES: Mutex<BTreeMap<usize, Option<Taken>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicUsize = AtomicUsize::new(0x6b40_0000);

fn taken(sample: usize) -> Answer<Taken> {
    let samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    samples.get(&sample).copied().flatten().ok_or(INVALID_ARGUMENT)
}

fn take(call: &Call, instance: Option<u32>, sample: usize) -> Answer<()> {
    if call.gpu.spec.architecture < HOPPER {
        return Err(NOT_SUPPORTED);
    }
    let cut = call.gpu.instances(call.now_us).unwrap_or_default();
    if instance.is_some_and(|id| cut.iter().all(|of| of.spec.gpu_instance != id)) {
        return Err(INVALID_ARGUMENT);
    }
    let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    let place = samples.get_mut(&sample).ok_or(INVALID_ARGUMENT)?;
    *place = Some(Taken { gpu: call.gpu.index, instance, at_us: call.now_us });
    Ok(())
}

/// A metric by its number, as it is at the second sample.
fn metric(library: &Library, number: u32, sample: Taken) -> Answer<f64> {
    let gpu = &library.model.gpus[sample.gpu];
    let phase = &gpu.phase(sample.at_us).spec;
    let links = &gpu.spec.links;
    let (busy, memory) = (f64::from(phase.gpu_util), f64::from(phase.memory_util));
    if let Some(id) = sample.instance {
        let cut = gpu.instances(sample.at_us).unwrap_or_default();
        let of = cut.iter().find(|of| of.spec.gpu_instance == id).ok_or(INVALID_ARGUMENT)?;
        return match number {
            1 | 2 => Ok(f64::from(of.spec.sm_active)),
            3 | 5 => Ok(f64::from(of.spec.sm_active) * 0.4),
            10 => Ok(memory),
            _ => Err(NOT_SUPPORTED),
        };
    }
    match number {
        1 => Ok(busy),
        2 => Ok(busy * 0.9),
        3 => Ok(busy * 0.4),
        4 => Ok(busy * 0.1),
        5 => Ok(busy * 0.5),
        10 => Ok(memory),
        11 => Ok(busy * 0.02),
        12 => Ok(busy * 0.2),
        13 => Ok(busy * 0.05),
        20 => Ok(f64::from(links.pcie_sent_mib_s)),
        21 => Ok(f64::from(links.pcie_received_mib_s)),
        60 => Ok(f64::from(links.nvlink_received_mib_s)),
        61 => Ok(f64::from(links.nvlink_sent_mib_s)),
        _ => Err(NOT_SUPPORTED),
    }
}

/// Fills the entries that the caller counted, and no more of the structure than these.
fn metrics(library: &Library, get: Out<nvmlGpmMetricsGet_t>) -> Answer<()> {
    // SAFETY: the addresses of fields inside the caller's structure; nothing is read here.
    let (version, count, first, second, entries) = unsafe {
        (
            get.field(|g| addr_of_mut!((*g).version)).get()?,
            get.field(|g| addr_of_mut!((*g).numMetrics)).get()?,
            get.field(|g| addr_of_mut!((*g).sample1)).get()?,
            get.field(|g| addr_of_mut!((*g).sample2)).get()?,
            get.field(|g| addr_of_mut!((*g).metrics).cast::<nvml_wrapper_sys::bindings::nvmlGpmMetric_t>()),
        )
    };
    if version != 1 {
        return Err(ARGUMENT_VERSION_MISMATCH);
    }
    let (first, second) = (taken(first.addr())?, taken(second.addr())?);
    if first.gpu != second.gpu
        || first.instance != second.instance
        || first.at_us >= second.at_us
        || count > METRICS_MAX
    {
        return Err(INVALID_ARGUMENT);
    }
    for index in 0..usize::try_from(count).map_err(|_| INVALID_ARGUMENT)? {
        let entry = entries.at(index);
        let mut filled = entry.get()?;
        match metric(library, filled.metricId, second) {
            Ok(value) => (filled.nvmlReturn, filled.value) = (0, value),
            Err(why) => (filled.nvmlReturn, filled.value) = (code(Err(why)), 0.0),
        }
        entry.put(filled)?;
    }
    Ok(())
}

export! {
    device fn nvmlGpmQueryDeviceSupport(call, support: *mut nvmlGpmSupport_t) {
        let version = support.get()?.version;
        let yes = u32::from(call.gpu.spec.architecture >= HOPPER);
        support.put(nvmlGpmSupport_t { version, isSupportedDevice: yes })
    }

    device fn nvmlGpmQueryIfStreamingEnabled(_call, state: *mut c_uint) {
        state.put(0)
    }

    library fn nvmlGpmSampleAlloc(_library, sample: *mut nvmlGpmSample_t) {
        let number = NEXT.fetch_add(0x10, Ordering::Relaxed);
        SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).insert(number, None);
        sample.put(without_provenance_mut(number))
    }

    library fn nvmlGpmSampleFree(_library, sample: nvmlGpmSample_t) {
        let removed = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).remove(&sample.number());
        removed.map(drop).ok_or(INVALID_ARGUMENT)
    }

    device fn nvmlGpmSampleGet(call, sample: nvmlGpmSample_t) {
        take(&call, None, sample.number())
    }

    device fn nvmlGpmMigSampleGet(call, instance: c_uint, sample: nvmlGpmSample_t) {
        take(&call, Some(instance), sample.number())
    }

    library fn nvmlGpmMetricsGet(library, get: *mut nvmlGpmMetricsGet_t) {
        metrics(library, get)
    }
}
