//! Whole series in real receivers: every sample arrives once, whatever is killed meanwhile.
//!
//! Agents read simulated GPUs, which note every reading of their energy counter. What the receiver has
//! in the end is compared with that, reading by reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gpuledger_collector::export::remote_write::names;
use gpuledger_e2e::net;
use gpuledger_e2e::process::Process;
use gpuledger_e2e::receiver::{Kind, Receiver, Samples};
use gpuledger_e2e::world::{Node, PATIENCE, World};

const ENERGY: &str = "gpuledger_gpu_hardware_energy_joules_total";
/// Two GPUs at work.
const GPUS: &str = "[[gpu]]\ncount = 2\n[[gpu.phase]]\nms = 600000\n\
                    power_mw = { mean = 500000, amplitude = 60000, period_ms = 3000 }\ngpu_util = 90\n";
const INTERVAL_MS: u64 = 100;
/// Time between two mishaps.
const A_WHILE: Duration = Duration::from_millis(1_500);

struct Scene {
    world: World,
    node: Node,
    receiver: Receiver,
}

impl Scene {
    fn new(kind: Kind, settings: &str) -> Result<Option<Self>> {
        let Some(receiver) = Receiver::start(kind)? else { return Ok(None) };
        let section =
            format!("[remote_write]\nurl = \"{}\"\nresolution = \"0s\"\n{settings}", receiver.url());
        let world = World::with(&section)?;
        let mut node = world.node("n1", GPUS)?;
        node.interval_ms = INTERVAL_MS;
        Ok(Some(Self { world, node, receiver }))
    }

    /// A number that the collector tells of itself.
    fn told(&self, name: &str) -> Result<f64> {
        let exposition = net::get_ok(self.world.http(), "/metrics")?;
        let line = exposition.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("{name} is not there"))?.parse()?)
    }

    /// Waits until the receiver has everything that the ledger has.
    fn drained(&self) -> Result<()> {
        net::wait_for("an empty queue", PATIENCE, || {
            let waiting = self.told("gpuledger_remote_write_queue_bytes")?;
            ensure!(waiting < 0.5, "{waiting} bytes wait");
            Ok(())
        })
    }

    /// What the receiver has of each GPU is what the GPU told, reading by reading.
    fn everything_arrived_once(&self) -> Result<()> {
        let (told, counted) = (self.node.fake.truth()?, self.world.counted()?);
        let arrived: BTreeMap<String, Samples> = self.receiver.samples(ENERGY, "uuid")?;
        ensure!(arrived.len() == 2, "series of {:?}", arrived.keys());
        for (uuid, samples) in &arrived {
            let told = counted.get(uuid).context("the ledger has it")?.told(&told[uuid])?;
            #[allow(clippy::cast_precision_loss, reason = "as it is sent")]
            let expected: Vec<f64> = told.iter().map(|told| told.counter_mj as f64 / 1_000.0).collect();
            let values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
            ensure!(values == expected, "{uuid}: {} samples of {}: {values:?}", values.len(), expected.len());
            ensure!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0), "{uuid}: a time is there twice");
            ensure!(samples.len() > 40, "{uuid}: {} samples are no test", samples.len());
        }
        Ok(())
    }

    fn finish(self, agent: Process, collector: Process) -> Result<()> {
        self.node.finish(agent)?;
        self.drained()?;
        for reason in ["refused", "not_written", "ahead"] {
            let lost = self.told(&format!("gpuledger_remote_write_dropped_total{{reason=\"{reason}\"}}"))?;
            ensure!(lost < 0.5, "{lost} samples were dropped: {reason}\n{}", collector.errors());
        }
        collector.stop(PATIENCE)?;
        // VictoriaMetrics shows what it has taken a moment later.
        net::wait_for("every sample", PATIENCE, || self.everything_arrived_once())
    }
}

/// The receiver and the collector break while samples flow.
fn survives(kind: Kind, settings: &str) -> Result<()> {
    let Some(mut scene) = Scene::new(kind, settings)? else { return Ok(()) };
    let collector = scene.world.collector()?;
    let agent = scene.node.start()?;
    std::thread::sleep(A_WHILE);
    scene.receiver.break_off()?;
    std::thread::sleep(A_WHILE);
    // Killed while its queue waits.
    collector.kill()?;
    let collector = scene.world.collector()?;
    std::thread::sleep(A_WHILE);
    scene.receiver.begin()?;
    std::thread::sleep(A_WHILE);
    // Killed while a request is on its way.
    scene.receiver.freeze(true)?;
    std::thread::sleep(A_WHILE);
    collector.kill()?;
    scene.receiver.freeze(false)?;
    let collector = scene.world.collector()?;
    std::thread::sleep(A_WHILE);
    scene.finish(agent, collector)
}

#[test]
fn prometheus_2_has_every_sample_once_by_1_0() -> Result<()> {
    survives(Kind::Prometheus2, "")
}

#[test]
fn prometheus_3_has_every_sample_once_by_2_0() -> Result<()> {
    survives(Kind::Prometheus3, "protocol = \"2.0\"")
}

#[test]
fn prometheus_3_has_every_sample_once_by_1_0() -> Result<()> {
    survives(Kind::Prometheus3, "protocol = \"1.0\"")
}

#[test]
fn victoria_metrics_has_every_sample_once() -> Result<()> {
    survives(Kind::VictoriaMetrics, "")
}

/// The series of an exposition that remote write can send, with their labels sorted.
fn exposed(exposition: &str) -> BTreeSet<String> {
    let sample = |line: &str| -> Option<String> {
        let (series, _) = line.rsplit_once(' ')?;
        let (name, labels) = series.strip_suffix('}')?.split_once('{')?;
        let mut labels: Vec<&str> = labels.split_inclusive("\",").map(|l| l.trim_end_matches(',')).collect();
        labels.sort_unstable();
        names().any(|sent| sent == name).then(|| format!("{name}{{{}}}", labels.join(",")))
    };
    exposition.lines().filter_map(sample).collect()
}

#[test]
fn the_series_are_those_of_metrics_under_the_same_labels() -> Result<()> {
    let Some(scene) = Scene::new(Kind::Prometheus3, "")? else { return Ok(()) };
    let collector = scene.world.collector()?;
    let agent = scene.node.start()?;
    net::wait_for("the same series", PATIENCE, || {
        let exposition = net::get_ok(scene.world.http(), "/metrics")?;
        let (shown, sent) = (exposed(&exposition), scene.receiver.live()?);
        ensure!(shown.iter().any(|series| series.starts_with(ENERGY)), "nothing is shown yet");
        let differ: Vec<_> = shown.symmetric_difference(&sent).collect();
        ensure!(differ.is_empty(), "on one side only: {differ:#?}");
        Ok(())
    })?;
    drop(agent);
    collector.stop(PATIENCE)
}

#[test]
fn a_version_that_a_receiver_does_not_speak_is_found_out_and_told() -> Result<()> {
    for (kind, falls_back) in [(Kind::Prometheus2, true), (Kind::Prometheus3, false)] {
        let Some(scene) = Scene::new(kind, "families = \"gpuledger_gpu_up\"")? else { continue };
        let collector = scene.world.collector()?;
        let agent = scene.node.start()?;
        net::wait_for("a sample", PATIENCE, || {
            ensure!(scene.told("gpuledger_remote_write_samples_total")? > 0.5, "none");
            Ok(())
        })?;
        let told = collector.errors().contains("protocol=\"1.0\"");
        ensure!(told == falls_back, "{kind:?}:\n{}", collector.errors());
        drop(agent);
        collector.stop(PATIENCE)?;
        ensure!(!scene.receiver.samples("gpuledger_gpu_up", "uuid")?.is_empty());
        ensure!(scene.receiver.samples(ENERGY, "uuid")?.is_empty(), "a family that nobody asked for");
    }
    Ok(())
}
