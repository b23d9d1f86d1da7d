//! Energy and hours from the ledger, kept in memory and read anew in the background.
//!
//! Counters of a GPU are exported while it reports: one that is gone vanishes, and comes back with
//! what the ledger holds. The fleet's counters cover every GPU of the ledger.

use super::families::{
    FLEET_ENERGY, FLEET_ENERGY_GAP, FLEET_GPUS_REGISTERED, FLEET_STATE, GPU_ENERGY, GPU_STATE,
};
use super::health::Health;
use super::readings::gpu_labels;
use super::refresh::{Failure, refresh};
use super::text::{Labels, Samples, Text};
use gpuledger_ledger::{GpuHour, GpuRecord, GpuTotal, Ledger, NodeRecord};
use gpuledger_proto::catalogue::Unit;
use gpuledger_proto::ids::GpuUuid;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The default commit interval: more often there is nothing new.
const REFRESH: Duration = Duration::from_secs(5);

/// What the ledger held when it was last asked.
#[derive(Debug, Default)]
pub struct Totals {
    gpus: Vec<Gpu>,
    registered: usize,
    fleet: GpuHour,
}

#[derive(Debug)]
struct Gpu {
    uuid: GpuUuid,
    labels: Labels,
    total: GpuHour,
}

/// `None` until the ledger has answered once.
pub type TotalsView = watch::Receiver<Option<Arc<Totals>>>;

/// Gives the view that scrapes read, and the work that keeps it fresh until no view is left.
pub fn watch_totals(
    ledger: Arc<dyn Ledger>,
    health: Arc<Health>,
) -> (TotalsView, impl Future<Output = ()> + Send + 'static) {
    let (sender, view) = watch::channel(None);
    let load = move || {
        let ledger = ledger.clone();
        async move { Totals::load(&*ledger).await.map(|totals| Some(Arc::new(totals))) }
    };
    (view, refresh("ledger totals", REFRESH, sender, load, move || health.totals_failed()))
}

impl Totals {
    async fn load(ledger: &dyn Ledger) -> Result<Self, Failure> {
        let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
        Self::of(&nodes, gpus, &ledger.gpu_totals().await?)
    }

    fn of(nodes: &[NodeRecord], gpus: Vec<GpuRecord>, totals: &[GpuTotal]) -> Result<Self, Failure> {
        let names: BTreeMap<_, _> = nodes.iter().map(|node| (node.key, node.name.as_str())).collect();
        let registered = gpus.len();
        let records: BTreeMap<_, _> = gpus.into_iter().map(|record| (record.key, record)).collect();
        let mut this = Self { registered, ..Self::default() };
        for total in totals {
            this.fleet.merge(&total.total)?;
            let Some(record) = records.get(&total.gpu) else { continue };
            let node = names.get(&record.node).copied().unwrap_or_default();
            let labels = gpu_labels(&record.gpu, node);
            this.gpus.push(Gpu { uuid: record.gpu.uuid.clone(), labels, total: total.total });
        }
        Ok(this)
    }

    pub fn render(&self, text: &mut Text<'_>, reporting: &BTreeSet<&GpuUuid>) -> io::Result<()> {
        let gpus = || self.gpus.iter().filter(|gpu| reporting.contains(&gpu.uuid));
        let mut samples = text.family(&GPU_ENERGY);
        for gpu in gpus() {
            let total = &gpu.total;
            millis(
                &mut samples,
                &gpu.labels,
                i128::from(total.counter_mj.0) + i128::from(total.estimated_mj.0),
            )?;
        }
        let mut samples = text.family(&GPU_STATE);
        for gpu in gpus() {
            states(&mut samples, &gpu.labels, &gpu.total)?;
        }
        let (none, fleet) = (Labels::default(), &self.fleet);
        text.family(&FLEET_GPUS_REGISTERED).integer(&none, self.registered as i128)?;
        let mut samples = text.family(&FLEET_ENERGY);
        millis(&mut samples, &none.with(&[("source", "counted")]), fleet.counter_mj.0)?;
        millis(&mut samples, &none.with(&[("source", "estimated")]), fleet.estimated_mj.0)?;
        millis(&mut text.family(&FLEET_ENERGY_GAP), &none, fleet.gap_mj.0)?;
        states(&mut text.family(&FLEET_STATE), &none, fleet)
    }
}

/// Millijoules and milliseconds lie equally far from their base units.
fn millis(samples: &mut Samples<'_>, labels: &Labels, value: impl Into<i128>) -> io::Result<()> {
    samples.scaled(labels, value.into(), Unit::Millis.base_decimals())
}

fn states(samples: &mut Samples<'_>, labels: &Labels, total: &GpuHour) -> io::Result<()> {
    for (state, time) in [
        ("active", total.active_ms),
        ("held_idle", total.held_ms),
        ("free", total.free_ms),
        ("down", total.down_ms),
    ] {
        millis(samples, &labels.with(&[("state", state)]), time.0)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{assert_lines, written};
    use super::*;
    use gpuledger_ledger::{GpuKey, NodeKey};
    use gpuledger_proto::frame::{self, Host};
    use gpuledger_proto::ids::NodeName;
    use gpuledger_units::{Millijoules, Millis};

    fn record(key: u32) -> GpuRecord {
        let gpu = frame::Gpu {
            uuid: GpuUuid::new(&format!("GPU-{key}")).unwrap(),
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index: key,
            memory_bytes: None,
            simulated: false,
        };
        GpuRecord { key: GpuKey(key), node: NodeKey(1), gpu, first_ms: None, last_ms: None }
    }

    /// GPU 0 and GPU 1 with rows, GPU 2 registered only.
    pub fn sample() -> Totals {
        let name = NodeName::new("n1").unwrap();
        let node = NodeRecord { key: NodeKey(1), name, host: Host::default(), first_ms: None, last_ms: None };
        let hours = GpuHour {
            active_ms: Millis(3_000),
            held_ms: Millis(500),
            counter_mj: Millijoules(1_500_001),
            gap_mj: Millijoules(10),
            estimated_mj: Millijoules(500),
            ..GpuHour::default()
        };
        let totals = [0, 1].map(|key| GpuTotal { gpu: GpuKey(key), total: hours });
        Totals::of(&[node], (0..3).map(record).collect(), &totals).unwrap()
    }

    #[test]
    fn a_gpu_that_is_gone_keeps_its_part_of_the_fleet_and_no_series_of_its_own() {
        let here = record(0).gpu.uuid;
        let text = written(|text| sample().render(text, &BTreeSet::from([&here])));
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
}
