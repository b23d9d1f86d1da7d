//! A checked scenario: GPUs that can be asked for any moment, and the faults that stand in between.

use std::time::Duration;

use crate::code::Code;
use crate::scenario::{self, FaultKind, Pid, Power, Scenario};
use crate::wave::{HALF_NJ_PER_MJ, Schedule, Stretch, Wave};

/// All simulated UUIDs begin so, whatever the scenario; explicit UUIDs are left as written.
pub const UUID_PREFIX: &str = "GPU-51317fa4";

/// More GPUs than any server has; guards against a slip in `count`.
const GPUS_MAX: usize = 64;
/// Waves stay below 2^53 in milliwatts times microseconds.
const POWER_MW_MAX: u64 = 10_000_000;
const PERIOD_US_MAX: u64 = 900_000_000;
const PHASE_MS_MAX: u64 = 86_400_000;

/// A scenario that can be run.
#[derive(Debug)]
pub struct Model {
    pub clock: scenario::Clock,
    pub driver: scenario::Driver,
    pub gpus: Vec<Gpu>,
    pub faults: Vec<Fault>,
    pub xids: Vec<scenario::Xid>,
}

/// One simulated GPU.
#[derive(Debug)]
pub struct Gpu {
    pub index: usize,
    pub uuid: String,
    pub serial: String,
    pub minor: u32,
    pub pci_bus: u32,
    pub spec: std::sync::Arc<scenario::Gpu>,
    pub phases: Vec<Phase>,
    schedule: Schedule,
    offset_us: u64,
    /// Moments at which the energy counter starts again, ascending.
    resets_us: Vec<u64>,
    /// How it is cut from a moment on, ascending; `None` is MIG off.
    cuts: Vec<(u64, Option<Vec<Instance>>)>,
}

/// One MIG instance.
#[derive(Debug)]
pub struct Instance {
    pub uuid: String,
    pub spec: scenario::Instance,
    pub processes: Vec<Process>,
}

/// What stays the same during a phase.
#[derive(Debug)]
pub struct Phase {
    pub spec: scenario::Phase,
    pub processes: Vec<Process>,
}

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
    pub memory_bytes: u64,
    pub graphics: bool,
}

impl Process {
    /// The path of the program, as far as this process may see it.
    pub fn name(self) -> String {
        let of = |file| format!("/proc/{}/{file}", self.pid);
        let path = std::fs::read_link(of("exe")).map(|path| path.display().to_string());
        let path = path.or_else(|_| std::fs::read_to_string(of("comm")).map(|comm| comm.trim_end().into()));
        path.unwrap_or_else(|_| "[Not Found]".into())
    }
}

/// The energy counter at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    pub mj: u64,
    /// Resets so far.
    pub resets: usize,
}

impl Gpu {
    pub fn phase(&self, t_us: u64) -> &Phase {
        &self.phases[self.schedule.place(t_us + self.offset_us).phase]
    }

    /// The instances at a moment; `None` while MIG is off.
    pub fn instances(&self, t_us: u64) -> Option<&[Instance]> {
        let past = self.cuts.partition_point(|cut| cut.0 <= t_us);
        past.checked_sub(1).and_then(|last| self.cuts[last].1.as_deref())
    }

    /// How long phases of a kind have lasted since the scenario began.
    pub fn time_us(&self, t_us: u64, counts: impl Fn(&Phase) -> bool) -> u64 {
        let until = |t_us| self.schedule.time_us(t_us, |phase| counts(&self.phases[phase]));
        until(t_us + self.offset_us) - until(self.offset_us)
    }

    pub fn power_mw(&self, t_us: u64) -> u32 {
        u32::try_from(self.schedule.power_mw(t_us + self.offset_us)).unwrap_or(u32::MAX)
    }

    /// The mean power of the last second, as the driver gives it on Hopper.
    pub fn average_power_mw(&self, t_us: u64) -> u32 {
        let span_us = t_us.min(1_000_000);
        if span_us == 0 {
            return self.power_mw(t_us);
        }
        let now_us = t_us + self.offset_us;
        let half_nj = self.schedule.energy_half_nj(now_us) - self.schedule.energy_half_nj(now_us - span_us);
        u32::try_from(half_nj / 2 / u128::from(span_us)).unwrap_or(u32::MAX)
    }

    /// The floor of the exact energy since the last reset (or since the scenario began).
    pub fn counter(&self, t_us: u64) -> Counter {
        let refresh_us = (self.spec.energy_refresh_ms * 1000).max(1);
        let read_us = t_us - t_us % refresh_us;
        let resets = self.resets_us.partition_point(|&at| at <= t_us);
        let (since_us, start_mj) = match resets.checked_sub(1) {
            Some(last) => (self.resets_us[last], 0),
            None => (0, self.spec.energy_start_mj),
        };
        let energy = |at: u64| self.schedule.energy_half_nj(at + self.offset_us);
        let gained = energy(read_us.max(since_us)) - energy(since_us);
        let mj = start_mj + u64::try_from(gained / HALF_NJ_PER_MJ).unwrap_or(0);
        Counter { mj, resets }
    }
}

/// Something that goes wrong between two moments.
#[derive(Debug)]
pub struct Fault {
    gpu: Option<usize>,
    from_us: u64,
    to_us: u64,
    calls: Vec<String>,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Answer(Code),
    /// The call does not return while the fault lasts.
    Block,
    Delay(Duration),
    /// The GPU is not enumerated by an `nvmlInit` in this time.
    Hidden,
}

impl Fault {
    pub fn lasts_at(&self, t_us: u64) -> bool {
        (self.from_us..self.to_us).contains(&t_us)
    }

    /// Whether a call on `gpu` (or on the library) meets this fault now.
    pub fn meets(&self, call: &str, gpu: Option<usize>, t_us: u64) -> bool {
        self.lasts_at(t_us)
            && (self.gpu.is_none() || self.gpu == gpu)
            && (self.calls.is_empty() || self.calls.iter().any(|pattern| matches(pattern, call)))
    }

    pub fn hides(&self, gpu: usize, t_us: u64) -> bool {
        self.effect == Effect::Hidden && self.lasts_at(t_us) && self.gpu.is_none_or(|g| g == gpu)
    }
}

/// A pattern is a call's name; a `*` at its end stands for the rest.
fn matches(pattern: &str, call: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == call, |start| call.starts_with(start))
}

impl Model {
    /// Reads and checks a scenario; `own_pid` stands for the pid `"self"`.
    pub fn parse(text: &str, own_pid: u32) -> Result<Self, String> {
        let raw: Scenario = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut gpus: Vec<Gpu> = Vec::new();
        for spec in raw.gpu {
            let spec = std::sync::Arc::new(spec);
            if spec.count > GPUS_MAX - gpus.len() {
                return Err(format!("at most {GPUS_MAX} GPUs, remove some from `count`"));
            }
            for place in 0..spec.count {
                gpus.push(gpu(&raw.node, gpus.len(), place, &spec, own_pid)?);
            }
        }
        let mut faults = Vec::new();
        for (number, fault) in raw.fault.iter().enumerate() {
            let wrong = |what: &str| format!("fault {}: {what}", number + 1);
            if fault.gpu.is_some_and(|index| index >= gpus.len()) {
                return Err(wrong("there is no such GPU"));
            }
            match effect(fault).map_err(|what| wrong(&what))? {
                Some(effect) => faults.push(Fault {
                    gpu: fault.gpu,
                    from_us: fault.from_ms * 1000,
                    to_us: fault.to_ms.map_or(u64::MAX, |ms| ms * 1000),
                    calls: fault.calls.clone(),
                    effect,
                }),
                None => reset(&mut gpus, fault),
            }
        }
        for mig in &raw.mig {
            cut(&mut gpus, mig, own_pid)?;
        }
        if raw.xid.iter().any(|xid| xid.gpu >= gpus.len()) {
            return Err("xid: there is no such GPU".into());
        }
        Ok(Self { clock: raw.clock, driver: raw.driver, gpus, faults, xids: raw.xid })
    }
}

fn gpu(
    node: &str,
    index: usize,
    place: usize,
    spec: &std::sync::Arc<scenario::Gpu>,
    own_pid: u32,
) -> Result<Gpu, String> {
    if spec.count > 1 && (spec.uuid.is_some() || spec.serial.is_some() || spec.minor.is_some()) {
        return Err("uuid, serial and minor belong to one GPU: set count = 1".into());
    }
    let wrong = |what: &str| format!("gpu {index}: {what}");
    let idle = [scenario::Phase::default()];
    let written = if spec.phase.is_empty() { &idle[..] } else { &spec.phase[..] };
    let mut stretches = Vec::new();
    let mut phases = Vec::new();
    for phase in written {
        if phase.ms == 0 || phase.ms > PHASE_MS_MAX {
            return Err(wrong("a phase lasts between 1 ms and a day"));
        }
        if phase.memory_used_mib + spec.reserved_mib > spec.memory_mib {
            return Err(wrong("memory_used_mib and reserved_mib exceed memory_mib"));
        }
        let wave = wave(phase.power_mw).map_err(|what| wrong(&what))?;
        stretches.push(Stretch { length_us: phase.ms * 1000, wave });
        phases.push(Phase { spec: phase.clone(), processes: processes(&phase.processes, own_pid)? });
    }
    let seed = fnv1a(node.as_bytes());
    let number = u32::try_from(index).unwrap_or(0);
    Ok(Gpu {
        index,
        uuid: spec.uuid.clone().unwrap_or_else(|| {
            let (a, b, c) = (seed >> 48, (seed >> 32) & 0xffff, seed & 0xffff_ffff);
            format!("{UUID_PREFIX}-{a:04x}-{b:04x}-{:04x}-{c:08x}{index:04x}", 0x8000)
        }),
        serial: spec.serial.clone().unwrap_or_else(|| format!("SIM{:06}{index:04}", seed % 1_000_000)),
        minor: spec.minor.unwrap_or(number),
        pci_bus: spec.pci_bus.unwrap_or(0x10 + number),
        spec: spec.clone(),
        phases,
        schedule: Schedule::new(stretches),
        offset_us: u64::try_from(place).unwrap_or(0) * spec.stagger_ms * 1000,
        resets_us: Vec::new(),
        cuts: Vec::new(),
    })
}

fn wave(power: Power) -> Result<Wave, String> {
    let (wave, highest) = match power {
        Power::Constant(mw) => (Wave::Constant { mw }, mw),
        Power::Ramp { from, to } => (Wave::Ramp { from_mw: from, to_mw: to }, from.max(to)),
        Power::Sine { mean, amplitude, period_ms } => {
            let period_us = period_ms.saturating_mul(1000);
            if amplitude > mean || period_us == 0 || period_us > PERIOD_US_MAX {
                return Err("a sine needs amplitude ≤ mean and a period of at most 15 minutes".into());
            }
            (Wave::Sine { mean_mw: mean, amplitude_mw: amplitude, period_us }, mean.saturating_add(amplitude))
        }
    };
    if highest > POWER_MW_MAX { Err("power is above 10 kW".into()) } else { Ok(wave) }
}

/// Compute slices of a GPU that can be cut, and the most instances.
const SLICES: u32 = 7;

fn cut(gpus: &mut [Gpu], mig: &scenario::Mig, own_pid: u32) -> Result<(), String> {
    let gpu = gpus.get_mut(mig.gpu).ok_or("mig: there is no such GPU")?;
    if mig.instance.iter().map(|i| i.slices).sum::<u32>() > SLICES
        || mig.instance.iter().any(|i| i.slices == 0)
    {
        return Err(format!("mig: instances have at least one slice each and {SLICES} together at most"));
    }
    let parent = gpu.uuid.trim_start_matches("GPU-").to_owned();
    let instance = |spec: &scenario::Instance| {
        // As the driver does: another cut makes other UUIDs.
        let seed = fnv1a(format!("{parent} {} {spec:?}", mig.from_ms).as_bytes());
        let (a, b, c) = (seed >> 32, (seed >> 16) & 0xffff, seed & 0xffff);
        let uuid = format!("MIG-{a:08x}-{b:04x}-{c:04x}-8000-{:012x}", seed & 0xffff_ffff_ffff);
        Ok(Instance { uuid, processes: processes(&spec.processes, own_pid)?, spec: spec.clone() })
    };
    let instances = mig.instance.iter().map(instance).collect::<Result<Vec<_>, String>>()?;
    gpu.cuts.push((mig.from_ms * 1000, (!mig.off).then_some(instances)));
    gpu.cuts.sort_by_key(|cut| cut.0);
    Ok(())
}

fn processes(written: &[scenario::Process], own_pid: u32) -> Result<Vec<Process>, String> {
    let process = |raw: &scenario::Process| {
        let pid = match &raw.pid {
            Pid::Number(pid) => *pid,
            Pid::Word(word) if word == "self" => own_pid,
            Pid::Word(word) => return Err(format!("pid is a number or \"self\", not {word:?}")),
        };
        Ok(Process { pid, memory_bytes: raw.memory_mib << 20, graphics: raw.graphics })
    };
    written.iter().map(process).collect()
}

/// The effect of a fault; `None` for a counter reset, which belongs to the GPU itself.
fn effect(fault: &scenario::Fault) -> Result<Option<Effect>, String> {
    let needs_code = (fault.kind == FaultKind::Answer) == fault.code.is_some();
    let needs_delay = (fault.kind == FaultKind::Delay) == fault.delay_ms.is_some();
    if !needs_code || !needs_delay {
        return Err("`answer` needs a code, `delay` needs delay_ms, the others neither".into());
    }
    if fault.to_ms.is_some_and(|to| to <= fault.from_ms) {
        return Err("to_ms must be after from_ms".into());
    }
    Ok(match fault.kind {
        FaultKind::Answer => {
            let name = fault.code.as_deref().unwrap_or_default();
            let code =
                Code::by_name(name).ok_or_else(|| format!("no NVML return code is called {name:?}"))?;
            Some(Effect::Answer(code))
        }
        FaultKind::Delay => Some(Effect::Delay(Duration::from_millis(fault.delay_ms.unwrap_or(0)))),
        FaultKind::Block => Some(Effect::Block),
        FaultKind::Hidden => Some(Effect::Hidden),
        FaultKind::CounterReset => None,
    })
}

fn reset(gpus: &mut [Gpu], fault: &scenario::Fault) {
    for gpu in gpus.iter_mut().filter(|gpu| fault.gpu.is_none_or(|index| index == gpu.index)) {
        gpu.resets_us.push(fault.from_ms * 1000);
        gpu.resets_us.sort_unstable();
    }
}

/// FNV-1a: a stable number from the node's name, so that restarts and machines agree on UUIDs.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
