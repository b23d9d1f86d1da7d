//! What the GPUs of one node read: 30 readings a GPU as a busy training node gives them, in NVML's
//! units and with its grain, twelve of which never change.
//!
//! They are those that the ledger's rows are made from; the ten behind them stand for readings of a newer
//! agent, which a collector takes, keeps and does not know. The energy counter is exact: the truth about a
//! GPU is the difference of its last and its first value.

use gpuledger_proto::catalogue as m;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::frame::{
    DeviceFrame, Frame, Gpu, Holding, Host, Inventory, Owner, OwnerKind, Share, Stamp,
};
use gpuledger_proto::ids::{GpuUuid, InvalidId};
use gpuledger_proto::reading::{Absence, Reading};

/// Readings of a GPU in one sample, its holder included.
pub const READINGS_PER_GPU: u64 = 30;
/// Readings of the node itself in one sample.
pub const READINGS_PER_NODE: u64 = 9;

const MEMORY_BYTES: i64 = 85_520_809_984;
const HOST_MEMORY_BYTES: u64 = 1_024 << 30;
const POWER_LIMIT_MW: i64 = 700_000;
const PAGE_BYTES: i64 = 2_097_152;
/// Teams and people of the fleet: a node belongs to one of them.
const OWNERS: u64 = 200;
/// One GPU in so many is free.
const FREE_EVERY: u64 = 8;

/// The readings of one node, sample after sample.
pub struct NodeValues {
    noise: Noise,
    host: HostState,
    gpus: Vec<GpuState>,
    holding: Holding,
}

/// Readings of the machine itself, that the GPUs do not tell.
struct HostState {
    busy_ppm: i64,
    energy_mj: i64,
}

/// One GPU, stepped from sample to sample.
struct GpuState {
    energy_mj: i64,
    integrated_mj: i64,
    power_mw: i64,
    temperature_c: i64,
    memory_pages: i64,
    is_free: bool,
}

impl NodeValues {
    /// The node with this number in the fleet.
    pub fn new(node: u32, gpus: u32) -> Self {
        let mut noise = Noise(u64::from(node) << 20);
        let states = (0..u64::from(gpus)).map(|gpu| GpuState {
            energy_mj: 91_234_567_890 + noise.below(1 << 36),
            integrated_mj: 0,
            power_mw: 500_000 + noise.below(100_000),
            temperature_c: 55 + noise.below(10),
            memory_pages: 30_000,
            is_free: (u64::from(node) + gpu).is_multiple_of(FREE_EVERY),
        });
        let gpus = states.collect();
        Self { noise, host: HostState { busy_ppm: 200_000, energy_mj: 0 }, gpus, holding: holding(node) }
    }

    /// The sample that follows the last one after so much time.
    pub fn frame(&mut self, stamp: Stamp, since_ms: u64) -> Frame {
        let since_ms = i64::try_from(since_ms).unwrap_or(i64::MAX);
        let mut devices = Vec::with_capacity(self.gpus.len() + 1);
        devices.push(DeviceFrame::default());
        let mut power_mw = 1_900_000;
        for gpu in &mut self.gpus {
            gpu.step(since_ms, &mut self.noise);
            power_mw += gpu.power_mw;
            devices.push(gpu.frame(&self.holding, &mut self.noise));
        }
        devices[0] = self.host.step(power_mw, since_ms, stamp, &mut self.noise);
        Frame { stamp, devices }
    }

    /// What each GPU's energy counter shows now.
    pub fn counters_mj(&self) -> Vec<u64> {
        self.gpus.iter().map(|gpu| gpu.energy_mj.cast_unsigned()).collect()
    }
}

impl GpuState {
    fn step(&mut self, since_ms: i64, noise: &mut Noise) {
        let (least, most) = if self.is_free { (68_000, 72_000) } else { (350_000, 690_000) };
        self.power_mw = (self.power_mw + noise.below(20_001) - 10_000).clamp(least, most);
        let used_mj = self.power_mw * since_ms / 1_000;
        self.energy_mj += used_mj + noise.below(2_000);
        self.integrated_mj += used_mj;
        self.temperature_c = (self.temperature_c + (noise.below(11) - 5) / 5).clamp(45, 75);
        if !self.is_free && noise.below(20) == 0 {
            self.memory_pages = (self.memory_pages + noise.below(512)).min(MEMORY_BYTES / PAGE_BYTES);
        }
    }

    fn frame(&self, holding: &Holding, noise: &mut Noise) -> DeviceFrame {
        let busy = i64::from(!self.is_free);
        let readings = [
            1,
            self.energy_mj,
            self.integrated_mj,
            self.power_mw,
            self.power_mw + noise.below(30_001) - 15_000,
            POWER_LIMIT_MW,
            self.temperature_c * 1_000,
            (self.temperature_c + 8) * 1_000,
            busy * (96 + noise.below(5)) * 10_000,
            busy * (40 + noise.below(15)) * 10_000,
            self.memory_pages * PAGE_BYTES * busy,
            MEMORY_BYTES,
            (1_980 - 15 * noise.below(4)) * 1_000,
            2_619_000,
            4 * busy,
            0,
            0,
            0,
            busy,
        ];
        let known = (1..).map(MetricId).zip(readings.map(Reading::Value));
        let mut readings = Vec::with_capacity(30);
        readings.extend(known);
        // Behind the holder: activity of the chip's units, NVLink and PCIe traffic; what this GPU lacks.
        let units = (0..7).map(|unit| Reading::Value(busy * (600 - unit * 50 + noise.below(64)) * 1_000));
        let rest = [Reading::Value(0), Reading::Value(0), Reading::Absent(Absence::Unsupported)];
        readings.extend((m::GPU_HOLDER.0 + 1..).map(MetricId).zip(units.chain(rest)));
        let holding = if self.is_free { Holding::new() } else { holding.clone() };
        DeviceFrame { readings, holding: Some(Reading::Value(holding)) }
    }
}

impl HostState {
    fn step(&mut self, power_mw: i64, since_ms: i64, stamp: Stamp, noise: &mut Noise) -> DeviceFrame {
        self.energy_mj += power_mw * since_ms / 1_000;
        self.busy_ppm = (self.busy_ppm + noise.below(20_001) - 10_000).clamp(20_000, 400_000);
        let seconds = (stamp.boot_ms / 1_000).cast_signed();
        let readings = vec![
            (m::NODE_CPU, self.busy_ppm),
            (m::NODE_MEMORY_USED, (180 << 30) + noise.below(4_096) * 4_096),
            (m::NODE_MEMORY_TOTAL, HOST_MEMORY_BYTES.cast_signed()),
            (m::NODE_DISK_READ, seconds * 180_000_000),
            (m::NODE_DISK_WRITTEN, seconds * 12_000_000),
            (m::NODE_NETWORK_RECEIVED, seconds * 95_000_000 + noise.below(100_000)),
            (m::NODE_NETWORK_SENT, seconds * 60_000_000 + noise.below(100_000)),
            (m::NODE_POWER, power_mw),
            (m::NODE_ENERGY, self.energy_mj),
        ];
        let readings = readings.into_iter().map(|(metric, value)| (metric, Reading::Value(value))).collect();
        DeviceFrame { readings, holding: None }
    }
}

/// Name of a node of the fleet.
pub fn node_name(node: u32) -> String {
    format!("load-{node:05}")
}

/// Identity of a GPU of the fleet.
pub fn gpu_uuid(node: u32, gpu: u32) -> String {
    format!("GPU-10ad0000-{:04x}-{:04x}-{gpu:04x}-000000000000", node >> 16, node & 0xffff)
}

/// Which GPUs a node says it has.
pub fn inventory(node: u32, gpus: u32) -> Result<Inventory, InvalidId> {
    let gpu = |index| {
        Ok(Gpu {
            uuid: GpuUuid::new(&gpu_uuid(node, index))?,
            model: "Simulated H100 80GB HBM3".to_owned(),
            serial: None,
            pci_bus_id: Some(format!("00000000:{:02X}:00.0", 0x18 + index * 8 % 0xe0)),
            index,
            memory_bytes: Some(MEMORY_BYTES.cast_unsigned()),
            simulated: true,
        })
    };
    let host = Host {
        hostname: node_name(node),
        os: "simulated".to_owned(),
        driver_version: Some("simulated".to_owned()),
        memory_bytes: Some(HOST_MEMORY_BYTES),
        cpus: Some(128),
    };
    Ok(Inventory { host, gpus: (0..gpus).map(gpu).collect::<Result<_, InvalidId>>()? })
}

/// Whose jobs run on the node.
fn holding(node: u32) -> Holding {
    let who = u64::from(node) % OWNERS;
    let owner = Owner {
        kind: OwnerKind::Slurm,
        account: format!("team-{:02}", who / 10),
        name: format!("user-{who:03}"),
        job: String::new(),
    };
    vec![Share { owner, share_ppm: 1_000_000 }]
}

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Noise(u64);

impl Noise {
    /// Below the bound, which is far below what the wire's integer holds.
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue::{CATALOGUE, Scope};
    use gpuledger_proto::convert::{batch_from_wire, batch_to_wire, inventory_from_wire, inventory_to_wire};
    use gpuledger_proto::frame::Batch;
    use gpuledger_proto::ids::Sequence;

    fn frames(node: u32) -> Vec<Frame> {
        let mut values = NodeValues::new(node, 8);
        (0..10).map(|s| values.frame(Stamp { wall_ms: s * 1_000, boot_ms: s * 1_000 }, 1_000)).collect()
    }

    #[test]
    fn every_gpu_tells_thirty_readings_and_all_that_rows_are_made_from() {
        let batch = Batch::from_frames(Sequence(1), &frames(3));
        assert_eq!(batch.points() as u64, 10 * (8 * READINGS_PER_GPU + READINGS_PER_NODE));
        let told = |metric| batch.columns.iter().filter(|column| column.metric == metric).count();
        let of_rows = |metric: &&m::Metric| metric.scope == Scope::Gpu && metric.id <= m::GPU_HOLDER;
        for metric in CATALOGUE.iter().filter(of_rows) {
            assert_eq!(told(metric.id), 8, "{}", metric.name);
        }
        assert_eq!(batch_from_wire(batch_to_wire(&batch), 9).unwrap(), batch);
    }

    #[test]
    fn counters_rise_by_about_the_power_of_each_gpu_and_nodes_differ() {
        let mut values = NodeValues::new(9, 8);
        let before = values.counters_mj();
        let frame = values.frame(Stamp { wall_ms: 1, boot_ms: 1 }, 10_000);
        for (gpu, (before, after)) in before.iter().zip(values.counters_mj()).enumerate() {
            let power =
                frame.devices[gpu + 1].reading(m::GPU_POWER_AVERAGE).and_then(Reading::value).unwrap();
            let used = i64::try_from(after - before).unwrap();
            assert!((used - power * 10).abs() <= 2_000, "{used} mJ at {power} mW");
        }
        assert_ne!(frames(1), frames(2));
        assert_eq!(frames(1), frames(1));
    }

    #[test]
    fn some_gpus_are_free_and_what_a_node_says_of_itself_is_taken() {
        let free = (0..8).filter(|&node| frames(node)[0].devices[1].holding == Some(Reading::Value(vec![])));
        assert_eq!(free.count(), 1);
        let inventory = inventory(70_000, 8).unwrap();
        assert!(inventory.gpus.iter().all(|gpu| gpu.simulated));
        assert_eq!(inventory_from_wire(inventory_to_wire(&inventory)).unwrap(), inventory);
    }
}
