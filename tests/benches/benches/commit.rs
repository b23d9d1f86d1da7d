//! The commit: what a row costs in the SQLite file, sync included, when a fleet commits.

use criterion::measurement::Measurement as _;
use criterion::{BenchmarkId, Criterion, Throughput};
use gpuledger_benches::cpu::{self, CpuTime};
use gpuledger_benches::stream::GPUS;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{
    CommitOutcome, EpochAdvance, GpuHour, GpuHourKey, GpuKey, Hour, Ledger as _, NodeCommit, NodeHour,
    NodeKey, OwnerKey,
};
use gpuledger_proto::frame::{Gpu, Host, Inventory};
use gpuledger_proto::ids::{Epoch, GpuUuid, InvalidId, NodeName, Sequence};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, PpmMillis};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Bytes of the memory that a fold keeps of a node with eight GPUs.
const STATE_BYTES: usize = 1_200;
/// What a commit adds comes again and again within one hour.
const HOUR: Hour = Hour(498_612);

fn main() -> anyhow::Result<()> {
    let mut criterion = cpu::criterion().sample_size(10).configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for nodes in [100, 1_000, 10_000] {
        commit(&mut criterion, &runtime, nodes)?;
    }
    criterion.final_summary();
    Ok(())
}

/// One batch of every node in one transaction.
fn commit(criterion: &mut Criterion<CpuTime>, runtime: &Runtime, nodes: u32) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db"))?;
    let mut fleet = Vec::new();
    runtime.block_on(async {
        for number in 0..nodes {
            fleet.push(Registered::register(&ledger, number).await?);
        }
        anyhow::Ok(())
    })?;
    let mut group = criterion.benchmark_group("commit/sqlite");
    group.throughput(Throughput::Elements(u64::from(nodes) * (GPUS as u64 + 1)));
    let mut version = 0;
    group.bench_function(BenchmarkId::from_parameter(nodes), |b| {
        b.iter_custom(|rounds| {
            let mut spent = CpuTime.zero();
            for _ in 0..rounds {
                let commits: Vec<NodeCommit> = fleet.iter().map(|node| node.commit(version)).collect();
                version += 1;
                let started = CpuTime.start();
                let outcomes = runtime.block_on(ledger.commit(commits));
                spent += CpuTime.end(started);
                assert!(outcomes.is_ok_and(|all| all.iter().all(|one| *one == CommitOutcome::Committed)));
            }
            spent
        });
    });
    group.finish();
    Ok(())
}

struct Registered {
    key: NodeKey,
    gpus: Vec<GpuKey>,
}

impl Registered {
    async fn register(ledger: &SqliteLedger, number: u32) -> anyhow::Result<Self> {
        let key = ledger.node(&NodeName::new(&format!("node-{number:05}"))?).await?;
        let gpu = |index: u32| {
            Ok(Gpu {
                uuid: GpuUuid::new(&format!("GPU-bench-{number:05}-{index}"))?,
                model: "NVIDIA H100 80GB HBM3".to_owned(),
                serial: Some("1650123456789".to_owned()),
                pci_bus_id: Some("00000000:18:00.0".to_owned()),
                index,
                memory_bytes: Some(85_520_809_984),
                simulated: true,
            })
        };
        let gpus = (0_u32..).take(GPUS).map(gpu).collect::<Result<_, InvalidId>>()?;
        let keys = ledger.register(key, &Inventory { host: Host::default(), gpus }).await?;
        Ok(Self { key, gpus: keys.into_iter().map(|gpu| gpu.key).collect() })
    }

    fn commit(&self, version: u64) -> NodeCommit {
        let (first, last) = (HOUR.start_ms() + version * 10_000, HOUR.start_ms() + version * 10_000 + 10_000);
        let epoch = Epoch(Uuid::from_u128(u128::from(self.key.0) + 1));
        let row_key = |&gpu| GpuHourKey { hour: HOUR, gpu, owner: OwnerKey::NOBODY };
        NodeCommit {
            node: self.key,
            base_version: version,
            state: vec![7; STATE_BYTES],
            epochs: vec![EpochAdvance { epoch, from: Sequence(version), to: Sequence(version + 1) }],
            gpu_hours: self.gpus.iter().map(|gpu| (row_key(gpu), gpu_hour())).collect(),
            node_hours: vec![(HOUR, node_hour())],
            taken: Vec::new(),
            gpus_seen: self.gpus.iter().map(|&gpu| (gpu, first, last)).collect(),
            seen: Some((first, last)),
        }
    }
}

/// Ten seconds of a busy GPU.
fn gpu_hour() -> GpuHour {
    GpuHour {
        active_ms: Millis(10_000),
        counter_mj: Millijoules(5_432_109),
        active_mj: Millijoules(5_432_109),
        busy_ppm_ms: PpmMillis(9_812_345_000),
        busy_known_ms: Millis(10_000),
        memory_byte_ms: ByteMillis(62_914_560_000 * 10_000),
        power_max_mw: Some(Milliwatts(601_234)),
        temperature_max_mc: Some(Millicelsius(64_000)),
        samples: 10,
        ..GpuHour::default()
    }
}

fn node_hour() -> NodeHour {
    NodeHour {
        observed_ms: Millis(10_000),
        cpu_ppm_ms: PpmMillis(1_998_765_000),
        cpu_known_ms: Millis(10_000),
        memory_byte_ms: ByteMillis(412_316_860_416 * 10_000),
        power_max_mw: Some(Milliwatts(7_012_345)),
        samples: 10,
        ..NodeHour::default()
    }
}
