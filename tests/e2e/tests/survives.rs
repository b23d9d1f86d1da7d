//! What must survive: real collectors and agents are killed at random moments, cut off, or given a
//! spool that is torn or too small; afterwards the ledger agrees with what the GPUs really told.
//!
//! Moments are drawn from a seed that is printed; `GPULEDGER_TEST_SEED` repeats a run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::fake::boot_ms;
use gpuledger_e2e::net::{get_ok, wait_for};
use gpuledger_e2e::process::Process;
use gpuledger_e2e::world::{INTERVAL_MS, Node, PATIENCE, World};
use gpuledger_ledger::GpuHour;

const NODES: usize = 8;
const KILLS: usize = 20;

/// xorshift64*: good enough to draw moments, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn new() -> Result<Self> {
        let seed = match std::env::var("GPULEDGER_TEST_SEED") {
            Ok(text) => text.parse().context("GPULEDGER_TEST_SEED is a number")?,
            Err(_) => u64::try_from(boot_ms())? | 1,
        };
        println!("GPULEDGER_TEST_SEED={seed}");
        Ok(Self(seed))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn pause(&mut self, least_ms: u64, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(least_ms + self.below(most_ms - least_ms)));
    }
}

/// Two busy GPUs whose power is never the same for long, on a clock that all processes share.
fn busy() -> String {
    format!(
        "[clock]\nstart_boot_ms = {}\n[[gpu]]\ncount = 2\nenergy_start_mj = 987654321\nstagger_ms = 700\n\
         [[gpu.phase]]\nms = 1300\npower_mw = {{ from = 71001, to = 612007 }}\ngpu_util = 40\n\
         processes = [{{ pid = 1, memory_mib = 900 }}]\n\
         [[gpu.phase]]\nms = 2900\npower_mw = {{ mean = 500003, amplitude = 99991, period_ms = 970 }}\ngpu_util = 98\n\
         processes = [{{ pid = 1, memory_mib = 900 }}]\n\
         [[gpu.phase]]\nms = 1700\npower_mw = 69997\n",
        boot_ms()
    )
}

fn fleet(world: &World) -> Result<Vec<(Node, Process)>> {
    let start = |number: usize| {
        let node = world.node(&format!("n{number}"), &busy())?;
        let agent = node.start()?;
        Ok((node, agent))
    };
    (0..NODES).map(start).collect()
}

/// Ends agents and collector in an orderly way; then every GPU's energy must agree to the millijoule.
fn finish(world: &World, nodes: Vec<(Node, Process)>, collector: Process) -> Result<Vec<Node>> {
    let mut ended = Vec::new();
    for (node, agent) in nodes {
        node.finish(agent)?;
        ended.push(node);
    }
    collector.stop(PATIENCE)?;
    world.verify()?;
    let counted = world.counted()?;
    for node in &ended {
        let truth = node.fake.truth()?;
        ensure!(!truth.is_empty(), "{} has told nothing", node.name);
        for (uuid, told) in truth {
            let counted = counted.get(&uuid).with_context(|| format!("{uuid} is not in the ledger"))?;
            counted.energy_agrees(&uuid, &told)?;
        }
    }
    Ok(ended)
}

#[test]
fn a_collector_killed_twenty_times_counts_every_sample_once() -> Result<()> {
    let mut dice = Dice::new()?;
    let world = World::new()?;
    let mut collector = world.collector()?;
    let nodes = fleet(&world)?;
    for _ in 0..KILLS {
        dice.pause(200, 2_000);
        collector.kill()?;
        dice.pause(1, 300);
        collector = world.collector()?;
    }
    let log = collector.errors();
    let streams = log.matches("stream opened").count();
    println!("{streams} streams were opened");
    ensure!(streams >= NODES + KILLS, "only {streams} streams: the kills met nobody");
    ensure!(!log.contains("is not valid") && !log.contains("batches are missing"), "{log}");
    let nodes = finish(&world, nodes, collector)?;
    let counted = world.counted()?;
    for node in &nodes {
        for (uuid, told) in node.fake.truth()? {
            counted[&uuid].is_whole(&uuid, &told)?;
        }
    }
    Ok(())
}

#[test]
fn agents_killed_again_and_again_lose_no_energy_and_no_time() -> Result<()> {
    let mut dice = Dice::new()?;
    let world = World::new()?;
    let collector = world.collector()?;
    let mut nodes = fleet(&world)?;
    for _ in 0..KILLS {
        dice.pause(50, 900);
        let victim = usize::try_from(dice.below(u64::try_from(NODES)?))?;
        let (node, agent) = nodes.swap_remove(victim);
        agent.kill()?;
        dice.pause(1, 300);
        let agent = node.start()?;
        nodes.push((node, agent));
    }
    finish(&world, nodes, collector)?;
    for (uuid, counted) in world.counted()? {
        // The dead agents' absence was shorter than the longest gap, so it belongs to the next sample.
        let (observed_ms, span_ms) = (counted.observed_ms()?, counted.span_ms());
        ensure!(observed_ms.abs_diff(span_ms) <= 2, "{uuid}: {observed_ms} of {span_ms} ms are observed");
    }
    Ok(())
}

#[test]
fn a_collector_that_is_away_finds_everything_when_it_comes() -> Result<()> {
    let world = World::new()?;
    // Nobody listens yet; one agent is even killed and started again before anybody does.
    let mut nodes = fleet(&world)?;
    std::thread::sleep(Duration::from_secs(3));
    let (node, agent) = nodes.remove(0);
    agent.kill()?;
    let again = node.start()?;
    nodes.push((node, again));
    std::thread::sleep(Duration::from_secs(3));
    let collector = world.collector()?;
    std::thread::sleep(Duration::from_secs(3));
    collector.kill()?;
    std::thread::sleep(Duration::from_secs(3));
    let collector = world.collector()?;
    let killed = nodes.last().context("no nodes")?.0.name.clone();
    for node in finish(&world, nodes, collector)? {
        let counted = world.counted()?;
        for (uuid, told) in node.fake.truth()? {
            let counted = &counted[&uuid];
            ensure!(counted.observed_ms()?.abs_diff(counted.span_ms()) <= 2, "{uuid}: {counted:#?}");
            if node.name != killed {
                counted.is_whole(&uuid, &told)?;
                ensure!(
                    counted.told(&told)?.len() == told.len(),
                    "{uuid}: readings before or after the ledger's"
                );
            }
        }
    }
    Ok(())
}

/// The files of a spool whose names end like this, oldest first.
fn files(node: &Node, end: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(node.spool())?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(end));
    paths.sort();
    Ok(paths)
}

/// Cuts the last bytes off a file, as a power failure may.
fn tear(path: &Path, bytes: u64) -> Result<()> {
    let file = File::options().write(true).open(path).with_context(|| format!("tear {}", path.display()))?;
    let length = file.metadata()?.len();
    ensure!(length > bytes, "{} has only {length} bytes", path.display());
    file.set_len(length - bytes)?;
    Ok(())
}

#[test]
fn a_torn_last_record_costs_its_time_at_most_and_no_energy() -> Result<()> {
    let world = World::new()?;
    let collector = world.collector()?;
    let node = world.node("torn", &busy())?;
    let agent = node.start()?;
    std::thread::sleep(Duration::from_secs(3));
    collector.kill()?;
    std::thread::sleep(Duration::from_secs(3));
    agent.kill()?;
    let segments = files(&node, ".segment")?;
    tear(segments.last().context("the spool has no segment")?, 5)?;
    for journal in files(&node, "journal")? {
        tear(&journal, 3)?;
    }
    let agent = node.start()?;
    std::thread::sleep(Duration::from_secs(2));
    let collector = world.collector()?;
    let log = agent.errors();
    ensure!(log.contains("torn_bytes"), "the agent says nothing of the torn record:\n{log}");
    let nodes = finish(&world, vec![(node, agent)], collector)?;
    let truth = nodes[0].fake.truth()?;
    for (uuid, counted) in world.counted()? {
        let told = counted.told(&truth[&uuid])?.len();
        let samples = usize::try_from(counted.total.samples)?;
        ensure!(samples < told, "{uuid}: nothing was torn off: {samples} of {told} samples");
        // A batch is at most three samples at its edges, the journal as many.
        ensure!(samples + 8 > told, "{uuid}: more is gone than was torn: {samples} of {told} samples");
        ensure!(counted.observed_ms()?.abs_diff(counted.span_ms()) <= 2, "{uuid}: {counted:#?}");
    }
    Ok(())
}

/// Sixty-four GPUs none of whose readings stays the same, so that they fill a spool.
fn restless() -> String {
    let phase = |i: u64| {
        let draw = |salt: u64, limit: u64| (i * 7919 + salt) * 104_729 % 1_299_709 % limit;
        format!(
            "[[gpu.phase]]\nms = {}\npower_mw = {}\ngpu_util = {}\nmemory_util = {}\nmemory_used_mib = {}\n\
             temperature_c = {}\nmemory_temperature_c = {}\nsm_mhz = {}\nmemory_mhz = {}\nclock_reasons = {}\n",
            150 + draw(1, 100),
            70_000 + draw(2, 600_000),
            draw(3, 101),
            draw(4, 101),
            draw(5, 80_000),
            30 + draw(6, 55),
            30 + draw(7, 55),
            300 + draw(8, 1600),
            1500 + draw(9, 1100),
            draw(10, 512),
        )
    };
    let head = format!("[clock]\nstart_boot_ms = {}\n[[gpu]]\ncount = 64\nstagger_ms = 331\n", boot_ms());
    head + &(0..97).map(phase).collect::<String>()
}

#[test]
fn a_full_spool_drops_the_oldest_says_so_and_keeps_the_energy() -> Result<()> {
    let world = World::with("longest_gap = \"1s\"")?;
    let collector = world.collector()?;
    let mut node = world.node("full", &restless())?;
    node.interval_ms = 100;
    let agent = || -> Result<Process> {
        let mut command = node.agent()?;
        Process::start("full", command.arg("--spool-size=1MiB"), world.folder())
    };
    let running = agent()?;
    std::thread::sleep(Duration::from_secs(3));
    collector.kill()?;
    let oldest = || -> Result<u64> {
        let numbers = files(&node, ".segment")?;
        let first = numbers.first().and_then(|path| path.file_stem()).context("no segment")?;
        Ok(first.to_string_lossy().parse()?)
    };
    // What the collector had until then has left the spool already.
    let before = oldest()?;
    let full = wait_for("the spool is full", Duration::from_secs(240), || {
        let number = oldest()?;
        ensure!(number > before + 1, "the oldest segment is {number}");
        Ok(number)
    })?;
    println!("the oldest segment is now {full}");
    let collector = world.collector()?;
    let dropped = wait_for("dropped batches in /metrics", PATIENCE, || {
        let text = get_ok(world.http(), "/metrics")?;
        let line = text.lines().find(|line| line.starts_with("gpuledger_node_spool_dropped_batches_total{"));
        let count: f64 = line.and_then(|line| line.rsplit_once(' ')).context("no such line")?.1.parse()?;
        ensure!(count > 0.0, "none is dropped");
        Ok(count)
    })?;
    println!("{dropped} batches were dropped");
    let log = collector.errors();
    ensure!(log.contains("batches are missing"), "the collector's log does not speak of them:\n{log}");
    finish(&world, vec![(node, running)], collector)?;
    let counted = world.counted()?;
    ensure!(counted.len() == 64, "{} GPUs are in the ledger", counted.len());
    for (uuid, counted) in counted {
        let unmonitored_ms = counted.span_ms() - counted.observed_ms()?;
        // A batch is a second, give or take a sample at its edges.
        let least_ms = dropped * 500.0;
        ensure!(
            f64::from(u32::try_from(unmonitored_ms)?) >= least_ms,
            "{uuid}: {unmonitored_ms} ms: {counted:#?}"
        );
        ensure!(
            counted.total.gap_mj.0 > 0 && counted.total.gap_mj < counted.total.counter_mj,
            "{uuid}: {counted:#?}"
        );
    }
    Ok(())
}

#[test]
fn a_reset_counter_and_a_lost_gpu_give_the_right_energy_and_states() -> Result<()> {
    let world = World::new()?;
    let collector = world.collector()?;
    // GPU 0 is well, GPU 1 is reset, GPU 2 is lost and comes back with a counter that began again.
    let scenario = format!(
        "[clock]\nstart_boot_ms = {}\n[[gpu]]\ncount = 3\nenergy_start_mj = 5000000\n\
         [[gpu.phase]]\nms = 60000\npower_mw = 300000\ngpu_util = 90\n\
         [[fault]]\nkind = \"counter_reset\"\ngpu = 1\nfrom_ms = 5250\n\
         [[fault]]\nkind = \"answer\"\ncode = \"GPU_IS_LOST\"\ngpu = 2\nfrom_ms = 4000\nto_ms = 8000\n\
         [[fault]]\nkind = \"counter_reset\"\ngpu = 2\nfrom_ms = 8000\n",
        boot_ms()
    );
    let node = world.node("sick", &scenario)?;
    let agent = node.start()?;
    std::thread::sleep(Duration::from_secs(12));
    let nodes = finish(&world, vec![(node, agent)], collector)?;

    let counted = world.counted()?;
    let truth = nodes[0].fake.truth()?;
    ensure!(counted.len() == 3 && truth.len() == 3, "three GPUs");
    for (index, (uuid, told)) in truth.iter().enumerate() {
        let GpuHour { down_ms, estimated_mj, active_ms, .. } = counted[uuid].total;
        ensure!(
            counted[uuid].observed_ms()?.abs_diff(counted[uuid].span_ms()) <= 2,
            "{uuid} is always observed"
        );
        match index {
            0 => {
                ensure!(down_ms.0 == 0 && estimated_mj.0 == 0, "GPU 0 is well: {:#?}", counted[uuid]);
                counted[uuid].is_whole(uuid, told)?;
            }
            1 => {
                ensure!(told.last().is_some_and(|told| told.resets == 1), "the reset was seen: {told:?}");
                // What was used between the last reading and the reset: less than an interval at 300 W.
                ensure!((1..=300 * INTERVAL_MS).contains(&estimated_mj.0), "the tail: {:#?}", counted[uuid]);
                ensure!(down_ms.0 == 0, "a reset is no absence: {:#?}", counted[uuid]);
            }
            _ => {
                let off_ms = down_ms.0.abs_diff(4000);
                ensure!(off_ms <= 2 * INTERVAL_MS, "GPU 2 was lost for 4 s: {:#?}", counted[uuid]);
                ensure!(active_ms.0 > 0, "GPU 2 works before and after: {:#?}", counted[uuid]);
            }
        }
    }
    Ok(())
}
