//! The machines of a run: their hardware, clocks, disks and agents.

use super::agent::{Agent, Start, StartError, gpu_name};
use super::dice::Dice;
use super::hardware;
use super::hardware::Kind;
use super::link::Network;
use super::oracle::{Device, Sample};
use super::plan::Plan;
use super::trail::Trail;
use gpuledger_agent::clock::WallClock;
use gpuledger_agent::record::RecorderOptions;
use gpuledger_proto::frame::Stamp;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_spool::sim::SimDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use uuid::Uuid;

/// Below this, a spool is meant to become full.
const SMALL_CAP: u64 = 1 << 20;
/// A machine that is off has been off for at least so long when it boots.
const BOOT_MS: u64 = 50;

pub struct Machine {
    pub node: String,
    pub gpus: Vec<usize>,
    pub disk: SimDisk,
    /// A copy of its folder that was put aside.
    pub kept: Option<SimDisk>,
    pub agent: Option<Agent>,
    /// How far the wall clock is off.
    pub clock: Arc<WallSkew>,
    meter: hardware::Device,
    cap_bytes: u64,
    has_meter: bool,
    /// The present boot and when it began; `None` while the power is off.
    boot: Option<(Uuid, u64)>,
    /// Epochs of killed agents of which something may be in the journal only.
    pub in_journal: Vec<(Epoch, Sequence)>,
    /// The agent's process dies with its next sync, or is dead already.
    pub disk_is_dying: bool,
    /// The disk is or was full since the agent started.
    disk_is_full: bool,
}

/// How a machine's wall clock differs from the true time.
pub struct WallSkew {
    from_ms: u64,
    offset_ms: AtomicI64,
    drift_ppm: i64,
}

impl WallSkew {
    pub fn set(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    fn at(&self, now_ms: u64) -> u64 {
        let true_ms = i64::try_from(self.from_ms + now_ms).unwrap_or(i64::MAX);
        let drifted = i64::try_from(now_ms).unwrap_or(0) * self.drift_ppm / 1_000_000;
        u64::try_from(true_ms + self.offset_ms.load(Ordering::Relaxed) + drifted).unwrap_or(0)
    }
}

pub struct World {
    pub machines: Vec<Machine>,
    pub gpus: Vec<hardware::Device>,
    trail: Arc<Trail>,
    dice: Dice,
    seed: u64,
    from_ms: u64,
    batch_ms: u64,
}

impl World {
    pub fn new(plan: &Plan, trail: Arc<Trail>) -> Self {
        let gpu = |(id, gpu): (usize, &super::plan::GpuPlan)| {
            hardware::Device::new(plan.seed, id as u64, Kind::Gpu, gpu.has_counter)
        };
        let mut world = Self {
            machines: Vec::new(),
            gpus: plan.gpus.iter().enumerate().map(gpu).collect(),
            trail,
            dice: Dice::new(plan.seed, "world"),
            seed: plan.seed,
            from_ms: plan.from_ms,
            batch_ms: plan.step_ms * plan.batch_steps,
        };
        for (number, machine) in plan.machines.iter().enumerate() {
            let skew = WallSkew {
                from_ms: plan.from_ms,
                offset_ms: AtomicI64::new(machine.offset_ms),
                drift_ppm: machine.drift_ppm,
            };
            let (gpus, cap) = (machine.gpus.clone(), machine.cap_bytes);
            world.add(format!("n{number}"), gpus, cap, machine.has_meter, skew, SimDisk::default());
        }
        world
    }

    fn add(
        &mut self,
        node: String,
        gpus: Vec<usize>,
        cap_bytes: u64,
        has_meter: bool,
        skew: WallSkew,
        disk: SimDisk,
    ) {
        let id = 1_000 + self.machines.len() as u64;
        self.machines.push(Machine {
            node,
            gpus,
            disk,
            kept: None,
            agent: None,
            clock: Arc::new(skew),
            meter: hardware::Device::new(self.seed, id, Kind::Meter, has_meter),
            cap_bytes,
            has_meter,
            boot: None,
            in_journal: Vec::new(),
            disk_is_dying: false,
            disk_is_full: false,
        });
    }

    /// Boots the machine where it is off, and starts its agent. False where the disk is so full that
    /// not even its folder can be opened.
    pub fn start_agent(
        &mut self,
        number: usize,
        now_ms: u64,
        network: &Arc<Network>,
    ) -> Result<bool, StartError> {
        let (boot, epoch) = (Uuid::from_u128(self.roll_id()), Epoch(Uuid::from_u128(self.roll_id())));
        let jitter_seed = self.dice.next();
        if self.machines[number].agent.is_some() {
            return Ok(true);
        }
        if self.machines[number].boot.is_none() {
            self.set_power(number, now_ms, true);
            self.machines[number].boot = Some((boot, now_ms.saturating_sub(BOOT_MS)));
        }
        let machine = &mut self.machines[number];
        let (skew, trail) = (Arc::clone(&machine.clock), Arc::clone(&self.trail));
        let started = Agent::start(&Start {
            machine: number,
            node: &machine.node,
            gpus: &machine.gpus,
            disk: &machine.disk,
            options: RecorderOptions { cap_bytes: machine.cap_bytes, batch_ms: self.batch_ms, journal: true },
            epoch,
            boot: machine.boot.map_or(boot, |boot| boot.0),
            jitter_seed,
            clock: WallClock::of(move || skew.at(trail.now_ms())),
            network,
            padding: if machine.cap_bytes < SMALL_CAP { 240 } else { 0 },
        });
        let mut agent = match started {
            Ok(agent) => agent,
            Err(StartError::Record(error)) => {
                self.trail.note(format_args!("machine {number} cannot start its agent: {error}"));
                self.trail.count("agents that could not start", 1);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        agent.in_trouble = machine.disk_is_full;
        if agent.look_at_the_spool() {
            // What was in the journal has been synced in the spool.
            machine.in_journal.clear();
        }
        machine.agent = Some(agent);
        self.trail.note(format_args!("machine {number} starts epoch {epoch}"));
        self.trail.count("agents started", 1);
        Ok(true)
    }

    fn roll_id(&mut self) -> u128 {
        u128::from(self.dice.next()) << 64 | u128::from(self.dice.next())
    }

    /// Lets the machine's agent take a sample, where there is one.
    pub fn sample(&mut self, number: usize, now_ms: u64) -> Option<Sample> {
        let machine = &mut self.machines[number];
        let (_, booted_ms) = machine.boot?;
        let agent = machine.agent.as_mut()?;
        let mut devices = vec![(Device::Node(machine.node.clone()), machine.meter.show(now_ms))];
        for &gpu in &machine.gpus {
            devices.push((Device::Gpu(gpu_name(gpu)), self.gpus[gpu].show(now_ms)));
        }
        let stamp = Stamp { wall_ms: machine.clock.at(now_ms), boot_ms: now_ms - booted_ms };
        self.trail.count("samples", 1);
        match agent.record(stamp, now_ms, devices) {
            Ok(sample) => Some(sample),
            Err(error) => {
                self.trail.violated(format!("a sample of machine {number} was refused: {error}"));
                None
            }
        }
    }

    pub fn kill_at_next_sync(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        if let Some(agent) = &mut machine.agent {
            agent.in_trouble = true;
            machine.disk_is_dying = true;
            machine.disk.kill_at_next_sync();
        }
    }

    /// The process on the disk is gone; another one may come.
    pub fn process_is_gone(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        machine.disk_is_dying = false;
        machine.disk.kill_process();
    }

    pub fn fill_disk(&mut self, number: usize, bytes: usize) {
        let machine = &mut self.machines[number];
        machine.disk.set_space(Some(bytes));
        machine.disk_is_full = true;
        if let Some(agent) = &mut machine.agent {
            agent.in_trouble = true;
        }
    }

    pub fn free_disk(&mut self, number: usize) {
        self.machines[number].disk.set_space(None);
        self.machines[number].disk_is_full = false;
    }

    pub fn lose_power(&mut self, number: usize, now_ms: u64) {
        let seed = self.dice.next();
        self.machines[number].disk.fail_power(seed);
        self.machines[number].disk_is_dying = false;
        self.set_power(number, now_ms, false);
    }

    pub fn set_power(&mut self, number: usize, now_ms: u64, powered: bool) {
        let machine = &mut self.machines[number];
        machine.meter.set_power(now_ms, powered);
        for &gpu in &machine.gpus {
            self.gpus[gpu].set_power(now_ms, powered);
        }
        if !powered {
            machine.boot = None;
        }
    }

    pub fn move_gpu(&mut self, gpu: usize, from: usize, to: usize) {
        self.machines[from].gpus.retain(|&other| other != gpu);
        self.machines[to].gpus.push(gpu);
    }

    /// A new machine with a GPU of its own, the same name, and a copy of the folder as it lies there.
    pub fn copy_machine(&mut self, number: usize) -> usize {
        let gpu = self.gpus.len();
        self.gpus.push(hardware::Device::new(self.seed, gpu as u64, Kind::Gpu, true));
        let original = &self.machines[number];
        let skew = WallSkew {
            from_ms: self.from_ms,
            offset_ms: AtomicI64::new(original.clock.offset_ms.load(Ordering::Relaxed)),
            drift_ppm: original.clock.drift_ppm,
        };
        let (node, disk) = (original.node.clone(), original.disk.copy());
        let (cap_bytes, has_meter) = (original.cap_bytes, original.has_meter);
        self.add(node, vec![gpu], cap_bytes, has_meter, skew, disk);
        self.machines.len() - 1
    }
}
