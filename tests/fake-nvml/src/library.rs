//! The library's state behind the C interface: loaded once, initialised and shut down by count.

use std::path::PathBuf;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use nvml_wrapper_sys::bindings::nvmlDevice_t;

use crate::clock::Clock;
use crate::code::{Answer, Code, INVALID_ARGUMENT, NOT_SUPPORTED, UNINITIALIZED, UNKNOWN};
use crate::model::{Effect, Gpu, Instance, Model, Phase};
use crate::truth::Truth;

/// The environment variable that names the scenario file.
pub const VARIABLE: &str = "GPULEDGER_FAKE_NVML_SCENARIO";

/// Handles are numbers that look like addresses and are never followed.
const FIRST_HANDLE: usize = 0x5131_7000;
const HANDLE_STEP: usize = 0x100;

/// What may be asked of a MIG instance by its handle: who it is, its memory and its processes.
const OF_INSTANCES: [&str; 19] = [
    "nvmlDeviceGetAttributes",
    "nvmlDeviceGetAttributes_v2",
    "nvmlDeviceGetComputeInstanceId",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
    "nvmlDeviceGetGpuInstanceId",
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetMemoryErrorCounter",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceGetBAR1MemoryInfo",
];
/// What a GPU does not tell of itself while it is cut.
const NOT_WHEN_CUT: [&str; 6] = [
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetEncoderUtilization",
    "nvmlDeviceGetDecoderUtilization",
    "nvmlDeviceGetJpgUtilization",
    "nvmlDeviceGetOfaUtilization",
    "nvmlDeviceGetProcessUtilization",
];

/// How often a blocked call looks whether its fault is over.
const BLOCKED_LOOK: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub struct Library {
    pub model: Model,
    pub clock: Clock,
    pub truth: Truth,
    /// Indices of the GPUs that the last first `nvmlInit` found.
    visible: Mutex<Vec<usize>>,
}

static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
static USERS: AtomicU32 = AtomicU32::new(0);

/// The scenario that lies beside this library: the file that holds the code of this function, with
/// `.toml` behind its name. Several libraries in one process so have a scenario each.
fn beside() -> Option<PathBuf> {
    let here = (beside as *const ()).addr();
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let holds = |line: &&str| {
        let bounds = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let bounds =
            bounds.map(|(low, high)| (usize::from_str_radix(low, 16), usize::from_str_radix(high, 16)));
        matches!(bounds, Some((Ok(low), Ok(high))) if (low..high).contains(&here))
    };
    let file = maps.lines().find(holds)?.split_whitespace().nth(5)?;
    let scenario = PathBuf::from(format!("{file}.toml"));
    scenario.is_file().then_some(scenario)
}

fn load() -> Result<Library, String> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let text = match named.or_else(beside) {
        None => include_str!("default.toml").to_owned(),
        Some(path) => {
            std::fs::read_to_string(&path).map_err(|e| format!("{VARIABLE}: read {}: {e}", path.display()))?
        }
    };
    let model = Model::parse(&text, std::process::id()).map_err(|e| format!("{VARIABLE}: {e}"))?;
    let clock = Clock::start(&model.clock);
    Ok(Library { model, clock, truth: Truth::from_environment()?, visible: Mutex::new(Vec::new()) })
}

/// The loaded library. A wrong scenario is told on standard error, as there is no other way out.
pub fn loaded() -> Answer<&'static Library> {
    let library = LIBRARY.get_or_init(|| {
        let library = load();
        if let Err(message) = &library {
            eprintln!("fake-nvml: {message}");
        }
        library
    });
    library.as_ref().map_err(|_| UNKNOWN)
}

pub fn init(call: &str) -> Answer<()> {
    let library = loaded()?;
    library.stand(call, None)?;
    if USERS.fetch_add(1, Ordering::SeqCst) == 0 {
        let now_us = library.clock.now_us();
        let seen = |gpu: &usize| !library.model.faults.iter().any(|fault| fault.hides(*gpu, now_us));
        *library.visible() = (0..library.model.gpus.len()).filter(seen).collect();
    }
    Ok(())
}

pub fn shutdown() -> Answer<()> {
    let fewer = |users: u32| users.checked_sub(1);
    USERS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).map(drop).map_err(|_| UNINITIALIZED)
}

/// Enters a call that concerns no single GPU.
pub fn enter(call: &str) -> Answer<&'static Library> {
    if USERS.load(Ordering::SeqCst) == 0 {
        return Err(UNINITIALIZED);
    }
    let library = loaded()?;
    library.stand(call, None)?;
    Ok(library)
}

impl Library {
    fn visible(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The visible GPUs, in NVML's order.
    pub fn gpus(&self) -> Vec<&Gpu> {
        self.visible().iter().map(|&index| &self.model.gpus[index]).collect()
    }

    /// Meets every fault that stands in the way of this call, in the scenario's order.
    fn stand(&self, call: &str, gpu: Option<usize>) -> Answer<()> {
        for fault in &self.model.faults {
            if !fault.meets(call, gpu, self.clock.now_us()) {
                continue;
            }
            match fault.effect {
                Effect::Answer(code) => return Err(code),
                Effect::Delay(time) => sleep(time),
                Effect::Block => {
                    while fault.lasts_at(self.clock.now_us()) {
                        sleep(BLOCKED_LOOK);
                    }
                }
                Effect::Hidden => {}
            }
        }
        Ok(())
    }
}

pub fn handle(gpu: &Gpu) -> nvmlDevice_t {
    without_provenance_mut(FIRST_HANDLE + gpu.index * HANDLE_STEP)
}

/// The handle of the instance at this place.
pub fn instance_handle(gpu: &Gpu, place: usize) -> nvmlDevice_t {
    without_provenance_mut(FIRST_HANDLE + gpu.index * HANDLE_STEP + 1 + place)
}

/// A call on one GPU, with the moment at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub library: &'static Library,
    pub gpu: &'static Gpu,
    /// The instance, where the handle was one's.
    pub instance: Option<&'static Instance>,
    pub now_us: u64,
}

impl Call {
    /// Enters a call on a GPU: finds it, then meets its faults.
    pub fn enter(device: nvmlDevice_t, call: &str) -> Answer<Self> {
        if USERS.load(Ordering::SeqCst) == 0 {
            return Err(UNINITIALIZED);
        }
        let library = loaded()?;
        let offset = device.addr().checked_sub(FIRST_HANDLE).ok_or(INVALID_ARGUMENT)?;
        let gpu = library.model.gpus.get(offset / HANDLE_STEP).ok_or(INVALID_ARGUMENT)?;
        library.stand(call, Some(gpu.index))?;
        let now_us = library.clock.now_us();
        let cut = gpu.instances(now_us);
        let instance = match (offset % HANDLE_STEP).checked_sub(1) {
            None if cut.is_some() && NOT_WHEN_CUT.contains(&call) => return Err(NOT_SUPPORTED),
            None => None,
            Some(place) => {
                let instance = cut.and_then(|instances| instances.get(place)).ok_or(INVALID_ARGUMENT)?;
                if !OF_INSTANCES.contains(&call) {
                    return Err(NOT_SUPPORTED);
                }
                Some(instance)
            }
        };
        Ok(Self { library, gpu, instance, now_us })
    }

    /// Meets the faults of a part of a call, such as one field of many.
    pub fn part(&self, name: &str) -> Answer<()> {
        self.library.stand(name, Some(self.gpu.index))
    }

    pub fn phase(&self) -> &'static Phase {
        self.gpu.phase(self.now_us)
    }

    /// What a counter shows that has gained so many units a second since the scenario began.
    pub fn gained(&self, a_second: u32) -> u64 {
        u64::try_from(u128::from(a_second) * u128::from(self.now_us) / 1_000_000).unwrap_or(u64::MAX)
    }

    pub fn power_mw(&self) -> u32 {
        self.gpu.power_mw(self.now_us)
    }

    /// Reads the energy counter and writes the reading into the truth.
    pub fn energy_mj(&self) -> Answer<u64> {
        let counter = self.gpu.counter(self.now_us);
        self.library.truth.record(self.gpu, counter).map_err(|e| {
            eprintln!("fake-nvml: {}: {e}", crate::truth::VARIABLE);
            UNKNOWN
        })?;
        Ok(counter.mj)
    }
}

/// An answer as C sees it.
pub fn code(answer: Answer<()>) -> u32 {
    match answer {
        Ok(()) => 0,
        Err(Code(code)) => code,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::code::NOT_SUPPORTED;

    pub fn library(scenario: &str) -> Library {
        let model = Model::parse(scenario, 1).expect("scenario");
        let clock = Clock::start(&model.clock);
        Library { model, clock, truth: Truth::default(), visible: Mutex::new(Vec::new()) }
    }

    #[test]
    fn a_lost_gpu_answers_so_to_every_call_and_its_neighbour_does_not() {
        let library =
            library("[[gpu]]\ncount = 2\n[[fault]]\nkind = \"answer\"\ncode = \"GPU_IS_LOST\"\ngpu = 1");
        for call in ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetUUID"] {
            assert_eq!(library.stand(call, Some(1)), Err(Code(15)));
            assert_eq!(library.stand(call, Some(0)), Ok(()));
        }
        assert_eq!(library.stand("nvmlInit_v2", None), Ok(()), "the library itself is well");
    }

    #[test]
    fn a_fault_without_gpu_concerns_the_library_too() {
        let library = library("[[gpu]]\n[[fault]]\nkind = \"answer\"\ncode = \"DRIVER_NOT_LOADED\"");
        assert_eq!(library.stand("nvmlInit_v2", None), Err(Code(9)));
        assert_eq!(library.stand("nvmlDeviceGetName", Some(0)), Err(Code(9)));
    }

    #[test]
    fn a_blocked_call_returns_when_the_fault_is_over_and_meets_the_next() {
        let library = library(
            "[[gpu]]\n[[fault]]\nkind = \"block\"\nto_ms = 60\n\
             [[fault]]\nkind = \"answer\"\ncode = \"NOT_SUPPORTED\"",
        );
        assert_eq!(library.stand("nvmlDeviceGetName", Some(0)), Err(NOT_SUPPORTED));
        assert!(library.clock.now_us() >= 60_000);
    }

    #[test]
    fn a_delay_is_at_least_as_long_as_told() {
        let library =
            library("[[gpu]]\n[[fault]]\nkind = \"delay\"\ndelay_ms = 30\ncalls = [\"nvmlDeviceGetName\"]");
        let before = library.clock.now_us();
        assert_eq!(library.stand("nvmlDeviceGetName", Some(0)), Ok(()));
        assert!(library.clock.now_us() >= before + 30_000);
    }
}
