//! From a node's own readings to its hour rows.

use super::chain::{Energy, Origin, Point};
use super::coverage::Span;
use super::rows::{Pending, by_hour, hours};
use super::state::DeviceMemory;
use super::{DeviceColumns, FoldError, WALL_MS_MAX, WALL_MS_MIN};
use gpuledger_ledger::{Hour, NodeHour};
use gpuledger_proto::catalogue;
use gpuledger_proto::frame::Stamp;
use gpuledger_units::{Bytes, Millijoules, Millis, Milliwatts, Ppm};

/// What one sample says of the node.
struct Reads {
    cpu: Option<Ppm>,
    memory: Option<Bytes>,
    power: Option<Milliwatts>,
    metered: bool,
}

/// Folds the node's columns of one batch.
pub(super) fn fold(
    memory: &mut DeviceMemory,
    pending: &mut Pending,
    origin: Origin,
    stamps: &[Stamp],
    columns: &DeviceColumns<'_>,
) -> Result<(), FoldError> {
    let counter = columns.find(catalogue::NODE_ENERGY);
    let integrated = columns.find(catalogue::NODE_ENERGY_INTEGRATED);
    let cpu = columns.find(catalogue::NODE_CPU);
    let used = columns.find(catalogue::NODE_MEMORY_USED);
    let power = columns.find(catalogue::NODE_POWER);
    for (sample, stamp) in stamps.iter().enumerate() {
        if !(WALL_MS_MIN..=WALL_MS_MAX).contains(&stamp.wall_ms) {
            continue;
        }
        let point = Point {
            at_ms: stamp.wall_ms,
            boot_ms: stamp.boot_ms,
            counter_mj: counter.amount(sample),
            integrated_mj: integrated.amount(sample),
            counterless: counter.is_denied(sample),
        };
        let reads = Reads {
            cpu: cpu.amount(sample).map(|ppm| Ppm(ppm.min(Ppm::WHOLE.0))),
            memory: used.amount(sample).map(Bytes),
            power: power.amount(sample).map(Milliwatts),
            metered: point.counter_mj.is_some() || (point.counterless && point.integrated_mj.is_some()),
        };
        let step = memory.advance(origin, point, true);
        for &span in &step.time {
            add_time(pending, span, &reads)?;
        }
        for &energy in &step.energy {
            add_energy(memory, pending, energy)?;
        }
        let hour = Hour::of(stamp.wall_ms.saturating_sub(1));
        if let Some(row) = pending.node_hours.get_mut(&hour).filter(|_| !step.time.is_empty()) {
            row.samples = row.samples.saturating_add(1);
        }
        pending.saw_node(stamp.wall_ms);
    }
    Ok(())
}

fn add_time(pending: &mut Pending, span: Span, reads: &Reads) -> Result<(), FoldError> {
    for (hour, piece) in hours(span) {
        let time = Millis(piece.length());
        let mut row = NodeHour { observed_ms: time, power_max_mw: reads.power, ..NodeHour::default() };
        if reads.metered {
            row.metered_ms = time;
        }
        if let Some(cpu) = reads.cpu {
            row.cpu_ppm_ms = cpu.over(time)?;
            row.cpu_known_ms = time;
        }
        if let Some(memory) = reads.memory {
            row.memory_byte_ms = memory.over(time);
        }
        pending.node_hours.entry(hour).or_default().merge(&row)?;
    }
    Ok(())
}

fn add_energy(memory: &mut DeviceMemory, pending: &mut Pending, energy: Energy) -> Result<(), FoldError> {
    for (hour, mj) in by_hour(energy.mj, energy.span) {
        let mj = Millijoules(mj);
        let row = if energy.estimated {
            NodeHour { estimated_mj: mj, ..NodeHour::default() }
        } else {
            let gap_mj = if energy.gap { mj } else { Millijoules::ZERO };
            NodeHour { counter_mj: mj, gap_mj, ..NodeHour::default() }
        };
        pending.node_hours.entry(hour).or_default().merge(&row)?;
    }
    memory.count(energy)?;
    Ok(())
}
