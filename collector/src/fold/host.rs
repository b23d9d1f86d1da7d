//! From a node's own readings to its hour rows.

use super::chain::{Energy, Origin, Point};
use super::coverage::Span;
use super::pending::Pending;
use super::rows::{by_hour, hours};
use super::state::DeviceMemory;
use super::{FoldError, Metered, Stamps};
use gpuledger_ledger::{Hour, NodeHour};
use gpuledger_proto::catalogue as c;
use gpuledger_proto::column::DeviceColumns;
use gpuledger_units::{Bytes, Millijoules, Millis, Milliwatts, Ppm};

/// What one sample says of the node.
struct Reads {
    cpu: Option<Ppm>,
    memory: Option<Bytes>,
    power: Option<Milliwatts>,
    metered: bool,
}

/// Folds the node's columns of one batch. Samples that are not usable are passed over.
pub(super) fn fold(
    memory: &mut DeviceMemory,
    pending: &mut Pending,
    origin: Origin,
    stamps: &Stamps<'_>,
    device: &DeviceColumns<'_>,
) -> Result<(), FoldError> {
    let mut counter = Metered::default();
    let mut integrated = Metered::default();
    let mut cpu = Metered::default();
    let mut used = Metered::default();
    let mut power = Metered::default();
    for (metric, cells) in device.iter() {
        match metric {
            c::NODE_ENERGY => counter.set(cells),
            c::NODE_ENERGY_INTEGRATED => integrated.set(cells),
            c::NODE_CPU => cpu.set(cells),
            c::NODE_MEMORY_USED => used.set(cells),
            c::NODE_POWER => power.set(cells),
            _ => {}
        }
    }
    for sample in 0..stamps.len() {
        let Some(stamp) = stamps.usable(sample) else { continue };
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
        if !step.time.is_empty() {
            // A sample that ends an hour belongs to the hour that it measured.
            let row = pending.node_row(Hour::of(stamp.wall_ms.saturating_sub(1)))?;
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
        pending.node_row(hour)?.merge(&row)?;
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
        pending.node_row(hour)?.merge(&row)?;
    }
    memory.count(energy)?;
    Ok(())
}
