//! One run from an empty ledger to the verdict.

use super::agent::{Agent, Begin, Plan, Sent};
use super::built;
use super::certificates::Certificates;
use super::collector::Collector;
use super::ledger::RunLedger;
use super::links::Links;
use super::progress::Progress;
use super::report::{Measured, Report};
use super::trial::{Overseer, Trial};
use super::usage;
use super::verdict::Verdict;
use super::view::{Traffic, Views};
use crate::clock;
use crate::simulate::Place;
use anyhow::{Context as _, ensure};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Agents that connect at the same time at first: a fleet does not come up in one instant.
const CONNECTING_MAX: usize = 128;
/// Time for an agent to connect, and for all of them to be known, on a machine that is busy.
const CONNECT_WITHIN: Duration = Duration::from_secs(300);
/// Without any acknowledgement for so long, what waits is given up. Longer than any pause of an agent.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub nodes: u32,
    pub gpus: u32,
    pub seconds: u32,
    pub insecure: bool,
    pub place: Place,
    pub trial: Trial,
}

/// Runs it in an empty folder.
pub async fn run(wanted: &Wanted, folder: &Path) -> anyhow::Result<Report> {
    let links = Arc::new(Links::plan(wanted.nodes, wanted.insecure)?);
    let binary = built::collector()?;
    let ledger = RunLedger::create(&wanted.place, folder).await?;
    let ran = tokio::select! {
        biased;
        ran = on_ledger(wanted, folder, binary, &links, &ledger) => ran,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let removed = ledger.remove().await;
    let report = ran?;
    removed?;
    Ok(report)
}

async fn on_ledger(
    wanted: &Wanted,
    folder: &Path,
    binary: std::path::PathBuf,
    links: &Arc<Links>,
    ledger: &RunLedger,
) -> anyhow::Result<Report> {
    let certificates = (!wanted.insecure)
        .then(|| Certificates::create(folder, Collector::ADDRESS))
        .transpose()?
        .map(Arc::new);
    let tls = certificates.as_ref().map_or_else(|| "insecure = true\n".to_owned(), |all| all.setting());
    let settings = ledger.setting()? + &tls;
    let mut collector = Collector::start(binary, folder, &settings).await?;
    let plan = Arc::new(Plan {
        nodes: wanted.nodes,
        gpus: wanted.gpus,
        samples: u64::from(wanted.seconds),
        planned_ms: clock::now_ms(),
    });
    let fleet = Fleet::new(Arc::clone(&plan), Arc::clone(links), collector.grpc(), certificates);
    let mut agents = fleet.start();
    fleet.connected(&mut agents, &mut collector).await?;

    let connect_cpu = collector.cpu()?;
    let before = Marks::now(&collector, ledger, &fleet.views).await?;
    let begin = fleet.begin();
    let overseer =
        Overseer { collector: &mut collector, ledger, views: &fleet.views, given_up: fleet.given_up.clone() };
    let finished = CancellationToken::new();
    let (sent, outcome) = tokio::try_join!(
        async {
            // However it ends.
            let _finished = finished.clone().drop_guard();
            fleet.finished(agents).await
        },
        overseer.watch(wanted.trial, begin, finished.clone()),
    )?;
    let after = Marks::now(&collector, ledger, &fleet.views).await?;
    let resident = collector.resident()?;
    fleet.stop().await?;
    collector.stop().await?;
    let verdict = Verdict::of(&sent, &ledger.location()?).await?;
    Ok(Report::new(
        wanted,
        &plan,
        Measured {
            connections: links.connections(wanted.nodes),
            connect_cpu,
            collector_cpu: after.collector.saturating_sub(before.collector),
            generator_cpu: after.generator.saturating_sub(before.generator),
            store_cpu: after.store.zip(before.store).map(|(after, before)| after.saturating_sub(before)),
            traffic: Traffic {
                batches: after.traffic.batches - before.traffic.batches,
                bytes: after.traffic.bytes - before.traffic.bytes,
            },
            resident,
            sent,
            verdict,
            outcome,
        },
    ))
}

/// What had been used and sent at one moment.
struct Marks {
    collector: Duration,
    generator: Duration,
    store: Option<Duration>,
    traffic: Traffic,
}

impl Marks {
    async fn now(collector: &Collector, ledger: &RunLedger, views: &Views) -> anyhow::Result<Self> {
        Ok(Self {
            collector: collector.cpu()?,
            generator: usage::own_cpu().context("cannot read what the generator has used")?,
            store: ledger.server_cpu().await,
            traffic: views.on_the_wire(),
        })
    }
}

type Agents = JoinSet<anyhow::Result<Sent>>;
type Uplinks = JoinSet<anyhow::Result<()>>;

/// All agents and their uplinks.
struct Fleet {
    plan: Arc<Plan>,
    links: Arc<Links>,
    endpoint: String,
    /// `None` in plain text.
    certificates: Option<Arc<Certificates>>,
    views: Views,
    gate: Arc<Semaphore>,
    /// How many agents are known to the collector.
    known: watch::Sender<u32>,
    begin: watch::Sender<Option<Begin>>,
    /// Nothing is acknowledged any more: whoever waits ends.
    given_up: CancellationToken,
    cancel: CancellationToken,
    uplinks: Arc<tokio::sync::Mutex<Uplinks>>,
}

impl Fleet {
    fn new(
        plan: Arc<Plan>,
        links: Arc<Links>,
        collector: SocketAddr,
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{collector}");
        let views = Views::new(plan.nodes);
        Self {
            plan,
            links,
            endpoint,
            certificates,
            views,
            gate: Arc::new(Semaphore::new(CONNECTING_MAX)),
            known: watch::Sender::new(0),
            begin: watch::Sender::new(None),
            given_up: CancellationToken::new(),
            cancel: CancellationToken::new(),
            uplinks: Arc::default(),
        }
    }

    fn start(&self) -> Agents {
        (0..self.plan.nodes).map(|node| self.agent(node)).collect()
    }

    /// One agent's life, up to what it has sent.
    fn agent(&self, node: u32) -> impl Future<Output = anyhow::Result<Sent>> + Send + 'static {
        let (plan, links, endpoint) =
            (Arc::clone(&self.plan), Arc::clone(&self.links), self.endpoint.clone());
        let (gate, known, mut begin) = (Arc::clone(&self.gate), self.known.clone(), self.begin.subscribe());
        let certificates = self.certificates.clone();
        let (given_up, cancel) = (self.given_up.clone(), self.cancel.clone());
        let (view, uplinks) = (self.views.of(node), Arc::clone(&self.uplinks));
        async move {
            let permit = gate.acquire_owned().await?;
            let mut agent = Agent::open(plan, node, Arc::clone(&view))?;
            let credentials = certificates.map(|all| all.of_node(node)).transpose()?;
            let uplink = agent.uplink(&endpoint, credentials)?;
            let upload = links.upload(node, uplink, Arc::clone(&view), cancel);
            uplinks.lock().await.spawn(async move { Ok(upload.await?) });
            while !view.events.read().connected {
                sleep(LOOK).await;
            }
            drop(permit);
            agent.introduce().await?;
            known.send_modify(|known| *known += 1);
            let begin = *begin.wait_for(Option::is_some).await?;
            let begin = begin.context("the run has no beginning")?;
            agent.run(begin, given_up.cancelled_owned()).await
        }
    }

    /// Returns when the collector knows every agent.
    async fn connected(&self, agents: &mut Agents, collector: &mut Collector) -> anyhow::Result<()> {
        let progress = Progress::new("agents are connected", u64::from(self.plan.nodes));
        let until = Instant::now() + CONNECT_WITHIN;
        loop {
            collector.must_run()?;
            if let Some(ended) = agents.try_join_next() {
                ended??;
            }
            let known = *self.known.borrow();
            progress.show(u64::from(known));
            if known == self.plan.nodes {
                return Ok(());
            }
            let connected = self.views.connected();
            let nodes = self.plan.nodes;
            ensure!(
                Instant::now() < until,
                "after {CONNECT_WITHIN:?} {connected} of {nodes} agents are connected and {known} have been acknowledged"
            );
            sleep(LOOK).await;
        }
    }

    fn begin(&self) -> Instant {
        let begin = Begin { at: Instant::now(), wall_ms: clock::now_ms() };
        self.begin.send_replace(Some(begin));
        begin.at
    }

    /// What all have sent, when everything is acknowledged, or nothing has been for too long.
    async fn finished(&self, mut agents: Agents) -> anyhow::Result<Vec<Sent>> {
        let all = self.plan.batches() * u64::from(self.plan.nodes);
        let progress = Progress::new("batches are acknowledged", all);
        let mut last = (0, Instant::now());
        let mut sent = Vec::with_capacity(agents.len());
        let mut look = tokio::time::interval(LOOK * 10);
        loop {
            tokio::select! {
                biased;
                ended = agents.join_next() => match ended {
                    Some(ended) => sent.push(ended??),
                    None => return Ok(sent),
                },
                _ = look.tick() => {
                    let acknowledged = self.views.acknowledged();
                    progress.show(acknowledged);
                    if acknowledged > last.0 {
                        last = (acknowledged, Instant::now());
                    } else if last.1.elapsed() > GIVE_UP_AFTER {
                        self.given_up.cancel();
                    }
                }
            }
        }
    }

    /// Ends the uplinks.
    async fn stop(self) -> anyhow::Result<()> {
        self.cancel.cancel();
        let mut uplinks = self.uplinks.lock().await;
        while let Some(ended) = uplinks.join_next().await {
            ended??;
        }
        Ok(())
    }
}
