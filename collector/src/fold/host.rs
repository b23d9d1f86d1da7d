//! From a node's own readings to its hour rows.

use super::chain::{Energy, Origin, Point};
use super::coverage::Span;
use super::draft::Draft;
use super::rows::{by_hour, hours};
use super::state::DeviceMemory;
use super::{DeviceColumns, FoldError};
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

/// Folds the node's columns of one batch. Samples without a stamp are passed over.
pub(super) fn fold(
    memory: &mut DeviceMemory,
    draft: &mut Draft<'_>,
    origin: Origin,
    stamps: &[Option<Stamp>],
    columns: &DeviceColumns<'_>,
) -> Result<(), FoldError> {
    let counter = columns.find(catalogue::NODE_ENERGY);
    let integrated = columns.find(catalogue::NODE_ENERGY_INTEGRATED);
    let cpu = columns.find(catalogue::NODE_CPU);
    let used = columns.find(catalogue::NODE_MEMORY_USED);
    let power = columns.find(catalogue::NODE_POWER);
    for (sample, stamp) in stamps.iter().enumerate() {
        let Some(stamp) = stamp else { continue };
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
            add_time(draft, span, &reads)?;
        }
        for &energy in &step.energy {
            add_energy(memory, draft, energy)?;
        }
        if !step.time.is_empty() {
            // A sample that ends an hour belongs to the hour that it measured.
            let row = draft.node_row(Hour::of(stamp.wall_ms.saturating_sub(1)))?;
            row.samples = row.samples.saturating_add(1);
        }
        draft.saw_node(stamp.wall_ms);
    }
    Ok(())
}

fn add_time(draft: &mut Draft<'_>, span: Span, reads: &Reads) -> Result<(), FoldError> {
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
        draft.node_row(hour)?.merge(&row)?;
    }
    Ok(())
}

fn add_energy(memory: &mut DeviceMemory, draft: &mut Draft<'_>, energy: Energy) -> Result<(), FoldError> {
    for (hour, mj) in by_hour(energy.mj, energy.span) {
        let mj = Millijoules(mj);
        let row = if energy.estimated {
            NodeHour { estimated_mj: mj, ..NodeHour::default() }
        } else {
            let gap_mj = if energy.gap { mj } else { Millijoules::ZERO };
            NodeHour { counter_mj: mj, gap_mj, ..NodeHour::default() }
        };
        draft.node_row(hour)?.merge(&row)?;
    }
    memory.count(energy)?;
    Ok(())
}
