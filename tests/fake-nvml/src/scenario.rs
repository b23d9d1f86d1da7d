//! The scenario file as written; `model` checks it and makes it runnable.
//!
//! Its format is described at the head of the crate.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    pub node: String,
    pub clock: Clock,
    pub driver: Driver,
    pub gpu: Vec<Gpu>,
    pub fault: Vec<Fault>,
    pub xid: Vec<Xid>,
    pub mig: Vec<Mig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clock {
    pub start_boot_ms: Option<i64>,
    pub start_unix_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Driver {
    pub version: String,
    pub nvml: String,
    /// CUDA's way to write a version: 12040 is 12.4.
    pub cuda: i32,
}

impl Default for Driver {
    fn default() -> Self {
        Self { version: "550.163.01".into(), nvml: "12.550.163.01".into(), cuda: 12_040 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    pub count: usize,
    pub name: String,
    pub uuid: Option<String>,
    pub serial: Option<String>,
    pub minor: Option<u32>,
    pub pci_bus: Option<u32>,
    pub memory_mib: u64,
    pub reserved_mib: u64,
    pub power_limit_mw: u32,
    pub power_limit_min_mw: u32,
    pub power_limit_max_mw: u32,
    pub max_sm_mhz: u32,
    pub max_memory_mhz: u32,
    pub slowdown_c: u32,
    pub shutdown_c: u32,
    pub persistence: bool,
    pub ecc_corrected: u64,
    pub ecc_uncorrected: u64,
    pub architecture: u32,
    pub compute_capability: [i32; 2],
    pub energy_start_mj: u64,
    pub energy_refresh_ms: u64,
    pub stagger_ms: u64,
    /// The intended speed of each fan, in percent; servers' GPUs have none.
    pub fans: Vec<u32>,
    pub compute_mode: u32,
    pub remapped_rows: Remapped,
    pub links: Links,
    pub phase: Vec<Phase>,
}

/// Rows of memory that were remapped, as totals, and what became of the last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remapped {
    pub corrected: u32,
    pub uncorrected: u32,
    pub pending: bool,
    pub failed: bool,
}

/// Traffic in each direction from the start on, and errors, as totals.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    pub pcie_sent_mib_s: u32,
    pub pcie_received_mib_s: u32,
    pub pcie_replays: u32,
    pub nvlink_sent_mib_s: u32,
    pub nvlink_received_mib_s: u32,
    /// Links of NVLink that are down, counted from the last.
    pub nvlinks_down: u32,
    /// Of every link, for each kind of error.
    pub nvlink_errors: u32,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            count: 1,
            name: "Simulated H100 80GB HBM3".into(),
            uuid: None,
            serial: None,
            minor: None,
            pci_bus: None,
            memory_mib: 81_559,
            reserved_mib: 330,
            power_limit_mw: 700_000,
            power_limit_min_mw: 200_000,
            power_limit_max_mw: 700_000,
            max_sm_mhz: 1980,
            max_memory_mhz: 2619,
            slowdown_c: 90,
            shutdown_c: 95,
            persistence: true,
            ecc_corrected: 0,
            ecc_uncorrected: 0,
            architecture: 9,
            compute_capability: [9, 0],
            energy_start_mj: 0,
            energy_refresh_ms: 0,
            stagger_ms: 0,
            fans: Vec::new(),
            compute_mode: 0,
            remapped_rows: Remapped::default(),
            links: Links::default(),
            phase: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phase {
    pub ms: u64,
    pub power_mw: Power,
    pub gpu_util: u32,
    pub memory_util: u32,
    pub encoder_util: u32,
    pub decoder_util: u32,
    pub memory_used_mib: u64,
    pub temperature_c: u32,
    pub memory_temperature_c: u32,
    pub sm_mhz: u32,
    pub memory_mhz: u32,
    pub pstate: u32,
    pub clock_reasons: u64,
    pub processes: Vec<Process>,
}

impl Default for Phase {
    /// An idle H100.
    fn default() -> Self {
        Self {
            ms: 60_000,
            power_mw: Power::Constant(70_000),
            gpu_util: 0,
            memory_util: 0,
            encoder_util: 0,
            decoder_util: 0,
            memory_used_mib: 0,
            temperature_c: 32,
            memory_temperature_c: 40,
            sm_mhz: 345,
            memory_mhz: 2619,
            pstate: 0,
            clock_reasons: 1,
            processes: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Power {
    Constant(u64),
    Ramp { from: u64, to: u64 },
    Sine { mean: u64, amplitude: u64, period_ms: u64 },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: Pid,
    #[serde(default)]
    pub memory_mib: u64,
    #[serde(default)]
    pub graphics: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Pid {
    Number(u32),
    Word(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    #[serde(default)]
    pub gpu: Option<usize>,
    #[serde(default)]
    pub from_ms: u64,
    #[serde(default)]
    pub to_ms: Option<u64>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub delay_ms: Option<u64>,
    #[serde(default)]
    pub calls: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    Answer,
    Block,
    Delay,
    CounterReset,
    Hidden,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xid {
    pub gpu: usize,
    pub at_ms: u64,
    pub code: u64,
}

/// From a moment on, how a GPU is cut.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mig {
    pub gpu: usize,
    #[serde(default)]
    pub from_ms: u64,
    /// MIG is off from then on.
    #[serde(default)]
    pub off: bool,
    #[serde(default)]
    pub instance: Vec<Instance>,
}

/// One compute instance, which fills its GPU instance unless another names the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    pub gpu_instance: u32,
    #[serde(default)]
    pub compute_instance: u32,
    pub slices: u32,
    pub memory_mib: u64,
    #[serde(default)]
    pub memory_used_mib: u64,
    /// Percent of time in which its multiprocessors are active.
    #[serde(default)]
    pub sm_active: u32,
    #[serde(default)]
    pub processes: Vec<Process>,
}
