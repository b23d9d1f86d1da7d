//! One scrape of `/metrics`: every series of fleets of 100, 1,000 and 10,000 nodes, plain, compressed and
//! a third of it, into nowhere.

use criterion::{BenchmarkId, Criterion, Throughput};
use gpuledger_benches::cpu::{self, CpuTime};
use gpuledger_benches::stream::{GPUS, Node};
use gpuledger_collector::export::text::Pages;
use gpuledger_collector::export::{Exporter, Health, Selection, Sites, Tally};
use gpuledger_collector::http::gzip::Gzip;
use gpuledger_collector::latest::{Arrival, Latest};
use gpuledger_ledger::{GpuHour, GpuKey, GpuRecord, GpuTotal, LedgerTotals, NodeKey, Registered};
use gpuledger_proto::frame::{Batch, Gpu, Host, Inventory};
use gpuledger_proto::ids::{GpuUuid, NodeName, Sequence};
use gpuledger_units::{Millijoules, Millis};
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use uuid::Uuid;

const FLEETS: [u32; 3] = [100, 1_000, 10_000];

fn main() -> anyhow::Result<()> {
    let mut criterion = cpu::criterion().sample_size(10).configure_from_args();
    for nodes in FLEETS {
        scrape(&mut criterion, nodes)?;
    }
    criterion.final_summary();
    Ok(())
}

fn scrape(criterion: &mut Criterion<CpuTime>, nodes: u32) -> anyhow::Result<()> {
    let exporter = exporter(nodes)?;
    let before = resident_kib()?;
    let mut plain = Counted::default();
    exporter.render(&mut plain, &Selection::ALL)?;
    let mut packed = Gzip::new(Counted::default());
    exporter.render(&mut packed, &Selection::ALL)?;
    let packed = packed.finish()?;
    println!(
        "{nodes} nodes: {} lines, {} bytes, {} compressed; {before} KiB resident, {} KiB at most while scraped",
        plain.lines, plain.bytes, packed.bytes, plain.resident_max_kib
    );
    let third = Selection::of([("shard".to_owned(), "1/3".to_owned())], &Arc::new(Sites::default()))?;
    let mut group = criterion.benchmark_group("render");
    group.throughput(Throughput::Elements(plain.lines));
    group.bench_function(BenchmarkId::new("plain", nodes), |b| {
        b.iter(|| exporter.render(&mut Nowhere, &Selection::ALL));
    });
    group.bench_function(BenchmarkId::new("a third", nodes), |b| {
        b.iter(|| exporter.render(&mut Nowhere, &third));
    });
    group.bench_function(BenchmarkId::new("gzip", nodes), |b| {
        b.iter(|| -> io::Result<Nowhere> {
            let mut pages = Gzip::new(Nowhere);
            exporter.render(&mut pages, &Selection::ALL)?;
            pages.finish()
        });
    });
    group.finish();
    Ok(())
}

struct Nowhere;

impl Pages for Nowhere {
    fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        page.clear();
        Ok(())
    }
}

#[derive(Default)]
struct Counted {
    lines: u64,
    bytes: u64,
    pages: u64,
    resident_max_kib: u64,
}

impl Pages for Counted {
    fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        self.lines += page.split(|byte| *byte == b'\n').count().saturating_sub(1) as u64;
        self.bytes += page.len() as u64;
        self.pages += 1;
        if self.pages.is_multiple_of(64) {
            self.resident_max_kib = self.resident_max_kib.max(resident_kib()?);
        }
        page.clear();
        Ok(())
    }
}

fn resident_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}

/// A collector that so many nodes have just reported to, with the totals of their GPUs.
fn exporter(nodes: u32) -> anyhow::Result<Exporter> {
    let (latest, tally) = (Latest::default(), Tally::default());
    let (mut records, mut totals) = (Vec::new(), LedgerTotals::default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now_ms = u64::try_from(now.as_millis())?;
    for node in 0..nodes {
        let mut batch = Batch::from_frames(Sequence(1), &Node::new(node.into()).frames(1));
        batch.stamps[0].wall_ms = now_ms;
        let name = NodeName::new(&format!("gpu-node-{node:05}"))?;
        let inventory = inventory(node)?;
        let mut registered = Vec::new();
        for gpu in &inventory.gpus {
            let key = GpuKey(node * 8 + gpu.index);
            registered.push(Registered { key, holder: NodeKey(node) });
            let gpu = gpu.clone();
            records.push(GpuRecord { key, node: NodeKey(node), gpu, first_ms: None, last_ms: None });
            totals.gpus.push(GpuTotal { gpu: key, total: hours(u64::from(key.0)) });
        }
        tally.node(&name, NodeKey(node));
        tally.gpus(&inventory, &registered);
        // Heard of for as long as a benchmark takes.
        let arrival = Arrival { at_ms: now_ms + 3_600_000, skew_ms: Some(0) };
        latest.update(&name, &Arc::new(inventory), &batch, arrival);
    }
    anyhow::ensure!(tally.begin().end(&records, &totals), "nothing else was going on");
    Ok(Exporter {
        latest: Arc::new(latest),
        tally: Arc::new(tally),
        costs: watch::channel(None).1,
        health: Arc::new(Health::new()?),
        keeper: None,
        sites: Arc::default(),
    })
}

/// What the ledger holds of a GPU.
fn hours(seed: u64) -> GpuHour {
    GpuHour {
        active_ms: Millis(7_203_501 + seed * 977),
        held_ms: Millis(1_000 + seed * 13),
        free_ms: Millis(86_400_000 + seed),
        counter_mj: Millijoules(91_234_567_890 + seed * 7_654_321),
        ..GpuHour::default()
    }
}

fn inventory(node: u32) -> anyhow::Result<Inventory> {
    let gpu = |index: u32| -> anyhow::Result<Gpu> {
        let uuid = Uuid::from_u128(u128::from(node * 8 + index) * 0x1234_5678_9abc_def0_1357_9bdf);
        Ok(Gpu {
            uuid: GpuUuid::new(&format!("GPU-{uuid}"))?,
            model: "NVIDIA H100 80GB HBM3".to_owned(),
            serial: Some(format!("16522{:07}", node * 8 + index)),
            pci_bus_id: Some(format!("00000000:{:02X}:00.0", 27 + index)),
            index,
            memory_bytes: Some(85_520_809_984),
            simulated: true,
        })
    };
    let host = Host {
        hostname: format!("gpu-node-{node:05}.example"),
        os: "Debian GNU/Linux 13".to_owned(),
        driver_version: Some("580.65.06".to_owned()),
        ..Host::default()
    };
    let gpus = (0..).take(GPUS).map(gpu).collect::<Result<_, _>>()?;
    Ok(Inventory { host, gpus })
}
