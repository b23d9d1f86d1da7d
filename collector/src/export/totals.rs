//! Energy and hours from the ledger, kept in memory.
//!
//! Counters of a GPU are exported while the node that holds it reports: one that is gone vanishes, and
//! comes back with what the ledger holds. The fleet's counters cover every GPU of the ledger.

use super::devices::Gpus;
use super::families::{
    FLEET_ENERGY, FLEET_ENERGY_GAP, FLEET_GPUS_REGISTERED, FLEET_STATE, GPU_ENERGY, GPU_STATE,
};
use super::health::Health;
use super::labels::{Block, Tail};
use super::refresh::{Failure, refresh};
use super::tally::{Counts, Tally};
use super::text::{Samples, Text};
use gpuledger_ledger::Ledger;
use gpuledger_proto::catalogue::Unit;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often the ledger is asked whether others have committed to it. Where adding it up takes long, the
/// pause is longer.
const REFRESH: Duration = Duration::from_secs(60);
/// A commit of this collector is heard of within this time after it is in the ledger.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// The work that keeps the totals true. Never ends.
pub async fn watch_totals(ledger: Arc<dyn Ledger>, tally: Arc<Tally>, health: Arc<Health>) {
    let load = || load(&*ledger, &tally);
    refresh("ledger totals", REFRESH, load, || health.totals_failed(), &tally.stale).await;
}

async fn load(ledger: &dyn Ledger, tally: &Tally) -> Result<(), Failure> {
    let versions = ledger.versions().await?;
    if tally.covers(&versions) {
        return Ok(());
    }
    if tally.fleet().is_some() {
        tokio::time::sleep(HEARD_WITHIN).await;
        if tally.covers(&versions) {
            return Ok(());
        }
    }
    // The first time, all closed days are read, and more may be committed meanwhile than is kept. They
    // are remembered: the second time, only open rows are read.
    for _ in 0..2 {
        let reading = tally.begin();
        let gpus = ledger.gpus().await?;
        let totals = ledger.totals().await?;
        if reading.end(&gpus, &totals) {
            return Ok(());
        }
    }
    Err("too much is committed while it is read".into())
}

pub fn render(text: &mut Text<'_>, tally: &Tally, gpus: &Gpus<'_>) -> io::Result<()> {
    let Some(fleet) = tally.fleet() else { return Ok(()) };
    let selection = text.selection();
    if [&GPU_ENERGY, &GPU_STATE].iter().any(|family| selection.takes_family(family.name)) {
        of_gpus(text, tally, gpus)?;
    }
    if !selection.takes_whole() {
        return Ok(());
    }
    text.family(&FLEET_GPUS_REGISTERED, |samples| {
        samples.integer(Block::NONE, &[], fleet.registered as i128)
    })?;
    text.family(&FLEET_ENERGY, |samples| {
        millis(samples, Block::NONE, &[("source", "counted")], fleet.counts.counter_mj)?;
        millis(samples, Block::NONE, &[("source", "estimated")], fleet.counts.estimated_mj)
    })?;
    text.family(&FLEET_ENERGY_GAP, |samples| millis(samples, Block::NONE, &[], fleet.counts.gap_mj))?;
    text.family(&FLEET_STATE, |samples| {
        let mut states = STATES.into_iter().zip(by_state(&fleet.counts));
        states.try_for_each(|(state, time_ms)| millis(samples, Block::NONE, &[("state", state)], time_ms))
    })
}

fn of_gpus(text: &mut Text<'_>, tally: &Tally, gpus: &Gpus<'_>) -> io::Result<()> {
    let counts = tally.of(gpus.iter().map(|(_, device)| (device.of.node, &device.of.gpu.uuid)));
    let known = || gpus.blocks().zip(&counts).filter_map(|(block, counts)| Some((block, counts.as_ref()?)));
    text.family(&GPU_ENERGY, |samples| {
        known().try_for_each(|(block, counts)| {
            millis(samples, block, &[], i128::from(counts.counter_mj) + i128::from(counts.estimated_mj))
        })
    })?;
    text.family(&GPU_STATE, |samples| {
        let tails = STATES.map(|state| Tail::new(&[("state", state)]));
        for (block, counts) in known() {
            for (tail, time_ms) in tails.iter().zip(by_state(counts)) {
                samples.tailed(block, tail, time_ms.into(), Unit::Millis.base_decimals())?;
            }
        }
        Ok(())
    })
}

/// Millijoules and milliseconds lie equally far from their base units.
fn millis(
    samples: &mut Samples<'_>,
    block: Block<'_>,
    more: &[(&str, &str)],
    value: impl Into<i128>,
) -> io::Result<()> {
    samples.scaled_with(block, more, value.into(), Unit::Millis.base_decimals())
}

const STATES: [&str; 4] = ["active", "held_idle", "free", "down"];

/// In the order of [`STATES`].
fn by_state(counts: &Counts) -> [u64; 4] {
    [counts.active_ms, counts.held_ms, counts.free_ms, counts.down_ms]
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::devices;
    use super::super::tests::{assert_lines, written};
    use super::*;
    use crate::latest::NodeLatest;
    use gpuledger_ledger::{GpuHour, GpuKey, GpuRecord, GpuTotal, LedgerTotals, NodeKey, Registered};
    use gpuledger_proto::frame::{Gpu, Inventory};
    use gpuledger_proto::ids::{GpuUuid, NodeName};
    use gpuledger_units::{Millijoules, Millis};

    fn gpu(key: u32) -> Gpu {
        Gpu {
            uuid: GpuUuid::new(&format!("GPU-{key}")).unwrap(),
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index: key,
            memory_bytes: None,
            simulated: false,
        }
    }

    /// Node n1 with GPU 0 and GPU 1 that have rows, GPU 2 registered only.
    pub fn sample() -> Tally {
        let hours = GpuHour {
            active_ms: Millis(3_000),
            held_ms: Millis(500),
            counter_mj: Millijoules(1_500_001),
            gap_mj: Millijoules(10),
            estimated_mj: Millijoules(500),
            ..GpuHour::default()
        };
        let record = |key| GpuRecord {
            key: GpuKey(key),
            node: NodeKey(1),
            gpu: gpu(key),
            first_ms: None,
            last_ms: None,
        };
        let gpus = [0, 1].map(|key| GpuTotal { gpu: GpuKey(key), total: hours }).to_vec();
        let totals = LedgerTotals { gpus, versions: Vec::new() };
        let tally = Tally::default();
        tally.node(&NodeName::new("n1").unwrap(), NodeKey(1));
        let registered = [0, 1, 2].map(|key| Registered { key: GpuKey(key), holder: NodeKey(1) });
        let inventory = Inventory { gpus: [0, 1, 2].map(gpu).to_vec(), ..Inventory::default() };
        tally.gpus(&inventory, &registered);
        assert!(tally.begin().end(&[0, 1, 2].map(record), &totals));
        tally
    }

    #[test]
    fn a_gpu_that_is_gone_keeps_its_part_of_the_fleet_and_no_series_of_its_own() {
        let inventory = Inventory { gpus: vec![gpu(0)], ..Inventory::default() };
        let node = NodeLatest {
            inventory: Arc::new(inventory),
            arrived_ms: 0,
            skew_ms: None,
            sampled_ms: 0,
            devices: Vec::new(),
        };
        let name = NodeName::new("n1").unwrap();
        let (_, gpus) = devices::of([(&name, &node)].into_iter(), 0);
        let text = written(|text| render(text, &sample(), &gpus));
        assert_lines(
            &text,
            &[
                r#"gpuledger_gpu_energy_joules_total{uuid="GPU-0",node="n1",gpu="0"} 1500.501"#,
                r#"gpuledger_gpu_state_seconds_total{uuid="GPU-0",node="n1",gpu="0",state="held_idle"} 0.5"#,
                r#"gpuledger_fleet_energy_joules_total{source="counted"} 3000.002"#,
                r#"gpuledger_fleet_energy_joules_total{source="estimated"} 1"#,
                "gpuledger_fleet_energy_gap_joules_total 0.02",
                r#"gpuledger_fleet_state_seconds_total{state="active"} 6"#,
                "gpuledger_fleet_gpus_registered 3",
            ],
        );
        assert!(!text.contains("GPU-1"), "{text}");
    }

    #[test]
    fn there_are_no_totals_before_the_ledger_was_read() {
        let (_, gpus) = devices::of(std::iter::empty(), 0);
        assert_eq!(written(|text| render(text, &Tally::default(), &gpus)), "");
    }
}
