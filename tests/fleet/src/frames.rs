//! The simulated fleet as an agent's sampler would see it: inventories and frames.
//!
//! A frame has the readings that NVML and the kernel give a real agent, and what this hardware or a
//! lost GPU does not give is absent with its reason.

use crate::model::{At, Device, Fleet, Moment, Product, Run, State, Tenancy, Track, Work};
use gpuledger_proto::catalogue as m;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::frame::{
    DeviceFrame, Frame, Gpu, Holding, Host, Inventory, Owner, OwnerKind, Share, Stamp,
};
use gpuledger_proto::ids::{GpuUuid, InvalidId};
use gpuledger_proto::reading::{Absence, Reading};
use std::sync::Arc;

const HOST_MEMORY_BYTES: u64 = 1_024 << 30;
/// Every reading of a GPU, in the order of the catalogue.
const GPU_METRICS: [MetricId; 19] = [
    m::GPU_UP,
    m::GPU_ENERGY,
    m::GPU_ENERGY_INTEGRATED,
    m::GPU_POWER_AVERAGE,
    m::GPU_POWER_INSTANT,
    m::GPU_POWER_LIMIT,
    m::GPU_TEMPERATURE,
    m::GPU_TEMPERATURE_MEMORY,
    m::GPU_UTILIZATION,
    m::GPU_UTILIZATION_MEMORY,
    m::GPU_MEMORY_USED,
    m::GPU_MEMORY_TOTAL,
    m::GPU_CLOCK_SM,
    m::GPU_CLOCK_MEMORY,
    m::GPU_THROTTLE_REASONS,
    m::GPU_PERFORMANCE_STATE,
    m::GPU_ECC_CORRECTED,
    m::GPU_ECC_UNCORRECTED,
    m::GPU_PROCESSES,
];

/// The frames of one node, in order of time.
pub struct NodeFrames {
    product: Product,
    inventory: Inventory,
    host: Track,
    gpus: Vec<Track>,
    run: Run,
    /// Energy so far when the node's meter and each GPU's integral began: at boot, and with the run.
    meter_base_mj: u64,
    run_base_mj: Vec<Option<u64>>,
    /// Energy of the whole node at the last frame.
    node_mj: u64,
}

impl NodeFrames {
    /// At the beginning of the fleet's history, in the node's first run.
    pub fn new(fleet: &Arc<Fleet>, node: u32, first: Run) -> Result<Self, InvalidId> {
        let gpus = (0..fleet.gpus_per_node)
            .map(|gpu| Track::new(Arc::clone(fleet), Device::Gpu(At { node, gpu })))
            .collect();
        Ok(Self {
            product: fleet.product(node),
            inventory: inventory(fleet, node)?,
            host: Track::new(Arc::clone(fleet), Device::Host(node)),
            gpus,
            run: first,
            meter_base_mj: 0,
            run_base_mj: vec![None; fleet.gpus_per_node as usize],
            node_mj: 0,
        })
    }

    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The agent has started again, perhaps with its node.
    pub fn begin(&mut self, run: Run) {
        if run.boot != self.run.boot {
            // Nothing was drawn between the last frame and the boot.
            self.meter_base_mj = self.node_mj;
        }
        self.run = run;
        self.run_base_mj.fill(None);
    }

    /// The frame at an instant that is not before the last one.
    pub fn frame(&mut self, at_ms: u64) -> Frame {
        let host = self.host.show(at_ms);
        let (mut total_mj, mut power_mw) = (host.total_mj, host.moment.power_mw);
        let mut busy = 0;
        let mut devices = vec![DeviceFrame::default()];
        for (track, base_mj) in self.gpus.iter_mut().zip(&mut self.run_base_mj) {
            let shown = track.show(at_ms);
            total_mj += shown.total_mj;
            power_mw += shown.moment.power_mw;
            let integrated_mj = shown.total_mj - *base_mj.get_or_insert(shown.total_mj);
            if let State::On(work) = shown.moment.state {
                busy += u64::from(work.busy_ppm);
            }
            devices.push(gpu_frame(self.product, shown.moment, shown.counter_mj, integrated_mj));
        }
        self.node_mj = total_mj;
        let since_boot_ms = at_ms.saturating_sub(self.run.booted_ms);
        let busy_ppm = busy / (self.gpus.len() as u64).max(1);
        devices[0] = host_frame(since_boot_ms, busy_ppm, power_mw, total_mj - self.meter_base_mj);
        Frame { stamp: Stamp { wall_ms: at_ms, boot_ms: since_boot_ms }, devices }
    }
}

fn inventory(fleet: &Fleet, node: u32) -> Result<Inventory, InvalidId> {
    let product = fleet.product(node);
    let gpus = (0..fleet.gpus_per_node).map(|gpu| {
        Ok(Gpu {
            uuid: GpuUuid::new(&fleet.gpu_uuid(At { node, gpu }))?,
            model: product.model().to_owned(),
            serial: None,
            pci_bus_id: Some(format!("00000000:{:02X}:00.0", 0x18 + gpu * 8 % 0xe0)),
            index: gpu,
            memory_bytes: Some(product.memory_bytes()),
            simulated: true,
        })
    });
    let host = Host {
        hostname: fleet.node_name(node),
        os: "simulated".to_owned(),
        driver_version: Some("simulated".to_owned()),
        memory_bytes: Some(HOST_MEMORY_BYTES),
        cpus: Some(128),
    };
    Ok(Inventory { host, gpus: gpus.collect::<Result<_, InvalidId>>()? })
}

fn host_frame(since_boot_ms: u64, busy_ppm: u64, power_mw: u64, meter_mj: u64) -> DeviceFrame {
    let seconds = since_boot_ms / 1_000;
    let readings = vec![
        (m::NODE_CPU, value(30_000 + busy_ppm / 4)),
        (m::NODE_MEMORY_USED, value((24 << 30) + (HOST_MEMORY_BYTES / 2 / 1_000_000) * busy_ppm)),
        (m::NODE_MEMORY_TOTAL, value(HOST_MEMORY_BYTES)),
        (m::NODE_DISK_READ, value(seconds * 180_000_000)),
        (m::NODE_DISK_WRITTEN, value(seconds * 12_000_000)),
        (m::NODE_NETWORK_RECEIVED, value(seconds * 95_000_000)),
        (m::NODE_NETWORK_SENT, value(seconds * 60_000_000)),
        (m::NODE_POWER, value(power_mw)),
        (m::NODE_ENERGY, value(meter_mj)),
    ];
    DeviceFrame { readings, holding: None }
}

fn gpu_frame(product: Product, moment: Moment, counter_mj: u64, integrated_mj: u64) -> DeviceFrame {
    let State::On(work) = moment.state else {
        let absent = Reading::Absent(Absence::Lost);
        let mut readings: Vec<_> = GPU_METRICS.into_iter().map(|metric| (metric, absent)).collect();
        readings[0].1 = Reading::Value(0);
        return DeviceFrame { readings, holding: Some(Reading::Absent(Absence::Lost)) };
    };
    let busy = u64::from(work.busy_ppm);
    let held = work.tenancy.is_some();
    let power = moment.power_mw;
    let temperature = 29_000 + power * 47_000 / product.limit_mw();
    let memory = if held { product.memory_bytes() / 10 * 7 } else { 612 << 20 };
    let values = [
        Reading::Value(1),
        value(counter_mj),
        value(integrated_mj),
        value(power),
        value(power),
        value(product.limit_mw()),
        value(temperature),
        match product {
            Product::H100 => value(temperature + 9_000),
            Product::L40s => Reading::Absent(Absence::Unsupported),
        },
        value(busy),
        value(busy / 2),
        value(memory),
        value(product.memory_bytes()),
        value(product.clock_khz(busy > 0)),
        value(product.memory_clock_khz()),
        // The software power cap holds the clock at the limit.
        value(if power > product.limit_mw() / 100 * 97 { 0x4 } else { 0 }),
        value(if busy > 0 { 0 } else { 8 }),
        value(0),
        value(0),
        value(work.tenancy.map_or(0, |tenancy| if let Tenancy::Shared { .. } = tenancy { 2 } else { 1 })),
    ];
    let readings = GPU_METRICS.into_iter().zip(values).collect();
    DeviceFrame { readings, holding: Some(Reading::Value(holding(work))) }
}

fn holding(work: Work) -> Holding {
    let share = |team: &str, name: &str, share_ppm| {
        let owner = Owner {
            kind: OwnerKind::Slurm,
            account: team.to_owned(),
            name: name.to_owned(),
            job: String::new(),
        };
        Share { owner, share_ppm }
    };
    match work.tenancy {
        None => Vec::new(),
        Some(Tenancy::Alone { team, user }) => vec![share(team, user, 1_000_000)],
        // Named in their order.
        Some(Tenancy::Shared { team, services: [a, b], first_ppm }) => {
            vec![share(team, a, first_ppm), share(team, b, 1_000_000 - first_ppm)]
        }
    }
}

/// Nothing here comes near the limit of the wire's integer.
fn value(of: u64) -> Reading<i64> {
    Reading::Value(i64::try_from(of).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::convert::{batch_from_wire, batch_to_wire, inventory_from_wire, inventory_to_wire};
    use gpuledger_proto::frame::Batch;
    use gpuledger_proto::ids::Sequence;

    const STEP_MS: u64 = 60_000;

    fn fleet() -> Arc<Fleet> {
        Arc::new(Fleet::ending_at(1_790_000_000_000, 2, 2, 4, 5))
    }

    fn frames(fleet: &Arc<Fleet>, node: u32) -> Vec<Frame> {
        let runs = fleet.faults.runs(node, fleet.from_ms, fleet.to_ms, STEP_MS);
        let mut frames = NodeFrames::new(fleet, node, runs[0]).unwrap();
        let mut all = Vec::new();
        for run in runs {
            frames.begin(run);
            for at_ms in (run.first_ms..=run.last_ms).step_by(60_000) {
                all.push(frames.frame(at_ms));
            }
        }
        all
    }

    #[test]
    fn readings_are_sorted_complete_and_survive_the_wire() {
        let fleet = fleet();
        let frames = frames(&fleet, 0);
        for frame in &frames {
            assert_eq!(frame.devices.len(), 5);
            for device in &frame.devices {
                assert!(device.readings.windows(2).all(|w| w[0].0 < w[1].0));
            }
        }
        let batch = Batch::from_frames(Sequence(1), &frames[..200]);
        assert_eq!(batch_from_wire(batch_to_wire(&batch), 5).unwrap(), batch);
        let run = fleet.faults.runs(0, fleet.from_ms, fleet.to_ms, STEP_MS)[0];
        let inventory = NodeFrames::new(&fleet, 0, run).unwrap().inventory().clone();
        assert!(inventory.gpus.iter().all(|gpu| gpu.simulated && gpu.model.contains("Simulated")));
        assert_eq!(inventory_from_wire(inventory_to_wire(&inventory)).unwrap(), inventory);
    }

    #[test]
    fn a_lost_gpu_is_down_and_everything_else_about_it_is_absent() {
        let fleet = fleet();
        let (at, lost) = fleet.faults.gpus_lost[0];
        let frames = frames(&fleet, at.node);
        let during =
            frames.iter().filter(|f| lost.from_ms < f.stamp.wall_ms && f.stamp.wall_ms <= lost.to_ms);
        let mut seen = 0;
        for frame in during {
            let gpu = &frame.devices[at.gpu as usize + 1];
            assert_eq!(gpu.reading(m::GPU_UP), Some(Reading::Value(0)));
            assert_eq!(gpu.reading(m::GPU_ENERGY), Some(Reading::Absent(Absence::Lost)));
            assert_eq!(gpu.holding, Some(Reading::Absent(Absence::Lost)));
            seen += 1;
        }
        assert_eq!(seen, (lost.to_ms - lost.from_ms) / STEP_MS);
    }

    #[test]
    fn the_nodes_meter_rises_with_every_frame_and_begins_anew_with_a_boot() {
        let fleet = fleet();
        let (node, off) = fleet.faults.nodes_off[0];
        let mut before = None;
        for frame in frames(&fleet, node) {
            let meter = frame.devices[0].reading(m::NODE_ENERGY).and_then(Reading::value).unwrap();
            let booted = frame.stamp.wall_ms == off.to_ms + STEP_MS;
            if let Some(before) = before {
                assert_eq!(meter < before, booted, "at {}", frame.stamp.wall_ms);
            }
            before = Some(meter);
        }
    }

    #[test]
    fn shares_of_a_gpu_sum_to_the_whole_and_are_sorted() {
        let fleet = Arc::new(Fleet::ending_at(1_790_000_000_000, 2, 2, 8, 5));
        for frame in frames(&fleet, 1) {
            for device in &frame.devices[1..] {
                let Some(Reading::Value(holding)) = &device.holding else { continue };
                let whole: u32 = holding.iter().map(|s| s.share_ppm).sum();
                assert!(holding.is_empty() || whole == 1_000_000);
                assert!(holding.windows(2).all(|w| w[0] < w[1]));
            }
        }
    }
}
