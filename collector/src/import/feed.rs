//! Series to the ledger: samples in batches through the fold, all nodes in one commit.

use super::integrate::{self, Row, Sample};
use super::mapping::{Mapping, Quantity};
use super::table::{SeriesKey, Table};
use super::{ImportError, SeriesSummary, Summary};
use crate::fold::{FoldOptions, NodeFold};
use crate::ingest::holder;
use gpuledger_ledger::{CommitOutcome, Ledger, NodeCommit, NodeKey, Registered};
use gpuledger_proto::catalogue::{self, MetricId};
use gpuledger_proto::frame::{Batch, Column, Gpu, Inventory, Stamp};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use gpuledger_proto::limits::SAMPLES_PER_BATCH_MAX;
use gpuledger_proto::reading::{Absence, Reading};
use gpuledger_units::{Millis, Overflow};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// How often a node is folded anew because a collector committed to it in between. Collectors
/// commit every few seconds and a node folds in milliseconds.
const ATTEMPTS_MAX: usize = 5;

/// One series with what its rows are fed as.
struct Series<'a> {
    key: &'a SeriesKey,
    epoch: Epoch,
    samples: Vec<Sample>,
}

/// Writes everything that a table holds and the ledger has not counted yet.
pub async fn import(ledger: &dyn Ledger, table: &Table, mapping: &Mapping) -> Result<Summary, ImportError> {
    let mut summary = Summary { filtered: table.filtered, ..Summary::default() };
    let mut nodes: BTreeMap<&NodeName, Vec<Series<'_>>> = BTreeMap::new();
    for (key, rows) in &table.series {
        let samples = samples(rows, mapping).map_err(|e| fold_error(key, &e))?;
        summary.series.push(SeriesSummary::of(key, rows, &samples, mapping));
        let epoch = epoch(&table.digest, mapping, key);
        nodes.entry(&key.node).or_default().push(Series { key, epoch, samples });
    }
    let mut waiting: Vec<&NodeName> = nodes.keys().copied().collect();
    for _ in 0..ATTEMPTS_MAX {
        let mut commits = Vec::new();
        for &name in &waiting {
            let node = ledger.node(name).await?;
            if let Some(commit) = fold_node(ledger, node, &nodes[name], mapping, &mut summary).await? {
                commits.push((name, commit));
            }
        }
        let (names, commits): (Vec<_>, Vec<_>) = commits.into_iter().unzip();
        if commits.is_empty() {
            return Ok(summary);
        }
        let outcomes = ledger.commit(commits.clone()).await?;
        waiting.clear();
        for ((name, commit), outcome) in names.into_iter().zip(&commits).zip(outcomes) {
            match outcome {
                CommitOutcome::Committed => summary.count(commit)?,
                CommitOutcome::Moved => waiting.push(name),
            }
        }
        if waiting.is_empty() {
            return Ok(summary);
        }
    }
    Err(ImportError::Contended(waiting[0].to_string()))
}

fn samples(rows: &[Row], mapping: &Mapping) -> Result<Vec<Sample>, Overflow> {
    match mapping.quantity {
        Quantity::Power { .. } => integrate::power(rows, mapping.longest_gap_ms),
        Quantity::Energy { .. } => Ok(integrate::counter(rows, mapping.longest_gap_ms)),
    }
}

/// The name of a series of a file under a mapping: the same import always has the same epoch.
fn epoch(digest: &[u8; 32], mapping: &Mapping, key: &SeriesKey) -> Epoch {
    let mut name = Sha256::new();
    name.update(digest);
    name.update(mapping.canonical());
    name.update(format!("\nseries={key:?}"));
    let hash: [u8; 32] = name.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Epoch(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Folds the series of one node that are not committed yet; `None` where all are.
async fn fold_node(
    ledger: &dyn Ledger,
    node: NodeKey,
    series: &[Series<'_>],
    mapping: &Mapping,
    summary: &mut Summary,
) -> Result<Option<NodeCommit>, ImportError> {
    let state = ledger.state(node).await?;
    let options = FoldOptions { longest_gap: Millis(mapping.longest_gap_ms) };
    let failed = |key: &SeriesKey, error: &dyn std::fmt::Display| fold_error(key, error);
    let mut fold = NodeFold::load(node, &state, options).map_err(|e| failed(series[0].key, &e))?;
    let gpus = register(ledger, node, series, mapping).await?;
    let named: Vec<_> = gpus.iter().map(|(&uuid, &gpu)| (gpu, uuid)).collect();
    for held in holder::elsewhere(node, &named, &fold) {
        let theirs = ledger.state(held.from).await?;
        fold.take_over(held.from, &theirs, &held.gpus).map_err(|e| failed(series[0].key, &e))?;
    }
    for one in series {
        let stored = ledger.sequence(node, one.epoch).await?;
        let batches = batches(one, mapping);
        let last = batches.len();
        if u64::try_from(last).is_ok_and(|last| stored.0 >= last) {
            summary.known(one.key);
            continue;
        }
        let devices = one.key.gpu.as_ref().map(|uuid| gpus[uuid.as_str()].key).into_iter().collect();
        fold.begin_segment(one.epoch, None, devices, stored, Sequence(1));
        for batch in batches.iter().filter(|batch| batch.sequence > stored) {
            fold.fold(batch, &[]).map_err(|e| failed(one.key, &e))?;
        }
    }
    Ok(fold.take())
}

fn fold_error(key: &SeriesKey, reason: &dyn std::fmt::Display) -> ImportError {
    ImportError::Fold { series: key.to_string(), reason: reason.to_string() }
}

/// Registers the GPUs of a node. What the ledger knows of a GPU already stays as it is.
async fn register<'a>(
    ledger: &dyn Ledger,
    node: NodeKey,
    series: &'a [Series<'_>],
    mapping: &Mapping,
) -> Result<BTreeMap<&'a str, Registered>, ImportError> {
    let uuids: Vec<_> = series.iter().filter_map(|one| one.key.gpu.as_ref()).collect();
    if uuids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let known = ledger.gpus().await?;
    let host = ledger.nodes().await?.into_iter().find(|n| n.key == node).map(|n| n.host);
    let gpu = |(index, &uuid): (usize, &_)| {
        let fresh = || Gpu {
            uuid: Clone::clone(uuid),
            model: mapping.gpu_model.clone().unwrap_or_default(),
            serial: None,
            pci_bus_id: None,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            memory_bytes: None,
            simulated: false,
        };
        known.iter().find(|record| record.gpu.uuid == *uuid).map_or_else(fresh, |record| record.gpu.clone())
    };
    let gpus = uuids.iter().enumerate().map(gpu).collect();
    let keys = ledger.register(node, &Inventory { host: host.unwrap_or_default(), gpus }).await?;
    Ok(uuids.iter().map(|uuid| uuid.as_str()).zip(keys).collect())
}

/// The samples of a series as the batches that an agent would have sent.
fn batches(series: &Series<'_>, mapping: &Mapping) -> Vec<Batch> {
    let gpu = series.key.gpu.is_some();
    let counted = matches!(mapping.quantity, Quantity::Energy { .. });
    let (power, energy) = match (gpu, counted) {
        (true, true) => (catalogue::GPU_POWER_AVERAGE, catalogue::GPU_ENERGY),
        (true, false) => (catalogue::GPU_POWER_AVERAGE, catalogue::GPU_ENERGY_INTEGRATED),
        (false, true) => (catalogue::NODE_POWER, catalogue::NODE_ENERGY),
        (false, false) => (catalogue::NODE_POWER, catalogue::NODE_ENERGY_INTEGRATED),
    };
    let chunks = series.samples.chunks(SAMPLES_PER_BATCH_MAX);
    chunks
        .zip(1..)
        .map(|(samples, sequence)| batch(Sequence(sequence), samples, gpu, power, energy))
        .collect()
}

fn batch(sequence: Sequence, samples: &[Sample], gpu: bool, power: MetricId, energy: MetricId) -> Batch {
    // Beyond i64 is refused where energy is told.
    let value = |amount: u64| Reading::Value(i64::try_from(amount).unwrap_or(i64::MAX));
    let powers = samples.iter().map(|s| s.power_mw.ok_or(Absence::Unsupported).into());
    let device = u16::from(gpu);
    let mut columns = vec![
        Column { device, metric: power, readings: powers.collect() },
        Column { device, metric: energy, readings: samples.iter().map(|s| value(s.energy_mj)).collect() },
    ];
    if gpu {
        let readings = vec![Reading::Value(1); samples.len()];
        columns.push(Column { device, metric: catalogue::GPU_UP, readings });
    }
    columns.sort_by_key(|column| column.metric);
    let stamp = |sample: &Sample| Stamp { wall_ms: sample.wall_ms, boot_ms: sample.wall_ms };
    Batch { sequence, stamps: samples.iter().map(stamp).collect(), holdings: Vec::new(), columns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::mapping::{EnergyUnit, NodeSource, TimeUnit};
    use gpuledger_ledger::Store as _;
    use gpuledger_ledger::Wanted;
    use gpuledger_ledger::sqlite::SqliteLedger;
    use gpuledger_proto::ids::GpuUuid;

    const T: u64 = 1_790_000_000_000;

    /// A counter of one GPU, a joule a second, as a file of this node has it.
    fn table(node: &str, seconds: std::ops::Range<u64>) -> (Table, Mapping) {
        let node = NodeName::new(node).unwrap();
        let gpu = Some(GpuUuid::new("GPU-1").unwrap());
        let row = |second| Row { wall_ms: T + second * 1_000, value: i64::try_from(second).unwrap() * 1_000 };
        let digest = [u8::try_from(seconds.start).unwrap(); 32];
        let rows = seconds.map(row).collect();
        let series = BTreeMap::from([(SeriesKey { node: node.clone(), gpu }, rows)]);
        let quantity = Quantity::Energy { column: "mj".to_owned(), unit: EnergyUnit::Mj };
        let mapping = Mapping {
            node: NodeSource::Always(node),
            gpu_column: Some("gpu".to_owned()),
            gpu_model: None,
            time_column: "t".to_owned(),
            time_unit: TimeUnit::Ms,
            quantity,
            filters: Vec::new(),
            longest_gap_ms: 60_000,
        };
        (Table { series, filtered: 0, digest }, mapping)
    }

    #[tokio::test]
    async fn a_gpu_that_another_node_holds_is_taken_over_and_nothing_of_it_counts_again() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        for (node, seconds) in [("a", 0..10), ("b", 5..20), ("a", 12..30)] {
            let (table, mapping) = table(node, seconds);
            import(&ledger, &table, &mapping).await.unwrap();
            let holder = ledger.gpus().await.unwrap()[0].node;
            assert_eq!(ledger.node(&NodeName::new(node).unwrap()).await.unwrap(), holder);
        }
        let rows = ledger.gpu_rows(&Wanted::all(gpuledger_ledger::HourRange::ALWAYS)).await.unwrap();
        assert_eq!(rows.iter().map(|(_, row)| row.counter_mj.0).sum::<u64>(), 29_000);
        assert_eq!(ledger.check().await.unwrap(), Vec::<String>::new());
    }
}
