//! What a node says, as bytes decide: within the forms that the wire allows, and nothing else kept sane.

use crate::bytes::Bytes;
use gpuledger_ledger::{GpuKey, OwnerKey};
use gpuledger_proto::catalogue as c;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::frame::{Batch, DeviceFrame, Frame, Holding, Owner, OwnerKind, Share, Stamp};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::reading::{Absence, Reading};
use uuid::Uuid;

/// 2026-03-29T00:00Z, half an hour before the end of an hour.
pub const BEGIN_MS: u64 = 1_774_742_400_000 + 1_800_000;

const SAMPLES_MAX: u8 = 24;
const NODE_METRICS: [MetricId; 5] =
    [c::NODE_CPU, c::NODE_MEMORY_USED, c::NODE_POWER, c::NODE_ENERGY, c::NODE_ENERGY_INTEGRATED];
const GPU_METRICS: [MetricId; 10] = [
    c::GPU_UP,
    c::GPU_ENERGY,
    c::GPU_ENERGY_INTEGRATED,
    c::GPU_UTILIZATION,
    c::GPU_PROCESSES,
    c::GPU_MEMORY_USED,
    c::GPU_POWER_AVERAGE,
    c::GPU_POWER_INSTANT,
    c::GPU_TEMPERATURE,
    c::GPU_THROTTLE_REASONS,
];
/// Inventories that the node may have, by the GPUs' numbers.
const INVENTORIES: [&[u32]; 5] = [&[], &[7], &[7, 8], &[8, 7], &[9, 7, 8]];
const OWNERS: [&str; 3] = ["ann", "bob", "eve"];

#[derive(Debug, Clone)]
pub struct Segment {
    pub epoch: Epoch,
    pub boot: Option<Uuid>,
    pub gpus: Vec<GpuKey>,
    pub first: Sequence,
}

pub struct Node {
    clock: Stamp,
    segment: Option<Segment>,
}

impl Default for Node {
    fn default() -> Self {
        Self { clock: Stamp { wall_ms: BEGIN_MS, boot_ms: 1_000 }, segment: None }
    }
}

/// How a metric goes on through a batch.
enum Course {
    Ramp { at: i64, step: i64 },
    Any,
    Gappy(i64),
    Absent(Absence),
}

impl Course {
    /// `None` where the device is not asked for the metric.
    fn choose(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(match bytes.pick(8) {
            0 => return None,
            1 => Self::Any,
            2 => Self::Gappy(bytes.number()),
            3 => Self::Absent(Absence::from_code(bytes.pick(8))),
            4 => Self::Ramp { at: bytes.number(), step: 0 },
            _ => Self::Ramp { at: bytes.number(), step: bytes.number() },
        })
    }

    fn next(&mut self, sample: usize, bytes: &mut Bytes<'_>) -> Reading<i64> {
        match self {
            Self::Ramp { at, step } => {
                let value = *at;
                *at = at.saturating_add(*step);
                Reading::Value(value)
            }
            Self::Any => Reading::Value(bytes.number()),
            Self::Gappy(value) if sample.is_multiple_of(2) => Reading::Value(*value),
            Self::Gappy(_) => Reading::Absent(Absence::Failed),
            Self::Absent(reason) => Reading::Absent(*reason),
        }
    }
}

impl Node {
    pub fn devices(&self) -> usize {
        self.segment.as_ref().map_or(1, |segment| segment.gpus.len() + 1)
    }

    pub fn last_segment(&self) -> Option<&Segment> {
        self.segment.as_ref()
    }

    pub fn segment(&mut self, bytes: &mut Bytes<'_>, expected: Sequence) -> Segment {
        let id = |number: u8| Uuid::from_u128(u128::from(number));
        let epoch = Epoch(id(1 + bytes.pick(3)));
        let boot = Some(bytes.pick(3)).filter(|&boot| boot > 0).map(id);
        let gpus = INVENTORIES[usize::from(bytes.pick(5))].iter().copied().map(GpuKey).collect();
        let first = match bytes.pick(8) {
            0 => Sequence(bytes.number().unsigned_abs().max(1)),
            1 => Sequence(expected.0.saturating_add(3)),
            _ => Sequence(1),
        };
        self.segment.insert(Segment { epoch, boot, gpus, first }).clone()
    }

    pub fn batch(&mut self, bytes: &mut Bytes<'_>, expected: Sequence) -> Batch {
        let sequence = if bytes.pick(16) == 0 { Sequence(bytes.number().unsigned_abs()) } else { expected };
        let samples = usize::from(1 + bytes.pick(SAMPLES_MAX));
        let mut frames: Vec<Frame> = (0..samples)
            .map(|_| Frame { stamp: self.tick(bytes), devices: vec![DeviceFrame::default(); self.devices()] })
            .collect();
        for device in 0..self.devices() {
            let metrics: &[MetricId] = if device == 0 { &NODE_METRICS } else { &GPU_METRICS };
            for &metric in metrics {
                let Some(mut course) = Course::choose(bytes) else { continue };
                for (sample, frame) in frames.iter_mut().enumerate() {
                    frame.devices[device].readings.push((metric, course.next(sample, bytes)));
                }
            }
            if device > 0 {
                let (first, then) = (holding(bytes), holding(bytes));
                for (sample, frame) in frames.iter_mut().enumerate() {
                    let held = if sample < samples / 2 { &first } else { &then };
                    frame.devices[device].holding.clone_from(held);
                }
            }
        }
        Batch::from_frames(sequence, &frames)
    }

    /// The next sample's clocks: mostly a second later, and whatever a clock can do else.
    fn tick(&mut self, bytes: &mut Bytes<'_>) -> Stamp {
        const HOUR_MS: u64 = 3_600_000;
        let Stamp { wall_ms, boot_ms } = &mut self.clock;
        let step_ms = match bytes.pick(32) {
            0 => 0,
            1 => 9_999,
            2 => 60_000,
            3 => HOUR_MS,
            4 => 40 * 24 * HOUR_MS,
            5 => {
                *wall_ms = wall_ms.saturating_sub(5_500);
                1_000
            }
            6 => {
                *wall_ms = bytes.number().cast_unsigned();
                1_000
            }
            7 => {
                *boot_ms = 0;
                30_000
            }
            8 => {
                *wall_ms = BEGIN_MS;
                1_000
            }
            _ => 1_000,
        };
        *wall_ms = wall_ms.saturating_add(step_ms);
        *boot_ms = boot_ms.saturating_add(step_ms);
        self.clock
    }
}

fn holding(bytes: &mut Bytes<'_>) -> Option<Reading<Holding>> {
    let share = |owner: u8, share_ppm| {
        let name = OWNERS[usize::from(owner) % OWNERS.len()].to_owned();
        let owner = Owner { kind: OwnerKind::Slurm, account: String::new(), name, job: String::new() };
        Share { owner, share_ppm }
    };
    Some(match bytes.pick(6) {
        0 => return None,
        1 => Reading::Absent(Absence::NoPermission),
        2 => Reading::Value(Vec::new()),
        3 => {
            let first = u32::from(bytes.byte()) * 3_921;
            Reading::Value(vec![share(0, first), share(1, 1_000_000 - first)])
        }
        4 => Reading::Value(vec![share(0, 333_333), share(1, 333_333), share(2, 333_334)]),
        _ => Reading::Value(vec![share(bytes.byte(), 1_000_000)]),
    })
}

/// The owners' numbers, as a ledger would give them.
pub fn owners(batch: &Batch) -> Vec<Vec<(OwnerKey, u32)>> {
    let number = |share: &Share| {
        let position = (0..).zip(OWNERS).find(|(_, name)| *name == share.owner.name);
        OwnerKey(OwnerKey::FIRST_NAMED.0 + position.map_or(0, |(position, _)| position))
    };
    let shares = |holding: &Holding| holding.iter().map(|share| (number(share), share.share_ppm)).collect();
    batch.holdings.iter().map(shares).collect()
}
