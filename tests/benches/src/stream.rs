//! A busy node as its agent would tell it: 8 GPUs of 30 readings at 1 Hz, in the units and with the
//! grain that NVML gives, of which 12 rarely or never change; and power as it was recorded.
//!
//! The same on every run, and without end: time and counters go on from batch to batch.

use flate2::read::GzDecoder;
use gpuledger_proto::catalogue::{self as c, MetricId};
use gpuledger_proto::frame::{DeviceFrame, Frame, Holding, Owner, OwnerKind, Share, Stamp};
use gpuledger_proto::reading::Reading;
use std::io::{BufRead, BufReader};
use std::path::Path;

pub const GPUS: usize = 8;
/// Readings of a GPU, who holds it included.
pub const GPU_READINGS: usize = 30;
/// Samples of a batch: ten seconds.
pub const SAMPLES: usize = 10;
/// An hour begins.
const BEGIN_MS: u64 = 1_795_003_200_000;
/// Metrics of a newer agent: activity of the units of the chip, links.
const NEWER: MetricId = MetricId(32);

/// Numbers that look random and are the same on every run (`SplitMix64`).
pub struct Noise(pub u64);

impl Noise {
    /// At least 0 and below the bound, which is small.
    pub fn below(&mut self, bound: u32) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(bound)).cast_signed()
    }
}

/// The state of one busy GPU, stepped once a second.
struct Gpu {
    energy_mj: i64,
    begun_mj: i64,
    power_mw: i64,
    temperature_c: i64,
    memory_pages: i64,
}

impl Gpu {
    fn step(&mut self, noise: &mut Noise) -> DeviceFrame {
        self.power_mw = (self.power_mw + noise.below(20_001) - 10_000).clamp(350_000, 690_000);
        self.energy_mj += self.power_mw + noise.below(2_000);
        self.temperature_c = (self.temperature_c + (noise.below(11) - 5) / 5).clamp(45, 75);
        self.memory_pages += if noise.below(20) == 0 { noise.below(512) } else { 0 };
        let mut readings = vec![
            (c::GPU_UP, 1),
            (c::GPU_ENERGY, self.energy_mj),
            (c::GPU_ENERGY_INTEGRATED, self.energy_mj - self.begun_mj),
            (c::GPU_POWER_AVERAGE, self.power_mw),
            (c::GPU_POWER_INSTANT, self.power_mw + noise.below(30_001) - 15_000),
            (c::GPU_POWER_LIMIT, 700_000),
            (c::GPU_TEMPERATURE, self.temperature_c * 1_000),
            (c::GPU_TEMPERATURE_MEMORY, (self.temperature_c + 8) * 1_000),
            (c::GPU_UTILIZATION, (96 + noise.below(5)) * 10_000),
            (c::GPU_UTILIZATION_MEMORY, (40 + noise.below(15)) * 10_000),
            (c::GPU_MEMORY_USED, self.memory_pages * 2_097_152),
            (c::GPU_MEMORY_TOTAL, 85_520_809_984),
            (c::GPU_CLOCK_SM, (1_980 - 15 * noise.below(4)) * 1_000),
            (c::GPU_CLOCK_MEMORY, 2_619_000),
            (c::GPU_THROTTLE_REASONS, if self.power_mw > 685_000 { 4 } else { 0 }),
            (c::GPU_PERFORMANCE_STATE, 0),
            (c::GPU_ECC_CORRECTED, 0),
            (c::GPU_ECC_UNCORRECTED, 0),
            (c::GPU_PROCESSES, 1),
        ];
        let newer = |n: u16| MetricId(NEWER.0 + n);
        readings.extend(
            (0_u16..8).map(|unit| (newer(unit), (600 - i64::from(unit) * 50 + noise.below(64)) * 1_000)),
        );
        readings.extend((8_u16..10).map(|link| (newer(link), 0)));
        let readings = readings.into_iter().map(|(metric, value)| (metric, Reading::Value(value))).collect();
        DeviceFrame { readings, holding: Some(Reading::Value(holding())) }
    }
}

fn holding() -> Holding {
    let owner = Owner {
        kind: OwnerKind::Slurm,
        account: "vision".to_owned(),
        name: "anna".to_owned(),
        job: "4711".to_owned(),
    };
    vec![Share { owner, share_ppm: 1_000_000 }]
}

/// The samples of one busy node.
pub struct Node {
    noise: Noise,
    gpus: Vec<Gpu>,
    seconds: u64,
}

impl Node {
    /// Nodes of different seeds differ in every reading.
    pub fn new(seed: u64) -> Self {
        let mut noise = Noise(seed);
        let gpu = |n: i64, noise: &mut Noise| {
            let energy_mj = 91_234_567_890 + n * 7_654_321_987;
            Gpu {
                energy_mj,
                begun_mj: energy_mj,
                power_mw: 500_000 + noise.below(100_000),
                temperature_c: 55 + noise.below(10),
                memory_pages: 30_000,
            }
        };
        let gpus = (0..).take(GPUS).map(|n| gpu(n, &mut noise)).collect();
        Self { noise, gpus, seconds: 0 }
    }

    /// The next second.
    pub fn frame(&mut self) -> Frame {
        let since = self.seconds * 1_000 + self.noise.below(3).cast_unsigned();
        self.seconds += 1;
        let mut devices = vec![self.host()];
        devices.extend(self.gpus.iter_mut().map(|gpu| gpu.step(&mut self.noise)));
        Frame { stamp: Stamp { wall_ms: BEGIN_MS + since, boot_ms: 86_400_123 + since }, devices }
    }

    /// The samples of the next batch.
    pub fn frames(&mut self, samples: usize) -> Vec<Frame> {
        (0..samples).map(|_| self.frame()).collect()
    }

    fn host(&mut self) -> DeviceFrame {
        let gpus_mw: i64 = self.gpus.iter().map(|gpu| gpu.power_mw).sum();
        let seconds = self.seconds.cast_signed();
        let readings = [
            (c::NODE_CPU, 180_000 + self.noise.below(40_000)),
            (c::NODE_MEMORY_USED, 412_316_860_416 + self.noise.below(1 << 20) * 4_096),
            (c::NODE_MEMORY_TOTAL, 2_199_023_255_552),
            (c::NODE_DISK_READ, seconds * 180_000_000),
            (c::NODE_DISK_WRITTEN, seconds * 12_000_000),
            (c::NODE_NETWORK_RECEIVED, seconds * 95_000_000 + self.noise.below(1 << 20)),
            (c::NODE_NETWORK_SENT, seconds * 60_000_000 + self.noise.below(1 << 20)),
            (c::NODE_POWER, gpus_mw + 1_400_000 + self.noise.below(50_000)),
            (c::NODE_SPOOL, 4_096),
            (c::NODE_SPOOL_DROPPED, 0),
            (c::NODE_AGENT_MEMORY, 7_340_032),
        ];
        let readings = readings.into_iter().map(|(metric, value)| (metric, Reading::Value(value))).collect();
        DeviceFrame { readings, holding: None }
    }
}

/// Power of H100 servers as it was recorded, one row after the other as the frames of one node; `None`,
/// and a line that says so, where the recordings are not here.
pub fn recorded() -> Option<Vec<Frame>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/mlperf_h100_power/llama2_8node_ac.csv.gz");
    let Ok(opened) = std::fs::File::open(&file) else {
        eprintln!("skipped: recorded traces are not here ({} is absent)", file.display());
        return None;
    };
    let rows = BufReader::new(GzDecoder::new(opened)).lines().skip(1);
    let frames = rows.map_while(Result::ok).filter_map(|row| {
        let mut fields = row.split(',').skip(2);
        let (wall_ms, power_w): (u64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let readings = vec![(c::NODE_POWER, Reading::Value(power_w * 1_000))];
        let stamp = Stamp { wall_ms, boot_ms: wall_ms };
        Some(Frame { stamp, devices: vec![DeviceFrame { readings, holding: None }] })
    });
    Some(frames.collect())
}
