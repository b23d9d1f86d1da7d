//! Counted once, whoever dies: collector and agents, all of them real processes, are killed at random
//! moments; again and again the ledger is compared with the truth, to the millijoule and the
//! millisecond.
//!
//! The agents are the product's own recorder, journal, spool and upload under a simulated sampler
//! whose truth is computed from its model alone. A round is an hour of history. In every round some
//! processes are killed, and what an agent sampled twice because of that comes under two epochs; when
//! all is acknowledged the ledger must hold the truth until then, no more and no less.
//!
//! `GPULEDGER_KILLS` says how many, `GPULEDGER_TEST_SEED` repeats the moments of a run.

use anyhow::{Context as _, Result, bail, ensure};
use gpuledger_collector::store::{self, Access, Location};
use gpuledger_e2e::process::{Process, run};
use gpuledger_e2e::{built, net};
use gpuledger_fleet::model::{Fleet, between, draw};
use gpuledger_fleet::truth::{Agreement, Truth};
use gpuledger_ledger::Ledger;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Kills of a normal run; `GPULEDGER_KILLS` asks for others.
const KILLS: u64 = 30;
const NODES: u32 = 3;
const GPUS_PER_NODE: u32 = 2;
const FLEET_SEED: u64 = 7;
/// Time between two samples of the history.
const STEP_MS: u64 = 10_000;
/// A round of the history, and the real time that each of its samples takes.
const ROUND_MS: u64 = 3_600_000;
const PACE: Duration = Duration::from_millis(1);
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
const DAY_MS: u64 = 86_400_000;
/// The longest time between the start of a round, or a kill in it, and the next kill.
const MOMENT_MS: u64 = 450;
/// The longest time that what was killed stays away.
const AWAY_MS: u64 = 120;
const LIMIT: Duration = Duration::from_secs(120);

/// Numbers of one run, in the order in which they are asked for.
struct Dice {
    seed: u64,
    asked: u64,
}

impl Dice {
    fn new() -> Result<Self> {
        let seed = match std::env::var("GPULEDGER_TEST_SEED") {
            Ok(text) => text.parse().context("GPULEDGER_TEST_SEED is a number")?,
            Err(_) => draw(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?, &[]),
        };
        println!("GPULEDGER_TEST_SEED={seed}");
        Ok(Self { seed, asked: 0 })
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.asked += 1;
        between(0, limit, self.seed, &[self.asked])
    }

    fn pause(&mut self, most_ms: u64) {
        // Microseconds: a commit takes few milliseconds.
        std::thread::sleep(Duration::from_micros(self.below(most_ms * 1_000)));
    }
}

/// Who may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Collector,
    Agent(u32),
}

impl Victim {
    /// Who dies together: mostly one, sometimes two, now and then everything, like a power failure
    /// of the whole room.
    fn drawn(dice: &mut Dice) -> Vec<Self> {
        let agent = Self::Agent(u32::try_from(dice.below(u64::from(NODES))).unwrap_or(0));
        match dice.below(10) {
            0..=3 => vec![Self::Collector],
            4..=6 => vec![agent],
            7 => vec![Self::Collector, agent],
            8 => vec![agent, Self::Collector],
            _ => (0..NODES).map(Self::Agent).chain([Self::Collector]).collect(),
        }
    }
}

/// A collector, its ledger and its fleet.
struct Scene {
    folder: TempDir,
    location: Location,
    port: u16,
    fleet: Fleet,
    days: u32,
    collector: Option<Process>,
    agents: Vec<Option<Process>>,
    kills: u64,
}

impl Scene {
    /// With a history that is long enough for so many rounds.
    fn new(rounds: u64) -> Result<Self> {
        let days = u32::try_from((rounds * ROUND_MS).div_ceil(DAY_MS))?;
        let fleet = Fleet::of_bad_days(END_MS, days, NODES, GPUS_PER_NODE, FLEET_SEED);
        let (folder, port) = (tempfile::tempdir()?, net::free_port()?);
        let location = Location::from(folder.path().join("ledger.db"));
        let text = format!(
            "ledger = \"{location}\"\ngrpc_listen = \"127.0.0.1:{port}\"\nhttp_listen = \"127.0.0.1:0\"\n\
             commit_interval = \"20ms\"\nlongest_gap = \"15s\"\n"
        );
        std::fs::write(folder.path().join("collector.toml"), text)?;
        let agents = (0..NODES).map(|_| None).collect();
        let mut scene = Self { folder, location, port, fleet, days, collector: None, agents, kills: 0 };
        scene.start(Victim::Collector, 0)?;
        Ok(scene)
    }

    /// Open and closed days, read as a report reads them, beside the collector.
    async fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(store::open(&self.location, None, Access::Read).await?.ledger)
    }

    fn start(&mut self, who: Victim, until_ms: u64) -> Result<()> {
        match who {
            Victim::Collector => {
                let mut command = Command::new(built::binary("gpuledger")?);
                command.arg("--config").arg(self.folder.path().join("collector.toml")).arg("serve");
                let mut collector = Process::start("collector", &mut command, self.folder.path())?;
                net::wait_listening(&mut collector, self.port, LIMIT)?;
                self.collector = Some(collector);
            }
            Victim::Agent(node) => {
                let mut command = self.agent(node, until_ms)?;
                let process = Process::start(&format!("agent-{node}"), &mut command, self.folder.path())?;
                self.agents[node as usize] = Some(process);
            }
        }
        Ok(())
    }

    fn agent(&self, node: u32, until_ms: u64) -> Result<Command> {
        let mut command = Command::new(built::binary("simulated-agent")?);
        command.arg("--collector").arg(format!("http://127.0.0.1:{}", self.port));
        command.arg("--folder").arg(self.folder.path().join(format!("node-{node}")));
        let numbers = [
            ("--seed", FLEET_SEED),
            ("--end-ms", END_MS),
            ("--days", u64::from(self.days)),
            ("--nodes", u64::from(NODES)),
            ("--gpus", u64::from(GPUS_PER_NODE)),
            ("--node", u64::from(node)),
            ("--step-ms", STEP_MS),
            ("--until-ms", until_ms),
            ("--pace-us", u64::try_from(PACE.as_micros())?),
        ];
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        Ok(command)
    }

    /// Kills; false where an agent had done its work and ended before. The collector always runs.
    fn kill(&mut self, who: Victim) -> Result<bool> {
        let slot = match who {
            Victim::Collector => &mut self.collector,
            Victim::Agent(node) => &mut self.agents[node as usize],
        };
        let Some(mut process) = slot.take() else { return Ok(false) };
        let pid = i32::try_from(process.pid()).ok().and_then(Pid::from_raw).context("pid")?;
        // Nobody has waited for it, so that the number is still its own.
        kill_process(pid, Signal::KILL)?;
        let status = process.wait(LIMIT)?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            self.kills += 1;
            return Ok(true);
        }
        ensure!(status.success() && who != Victim::Collector, "{who:?}: {status}:\n{}", process.errors());
        Ok(false)
    }

    /// The history until an instant, with at most `most` kills; gives what the ledger then holds.
    async fn round(&mut self, until_ms: u64, most: u64, dice: &mut Dice) -> Result<Agreement> {
        let last = self.kills + most;
        for node in 0..NODES {
            self.start(Victim::Agent(node), until_ms)?;
        }
        for _ in 0..=dice.below(2) {
            dice.pause(MOMENT_MS);
            let mut killed = Vec::new();
            for who in Victim::drawn(dice) {
                if self.kills < last && self.kill(who)? {
                    killed.push(who);
                }
            }
            dice.pause(AWAY_MS);
            for who in killed {
                self.start(who, until_ms)?;
            }
        }
        for agent in self.agents.iter_mut().filter_map(Option::take) {
            finish(agent)?;
        }
        let ledger = self.ledger().await?;
        Ok(Truth::until(&self.fleet, STEP_MS, until_ms).compare(ledger.as_ref()).await?)
    }

    /// Commits so far, over all nodes.
    async fn commits(&self) -> Result<u64> {
        let ledger = self.ledger().await?;
        let mut commits = 0;
        for node in ledger.nodes().await? {
            commits += ledger.state(node.key).await?.version;
        }
        Ok(commits)
    }

    /// Ends the collector in order, and lets the product judge its ledger.
    fn end(&mut self) -> Result<String> {
        let collector = self.collector.take().context("the collector runs")?;
        let errors = collector.errors();
        ensure!(!errors.contains("ERROR"), "the collector logged an error:\n{errors}");
        collector.stop(LIMIT)?;
        let mut verify = Command::new(built::binary("gpuledger")?);
        run(verify.arg("--ledger").arg(self.location.to_string()).arg("verify"))
    }
}

/// Waits until an agent has done its work.
fn finish(mut agent: Process) -> Result<()> {
    let status = agent.wait(LIMIT)?;
    let errors = agent.errors();
    ensure!(status.success() && !errors.contains("ERROR"), "an agent ended with {status}:\n{errors}");
    Ok(())
}

fn kills_asked_for() -> Result<u64> {
    match std::env::var("GPULEDGER_KILLS") {
        Ok(text) => text.parse().context("GPULEDGER_KILLS is a number"),
        Err(_) => Ok(KILLS),
    }
}

#[tokio::test]
async fn collector_and_agents_killed_again_and_again_leave_the_truth_in_the_ledger() -> Result<()> {
    let kills = kills_asked_for()?;
    let mut dice = Dice::new()?;
    let began = Instant::now();
    // Most rounds have several kills, few have none.
    let mut scene = Scene::new(2 * kills)?;
    let mut rounds = 0;
    while scene.kills < kills {
        rounds += 1;
        let until_ms = scene.fleet.from_ms + rounds * ROUND_MS;
        if until_ms > scene.fleet.to_ms {
            bail!("the history is over after {} kills", scene.kills);
        }
        let before = scene.kills;
        let agreement = scene.round(until_ms, kills - before, &mut dice).await;
        let agreement = agreement.with_context(|| format!("round {rounds}, kills from {before} on"))?;
        let seconds = began.elapsed().as_secs();
        println!("after {} kills in {rounds} rounds and {seconds} s: {agreement}", scene.kills);
    }
    let commits = scene.commits().await?;
    println!("{}", scene.end()?);
    println!(
        "{} kills in {:.1} s: the ledger was equal to the truth after each of {rounds} rounds; {commits} commits",
        scene.kills,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
