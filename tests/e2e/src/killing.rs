//! Collectors, agents and, where the ledger is there, PostgreSQL, as real processes that are killed at
//! drawn moments, and their ledger compared with the truth.
//!
//! The agents are the product's own recorder, journal, spool and upload under a simulated sampler
//! (`simulated-agent`), whose truth is computed from its model alone. A round is an hour of history.
//! In every round some processes are killed and started again; an agent that dies samples a little
//! once more, under another epoch, and may find another collector. When everything is acknowledged,
//! the ledger must hold the truth until then, no more and no less.
//!
//! The history is long over, so that its days are closed into files all the while.

use crate::days::files_below;
use crate::process::{Process, run};
use crate::{built, net};
use anyhow::{Context as _, Result, ensure};
use gpuledger_collector::store::{self, Access, Location, Opened};
use gpuledger_fleet::model::{Fleet, between, draw};
use gpuledger_fleet::truth::{Agreement, Truth};
use gpuledger_ledger::FileStatus;
use gpuledger_real_postgres::Server;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

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
/// The longest time between the start of a round, or of what was killed, and the next kill.
const MOMENT_MS: u64 = 450;
/// The longest time that what was killed stays away.
const AWAY_MS: u64 = 120;
const LIMIT: Duration = Duration::from_secs(120);

/// Numbers of one run, in the order in which they are asked for.
pub struct Dice {
    seed: u64,
    asked: u64,
}

impl Dice {
    /// Prints its seed; `GPULEDGER_TEST_SEED` repeats the numbers of a run.
    pub fn new() -> Result<Self> {
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

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T> {
        let at = usize::try_from(self.below(all.len() as u64))?;
        all.get(at).copied().context("there is nothing to choose from")
    }

    fn pause(&mut self, most_ms: u64) {
        // In microseconds: a commit takes few milliseconds.
        std::thread::sleep(Duration::from_micros(self.below(most_ms * 1_000)));
    }
}

/// Who may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Postgres,
    Collector(usize),
    Agent(usize),
}

/// A ledger with everything that writes to it.
pub struct Scene {
    folder: TempDir,
    /// The ledger, as configuration and commands name it.
    address: String,
    /// Where it is, if not in a file.
    postgres: Option<Server>,
    /// The collectors' ports for agents.
    ports: Vec<u16>,
    collectors: Vec<Option<Process>>,
    agents: Vec<Option<Process>>,
    fleet: Fleet,
    days: u32,
    /// How far the history is.
    until_ms: u64,
    kills: u64,
}

impl Scene {
    /// One collector on a file, with a history of so many rounds.
    pub fn on_a_file(rounds: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = folder.path().join("ledger.db").display().to_string();
        Self::with(folder, address, None, 1, rounds)
    }

    /// Two collectors on one database.
    pub fn on(postgres: Server, rounds: u64) -> Result<Self> {
        let address = postgres.fresh()?;
        Self::with(tempfile::tempdir()?, address, Some(postgres), 2, rounds)
    }

    fn with(
        folder: TempDir,
        address: String,
        postgres: Option<Server>,
        collectors: usize,
        rounds: u64,
    ) -> Result<Self> {
        let days = u32::try_from((rounds * ROUND_MS).div_ceil(DAY_MS))?;
        let fleet = Fleet::of_bad_days(END_MS, days, NODES, GPUS_PER_NODE, FLEET_SEED);
        let until_ms = fleet.from_ms;
        let ports = (0..collectors).map(|_| net::free_port()).collect::<Result<_>>()?;
        let agents = (0..NODES).map(|_| None).collect();
        let collectors = (0..collectors).map(|_| None).collect();
        let kills = 0;
        let mut scene =
            Self { folder, address, postgres, ports, collectors, agents, fleet, days, until_ms, kills };
        for collector in 0..scene.collectors.len() {
            scene.start_collector(collector)?;
        }
        Ok(scene)
    }

    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// The next hour of the history, with at most `most` kills; gives what the ledger then holds.
    pub async fn round(&mut self, most: u64, dice: &mut Dice) -> Result<Agreement> {
        self.until_ms += ROUND_MS;
        ensure!(self.until_ms <= self.fleet.to_ms, "the history is over");
        let last = self.kills + most;
        for agent in 0..self.agents.len() {
            self.start_agent(agent, dice)?;
        }
        for _ in 0..=dice.below(2) {
            dice.pause(MOMENT_MS);
            let mut killed = Vec::new();
            for who in self.victims(dice)? {
                if self.kills < last && self.kill(who)? {
                    killed.push(who);
                }
            }
            dice.pause(AWAY_MS);
            for who in killed {
                self.start(who, dice)?;
            }
        }
        for agent in self.agents.iter_mut().filter_map(Option::take) {
            finish(agent)?;
        }
        let truth = Truth::until(&self.fleet, STEP_MS, self.until_ms);
        Ok(truth.compare(self.open().await?.ledger.as_ref()).await?)
    }

    /// What was written so far: commits of all nodes, and files of closed days in all their versions.
    pub async fn written(&self) -> Result<(u64, u64)> {
        let Opened { store, .. } = self.open().await?;
        let mut commits = 0;
        for node in store.nodes().await? {
            commits += store.state(node.key).await?.version;
        }
        let files = store.files().await?.into_iter().filter(|file| file.status == FileStatus::Current);
        Ok((commits, files.map(|file| u64::from(file.version)).sum()))
    }

    /// Ends the collectors in order, lets the product clear up what kills left of closed days, and judge
    /// its ledger.
    pub async fn end(&mut self) -> Result<String> {
        for collector in self.collectors.iter_mut().filter_map(Option::take) {
            let errors = collector.errors();
            ensure!(!errors.contains("panicked"), "a collector failed:\n{errors}");
            // Of a database that dies a collector does speak.
            let quiet = self.postgres.is_some() || !errors.contains("ERROR");
            ensure!(quiet, "a collector logged an error:\n{errors}");
            collector.stop(LIMIT)?;
        }
        let tool = |words: &[&str]| -> Result<String> {
            let mut command = Command::new(built::binary("gpuledger")?);
            run(command.arg("--ledger").arg(&self.address).args(words))
        };
        let cleared = tool(&["gc", "--grace", "0s"])?;
        let files = self.open().await?.store.files().await?;
        let current = files.iter().filter(|file| file.status == FileStatus::Current).count();
        let there = files_below(&self.days())?.len();
        ensure!(there == current, "{there} files are left of {current} closed days:\n{cleared}");
        Ok(cleared.lines().last().unwrap_or_default().to_owned() + "\n" + &tool(&["verify"])?)
    }

    /// Where closed days go.
    fn days(&self) -> PathBuf {
        self.folder.path().join("days")
    }

    /// The ledger as a report opens it, beside the collectors.
    async fn open(&self) -> Result<Opened> {
        let location: Location = self.address.parse()?;
        Ok(store::open(&location, None, Access::Read).await?)
    }

    /// Who dies together: mostly one, sometimes two, now and then everything, as in a power failure.
    fn victims(&self, dice: &mut Dice) -> Result<Vec<Victim>> {
        let collectors: Vec<_> = (0..self.collectors.len()).map(Victim::Collector).collect();
        let agents: Vec<_> = (0..self.agents.len()).map(Victim::Agent).collect();
        let (collector, agent) = (dice.one_of(&collectors)?, dice.one_of(&agents)?);
        Ok(match dice.below(10) {
            0..=1 if self.postgres.is_some() => vec![Victim::Postgres],
            0..=3 => vec![collector],
            4..=6 => vec![agent],
            7 => vec![collector, agent],
            8 => vec![agent, collector],
            _ => {
                let postgres = self.postgres.is_some().then_some(Victim::Postgres);
                postgres.into_iter().chain(collectors).chain(agents).collect()
            }
        })
    }

    fn start(&mut self, who: Victim, dice: &mut Dice) -> Result<()> {
        match who {
            Victim::Postgres => self.postgres.as_mut().context("a database")?.start_again(),
            Victim::Collector(collector) => self.start_collector(collector),
            Victim::Agent(agent) => self.start_agent(agent, dice),
        }
    }

    fn start_collector(&mut self, collector: usize) -> Result<()> {
        let (name, port) = (format!("collector-{collector}"), self.ports[collector]);
        let config = self.folder.path().join(&name).with_extension("toml");
        let text = format!(
            "ledger = \"{}\"\ninsecure = true\ngrpc_listen = \"127.0.0.1:{port}\"\nhttp_listen = \"127.0.0.1:0\"\n\
             commit_interval = \"20ms\"\nlongest_gap = \"15s\"\n\
             [archive]\nlocation = \"{}\"\nevery = \"1s\"\n",
            self.address,
            self.days().display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(built::binary("gpuledger")?);
        command.arg("--config").arg(config).arg("serve");
        let mut process = Process::start(&name, &mut command, self.folder.path())?;
        net::wait_listening(&mut process, port, LIMIT)?;
        self.collectors[collector] = Some(process);
        Ok(())
    }

    /// Starts an agent, with any of the collectors.
    fn start_agent(&mut self, agent: usize, dice: &mut Dice) -> Result<()> {
        let name = format!("agent-{agent}");
        let mut command = Command::new(built::binary("simulated-agent")?);
        command.arg("--collector").arg(format!("http://127.0.0.1:{}", dice.one_of(&self.ports)?));
        command.arg("--folder").arg(self.folder.path().join(&name));
        let numbers = [
            ("--seed", FLEET_SEED),
            ("--end-ms", END_MS),
            ("--days", u64::from(self.days)),
            ("--nodes", u64::from(NODES)),
            ("--gpus", u64::from(GPUS_PER_NODE)),
            ("--node", agent as u64),
            ("--step-ms", STEP_MS),
            ("--until-ms", self.until_ms),
            ("--pace-us", u64::try_from(PACE.as_micros())?),
        ];
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        self.agents[agent] = Some(Process::start(&name, &mut command, self.folder.path())?);
        Ok(())
    }

    /// Kills; false where an agent had done its work and ended before. Everything else always runs.
    fn kill(&mut self, who: Victim) -> Result<bool> {
        let slot = match who {
            Victim::Postgres => {
                self.postgres.as_mut().context("a database")?.kill()?;
                self.kills += 1;
                return Ok(true);
            }
            Victim::Collector(collector) => &mut self.collectors[collector],
            Victim::Agent(agent) => &mut self.agents[agent],
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
        let done = status.success() && matches!(who, Victim::Agent(_));
        ensure!(done, "{who:?} ended by itself with {status}:\n{}", process.errors());
        Ok(false)
    }
}

/// Waits until an agent has done its work.
fn finish(mut agent: Process) -> Result<()> {
    let status = agent.wait(LIMIT)?;
    let errors = agent.errors();
    ensure!(status.success() && !errors.contains("ERROR"), "an agent ended with {status}:\n{errors}");
    Ok(())
}
