//! What must survive: real collectors and agents are killed at random moments, cut off, or given a
//! spool that is torn or too small; afterwards the ledger agrees with what the GPUs really told.
//!
//! Moments are drawn from a seed that is printed; `GPULEDGER_TEST_SEED` repeats a run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::fake::boot_ms;
use gpuledger_e2e::process::Process;
use gpuledger_e2e::world::{Node, PATIENCE, World};

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
    let nodes = finish(&world, nodes, collector)?;
    let counted = world.counted()?;
    for node in &nodes {
        for (uuid, told) in node.fake.truth()? {
            counted[&uuid].is_whole(&uuid, &told)?;
        }
    }
    Ok(())
}
