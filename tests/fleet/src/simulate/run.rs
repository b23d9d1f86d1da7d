//! One run: lets the world go on, breaks what the plan says, heals everything, and checks.

mod breaking;

use super::collector::{self, Collector};
use super::link::Network;
use super::machine::World;
use super::oracle::{self, Oracle, Terms};
use super::place::{Place, PlaceError};
use super::plan::{Fault, Plan};
use super::store::SimStore;
use super::trail::{Told, Trail};
use gpuledger_ledger::Store;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Samples of each agent after all faults have ended.
const STEPS_AFTER: u64 = 6;
/// Virtual time in which everything must arrive then: the longest pause of an agent and the longest
/// silence that it bears many times over.
const DRAIN_WITHIN: Duration = Duration::from_secs(4 * 3_600);

/// Why a run could not be carried out; no promise was broken by that.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Ledger(#[from] gpuledger_ledger::LedgerError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Agent(#[from] super::agent::StartError),
    #[error("cannot set up a collector's counters: {0}")]
    Counters(#[from] prometheus::Error),
    #[error("cannot start a runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// How a run is carried out.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// Where the ledger's files go.
    pub folder: &'a Path,
    pub place: &'a Place,
    /// Whether the ledger's files are copied and torn as well, where it has files.
    pub copies: bool,
    /// Runs the calls to the store.
    pub runtime: Handle,
    pub keep_events: bool,
}

/// Carries out the run of a seed on this thread.
pub fn run(seed: u64, settings: &Settings<'_>) -> Result<Told, RunError> {
    let plan = Plan::of(seed, settings.copies && settings.place.has_files());
    let site = settings.place.open(seed, plan.collectors, settings.folder);
    let site = settings.runtime.block_on(site)?;
    let told = run_on(&site.ledgers, plan, settings);
    // Also where the run failed, which is what is told then.
    let closed = settings.runtime.block_on(site.close());
    let told = told?;
    closed?;
    Ok(told)
}

fn run_on(ledgers: &[Arc<dyn Store>], plan: Plan, settings: &Settings<'_>) -> Result<Told, RunError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build()?;
    let told = runtime.block_on(async {
        let trail = Arc::new(Trail::new(settings.keep_events));
        let oracle = Arc::new(Mutex::new(Oracle::new(Arc::clone(&trail))));
        let (seed, runtime) = (plan.seed, settings.runtime.clone());
        let store = SimStore::on(seed, settings.folder, ledgers, runtime, oracle, Arc::clone(&trail));
        let mut run = Run::begin(plan, Arc::new(store), Arc::clone(&trail))?;
        run.live().await?;
        run.heal().await?;
        run.check().await?;
        Ok(trail.told())
    });
    // Tasks of processes that are dead are dropped with it.
    drop(runtime);
    told
}

/// What is due at an instant, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Fault(Fault),
    /// The end of a fault.
    StartAgent(usize),
    StartCollector(usize),
    FreeDisk(usize),
    EndPartition(usize),
    BreakLeft(usize),
    Sample(usize),
}

pub struct Run {
    plan: Plan,
    trail: Arc<Trail>,
    store: Arc<SimStore>,
    network: Arc<Network>,
    world: World,
    collectors: Vec<Option<Collector>>,
    collector_terms: collector::Terms,
    /// By instant and order of entry.
    due: BTreeMap<(u64, u64), Due>,
    entered: u64,
}

impl Run {
    fn begin(plan: Plan, store: Arc<SimStore>, trail: Arc<Trail>) -> Result<Self, RunError> {
        // A copied folder needs a machine of its own.
        let twins = plan.faults.iter().filter(|(_, fault)| matches!(fault, Fault::Twin { .. })).count();
        let ports = plan.machines.len() + twins;
        let network = Network::new(plan.seed, plan.collectors, ports, plan.delay_ms, Arc::clone(&trail));
        let network = Arc::new(network);
        let (clock, from_ms) = (Arc::clone(&trail), plan.from_ms);
        let collector_terms = collector::Terms {
            commit_interval: Duration::from_millis(plan.commit_interval_ms),
            longest_gap_ms: plan.longest_gap_ms(),
            clock: Arc::new(move || from_ms + clock.now_ms()),
        };
        let world = World::new(&plan, Arc::clone(&trail));
        let mut run = Self {
            collectors: (0..plan.collectors).map(|_| None).collect(),
            plan,
            trail,
            store,
            network,
            world,
            collector_terms,
            due: BTreeMap::new(),
            entered: 0,
        };
        for collector in 0..run.collectors.len() {
            run.start_collector(collector)?;
        }
        for machine in 0..run.world.machines.len() {
            run.start_agent(machine)?;
            // Machines sample at different moments.
            run.enter(machine as u64 * 137, Due::Sample(machine));
        }
        for (at_ms, fault) in run.plan.faults.clone() {
            run.enter(at_ms, Due::Fault(fault));
        }
        Ok(run)
    }

    fn enter(&mut self, at_ms: u64, due: Due) {
        self.entered += 1;
        self.due.insert((at_ms, self.entered), due);
    }

    /// Goes through everything that is due until the faults end.
    async fn live(&mut self) -> Result<(), RunError> {
        self.until(self.plan.end_ms()).await
    }

    async fn until(&mut self, end_ms: u64) -> Result<(), RunError> {
        while let Some(entry) = self.due.first_entry() {
            let (at_ms, _) = *entry.key();
            if at_ms >= end_ms {
                break;
            }
            let due = entry.remove();
            let left_ms = at_ms.saturating_sub(self.trail.now_ms());
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
            self.happens(due).await?;
            if let Some(for_ms) = self.store.power_lost() {
                self.kill_collectors(for_ms);
            }
        }
        Ok(())
    }

    async fn happens(&mut self, due: Due) -> Result<(), RunError> {
        let now_ms = self.trail.now_ms();
        match due {
            Due::Fault(fault) => {
                self.trail.note(format_args!("{fault:?}"));
                self.breaks(fault, now_ms).await?;
            }
            Due::StartAgent(machine) => self.start_agent(machine)?,
            Due::StartCollector(collector) => self.start_collector(collector)?,
            Due::FreeDisk(machine) => self.world.free_disk(machine),
            Due::EndPartition(machine) => self.network.set_partitioned(machine, false),
            Due::BreakLeft(machine) => self.network.break_left(machine),
            Due::Sample(machine) => {
                if let Some(sample) = self.world.sample(machine, now_ms) {
                    self.store.oracle().recorded(sample);
                }
                self.enter(now_ms + self.plan.step_ms, Due::Sample(machine));
            }
        }
        Ok(())
    }

    fn start_collector(&mut self, collector: usize) -> Result<(), RunError> {
        if self.collectors[collector].is_none() {
            let (store, terms) = (&self.store, &self.collector_terms);
            let started = Collector::start(collector, store, &self.network, terms, &self.trail)?;
            self.collectors[collector] = Some(started);
        }
        Ok(())
    }

    fn start_agent(&mut self, machine: usize) -> Result<(), RunError> {
        if !self.world.start_agent(machine, self.trail.now_ms(), &self.network)? {
            // The disk takes nothing at all: systemd tries again.
            self.enter(self.trail.now_ms() + self.plan.step_ms, Due::StartAgent(machine));
        }
        Ok(())
    }

    /// Everything is mended, and everything that was taken must arrive.
    async fn heal(&mut self) -> Result<(), RunError> {
        self.trail.note(format_args!("everything is mended"));
        self.store.disarm();
        let machines: Vec<usize> = (0..self.world.machines.len()).collect();
        for &machine in &machines {
            self.network.set_partitioned(machine, false);
            self.network.break_left(machine);
            self.network.cut_after(machine, u64::MAX, true);
            self.network.cut_after(machine, u64::MAX, false);
            self.world.free_disk(machine);
        }
        self.due.retain(|_, due| matches!(due, Due::Sample(_)));
        for collector in 0..self.collectors.len() {
            self.start_collector(collector)?;
        }
        for &machine in &machines {
            if self.world.machines[machine].disk_is_dying {
                self.kill_agent(machine, 0).await;
            }
            if self.world.machines[machine].agent.is_none() {
                self.start_agent(machine)?;
            }
        }
        self.until(self.trail.now_ms() + STEPS_AFTER * self.plan.step_ms).await?;
        // Machines with the same name take the stream from each other: the copies go first.
        for &machine in machines.iter().rev() {
            self.drain(machine).await;
        }
        Ok(())
    }

    async fn drain(&mut self, machine: usize) {
        let Some(mut agent) = self.world.machines[machine].agent.take() else {
            self.trail.violated(format!("machine {machine} has no agent at the end"));
            return;
        };
        if !agent.flush() {
            self.trail.violated(format!("machine {machine} cannot write to its disk at the end"));
        }
        if timeout(DRAIN_WITHIN, agent.drained()).await.is_err() {
            let waiting = agent.waiting_batches();
            self.trail.violated(format!("{waiting} batches of machine {machine} are not taken"));
        }
        self.store.oracle().dropped(machine, agent.dropped_batches());
        agent.stop().await;
    }

    async fn check(&mut self) -> Result<(), RunError> {
        for collector in &mut self.collectors {
            if let Some(running) = collector.take() {
                running.drain(&self.network).await;
            }
        }
        let terms = Terms { longest_gap_ms: self.plan.longest_gap_ms(), from_ms: self.plan.from_ms };
        let Some(ledger) = self.store.ledger() else { return Ok(()) };
        let oracle = self.store.oracle();
        oracle.check_samples();
        self.trail.count("samples in the ledger", oracle.delivered_samples() as u64);
        if let Some(found) = self.store.wait(async move { oracle::read(ledger).await }) {
            oracle::compare(&oracle, found?, terms, &self.trail);
        }
        Ok(())
    }
}
