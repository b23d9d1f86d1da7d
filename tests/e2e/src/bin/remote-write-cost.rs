//! What remote write costs here and at its receivers, the same points to each.
//!
//! Batches of the simulated fleet go through the product's own tap, queue, renderer and sender into real
//! receivers, as fast as those take them. Processor time is read from `/proc`: of the thread that renders
//! and sends, and of the receiver's process. Exit codes: 0 done, 3 failed at run time.
//!
//! ```text
//! cargo run --release -p gpuledger-e2e --bin remote-write-cost -- --nodes 100 --seconds 300
//! ```

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use gpuledger_collector::export::Health;
use gpuledger_collector::export::remote_write::{
    Access, Choice, Labels, Options, Protocol, RemoteWrite, Target, names,
};
use gpuledger_collector::ingest::tap::Offered;
use gpuledger_e2e::receiver::{Kind, Receiver};
use gpuledger_fleet::frames::NodeFrames;
use gpuledger_fleet::model::Fleet;
use gpuledger_proto::convert::batch_to_wire;
use gpuledger_proto::frame::Batch;
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use prost::Message as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const GPUS: u32 = 8;
const SAMPLES_PER_BATCH: u64 = 10;
const FLEET_SEED: u64 = 7;
/// A receiver that takes nothing for so long has failed.
const LIMIT: Duration = Duration::from_secs(300);
/// Clock ticks a second in `/proc`, on every Linux of today.
const TICKS: f64 = 100.0;

/// What remote write costs here and at its receivers.
#[derive(Debug, Parser)]
#[command(name = "remote-write-cost", version, about, max_term_width = 100)]
struct Args {
    /// Nodes of 8 GPUs
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// Seconds of history, a sample a second
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=3_600))]
    seconds: u32,
    /// Seconds between two samples of a series that are sent; 0 sends every sample
    #[arg(long, default_value_t = 0)]
    resolution: u32,
}

#[allow(clippy::print_stdout, reason = "this is a command's output")]
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let batches = batches(&args)?;
    println!(
        "receiver             protocol  million points  CPU-s/million here  there  bytes/point  seconds"
    );
    for (kind, protocol) in [
        (Kind::Prometheus3, Protocol::V2),
        (Kind::Prometheus3, Protocol::V1),
        (Kind::Prometheus2, Protocol::V1),
        (Kind::VictoriaMetrics, Protocol::V1),
    ] {
        let Some(receiver) = Receiver::start(kind)? else { continue };
        let cost = measure(&args, &batches, &receiver, protocol).await?;
        let (name, millions) = (format!("{kind:?}"), cost.points / 1e6);
        let (here, there) = (cost.here_s / millions, cost.there_s / millions);
        println!(
            "{name:20} {:8} {millions:15.2} {here:19.3} {there:6.3} {:12.2} {:8.1}",
            protocol.name(),
            cost.bytes / cost.points,
            cost.seconds
        );
    }
    Ok(())
}

struct Cost {
    points: f64,
    here_s: f64,
    there_s: f64,
    bytes: f64,
    seconds: f64,
}

async fn measure(
    args: &Args,
    batches: &[Vec<Offered>],
    receiver: &Receiver,
    protocol: Protocol,
) -> Result<Cost> {
    let folder = tempfile::tempdir()?;
    let options = Options {
        target: Target { url: receiver.url().parse()?, access: Access::Open, ca: None },
        choice: Choice::Only(protocol),
        families: names().collect(),
        resolution_ms: u64::from(args.resolution) * 1_000,
        labels: Labels::default(),
        queue: folder.path().join("queue"),
        queue_bytes: 16 << 30,
    };
    let health = Health::new()?;
    let before = cpu_s(&format!("/proc/{}/stat", receiver.pid()?))?;
    let started = Instant::now();
    let remote_write = RemoteWrite::start(options, &health, Arc::new(now_ms))?;
    let tap = remote_write.tap();
    let mut queued = 0;
    for round in batches {
        queued += round.iter().map(|batch| batch.wire.len()).sum::<usize>();
        for batch in round {
            tap.offer(batch.clone());
        }
        tap.sync().await;
    }
    while told(&health, "gpuledger_remote_write_queue_bytes")? > 0.5
        || told(&health, "gpuledger_remote_write_samples_total")? < 0.5
    {
        ensure!(started.elapsed() < LIMIT, "the receiver does not take everything within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let here_s = thread_cpu_s("remote-write")?;
    let there_s = cpu_s(&format!("/proc/{}/stat", receiver.pid()?))? - before;
    let points = told(&health, "gpuledger_remote_write_samples_total")?;
    let dropped = told(&health, "gpuledger_remote_write_dropped_total")?;
    ensure!(dropped < 0.5, "{dropped} samples were dropped");
    remote_write.stop().await;
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = queued as f64;
    Ok(Cost { points, here_s, there_s, bytes, seconds })
}

/// Every batch of the history, ten seconds of all nodes together.
fn batches(args: &Args) -> Result<Vec<Vec<Offered>>> {
    let to_ms = now_ms();
    let fleet = Arc::new(Fleet::ending_at(to_ms, 1, args.nodes, GPUS, FLEET_SEED));
    let rounds = u64::from(args.seconds) / SAMPLES_PER_BATCH;
    let from_ms = to_ms - rounds * SAMPLES_PER_BATCH * 1_000;
    let mut all: Vec<Vec<Offered>> = (0..rounds).map(|_| Vec::new()).collect();
    for node in 0..args.nodes {
        let runs = fleet.runs_until(node, 1_000, to_ms);
        let run = runs.last().copied().context("a node without a history")?;
        let mut frames = NodeFrames::new(&fleet, node, run)?;
        let (epoch, inventory) = (Epoch::begin(), Arc::new(frames.inventory().clone()));
        let name = NodeName::new(&fleet.node_name(node))?;
        for (round, offered) in (0_u64..).zip(&mut all) {
            let first = from_ms + round * SAMPLES_PER_BATCH * 1_000;
            let samples: Vec<_> =
                (0..SAMPLES_PER_BATCH).map(|sample| frames.frame(first + sample * 1_000)).collect();
            let batch = Batch::from_frames(Sequence(round + 1), &samples);
            offered.push(Offered {
                node: name.clone(),
                epoch,
                inventory: Arc::clone(&inventory),
                arrived_ms: first + SAMPLES_PER_BATCH * 1_000,
                wire: batch_to_wire(&batch).encode_to_vec(),
            });
        }
    }
    Ok(all)
}

/// The sum of a family.
fn told(health: &Health, name: &str) -> Result<f64> {
    let families = health.registry().gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.with_context(|| format!("{name} is not there"))?.get_metric();
    Ok(metrics.iter().map(|m| m.get_counter().get_value() + m.get_gauge().get_value()).sum())
}

/// Processor time of the thread with this name.
fn thread_cpu_s(name: &str) -> Result<f64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == name {
            return cpu_s(&path.join("stat").display().to_string());
        }
    }
    anyhow::bail!("there is no thread {name}")
}

/// User and system time of a process or a thread.
fn cpu_s(path: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(path)?;
    let (_, rest) = stat.rsplit_once(") ").context("a name in brackets")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("too short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
