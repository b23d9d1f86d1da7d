//! The daemon: build → run → drain.
//!
//! Everything that can be wrong (ledger, ports) is found before the first agent is served. On
//! SIGTERM or SIGINT nothing more is read, what was folded is committed and acknowledged, and the
//! ledger is closed; what could not be committed is still in the agents' spools. A day that is being
//! closed then stays as it is: the next run closes it.

mod archive;
mod serve;
mod size;
mod watched;

use crate::config::Config;
use crate::costing::MonthCosts;
use crate::export::archive::KeeperView;
use crate::export::cost::CostsView;
use crate::export::remote_write::{RemoteWrite, StartError};
use crate::export::{Exporter, Health, Sites, Tally, watch_costs, watch_totals};
use crate::fleet::{Fleet, FleetError};
use crate::http;
use crate::ingest::events::wall_ms;
use crate::ingest::{Ingest, TelemetryService};
use crate::latest::Latest;
use crate::net::{Certificates, Door, Limits};
use crate::store::{self, Access, StoreError};
use gpuledger_archive::Keeper;
use gpuledger_ledger::{Ledger, LedgerError};
use gpuledger_tls::FileError;
use serve::Servers;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use watched::{Standing, Watched};

/// Why the collector did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Register(#[from] FleetError),
    #[error(transparent)]
    RemoteWrite(#[from] StartError),
    #[error(transparent)]
    Certificates(#[from] FileError),
    #[error("cannot listen on {address} for {what}: {reason}")]
    Listen { what: &'static str, address: SocketAddr, reason: String },
    #[error("cannot {operation}: {reason}")]
    Runtime { operation: &'static str, reason: String },
    #[error("the last commit failed, the agents keep their batches: {0}")]
    LastCommit(#[source] LedgerError),
}

impl AppError {
    /// True where the collector was pointed at the wrong thing, so that nothing was begun; false
    /// where something failed at run time.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Register(_) | Self::Certificates(_) => true,
            Self::Store(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// A collector that serves.
pub struct Running {
    /// Where agents connect.
    pub grpc_addr: SocketAddr,
    /// Where `/metrics` is.
    pub http_addr: SocketAddr,
    pub ledger: Arc<dyn Ledger>,
    pub latest: Arc<Latest>,
    ingest: Arc<Ingest>,
    standing: Arc<Standing>,
    servers: Servers,
    certificates: Option<Arc<Certificates>>,
    remote_write: Option<RemoteWrite>,
    /// Work that keeps `/metrics` fresh; ended with the collector.
    background: JoinSet<()>,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub async fn serve(config: Config) -> Result<(), AppError> {
    let failed = |error: std::io::Error| AppError::Runtime {
        operation: "wait for signals",
        reason: error.to_string(),
    };
    // Before anything is opened: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut running = start(config).await?;
    tell_supervisor(sd_notify::NotifyState::Ready);
    let ended = loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => running.certificates.iter().for_each(|certificates| certificates.look()),
            error = running.servers.failed() => break Some(error),
        }
    };
    tell_supervisor(sd_notify::NotifyState::Stopping);
    tracing::info!("draining");
    let drained = running.stop().await;
    match ended {
        Some(error) => Err(error),
        None => drained,
    }
}

/// Opens the ledger, binds both ports and begins to serve. Port 0 takes any free one.
pub async fn start(config: Config) -> Result<Running, AppError> {
    let fleet = register(&config).await?.map(Arc::new);
    let health = Health::new()
        .map_err(|error| AppError::Runtime { operation: "set up the counters", reason: error.to_string() })?;
    let health = Arc::new(health);
    let certificates = certificates(&config, &health)?;
    let opened = store::open(&config.ledger, config.archive.location.as_deref(), Access::Write).await?;
    let ledger = Arc::clone(&opened.ledger);
    let (grpc, grpc_addr) = listen("agents", config.grpc_listen).await?;
    let (http_listener, http_addr) = listen("HTTP", config.http_listen).await?;
    let latest = Arc::new(Latest::default());
    let mut background = JoinSet::new();
    let standing = Arc::new(Standing::default());
    let tally = Arc::new(Tally::default());
    let watched = Watched::new(Arc::clone(&ledger), Arc::clone(&standing), Arc::clone(&tally));
    let watched = Arc::new(watched);
    let mender = Arc::clone(&watched);
    background.spawn(async move { mender.mend().await });
    let remote_write = match config.remote_write {
        Some(options) => Some(RemoteWrite::start(options, &health, Arc::new(wall_ms))?),
        None => None,
    };
    let tap = remote_write.as_ref().map(RemoteWrite::tap);
    let ingest = Ingest::start(watched, Arc::clone(&latest), Arc::clone(&health), config.ingest, tap);
    let keeper = archive::keep(&config.archive, opened.archive.as_ref(), &mut background);
    let totals = watch_totals(Arc::clone(&ledger), Arc::clone(&tally), Arc::clone(&health));
    background.spawn(totals);
    let exporter = Exporter {
        latest: Arc::clone(&latest),
        tally,
        costs: costs(&ledger, fleet.clone(), &health, &mut background),
        health: Arc::clone(&health),
        keeper: keeper.clone().map(|keeper| -> KeeperView { Box::new(move || keeper.status()) }),
        sites: Arc::new(fleet.map(sites).unwrap_or_default()),
    };
    let door = door(certificates.as_ref(), &health, &mut background);
    background.spawn(size::watch(opened.store, health));
    let router = http::router(Arc::new(exporter), readiness(&standing, keeper));
    let servers = Servers::start((grpc, door), TelemetryService(Arc::clone(&ingest)), http_listener, router);
    tracing::info!(grpc = %grpc_addr, http = %http_addr, ledger = %config.ledger, "serving");
    Ok(Running {
        grpc_addr,
        http_addr,
        ledger,
        latest,
        ingest,
        standing,
        servers,
        certificates,
        remote_write,
        background,
    })
}

impl Running {
    /// Drains: commits and acknowledges what was folded, ends the streams, closes the ledger.
    pub async fn stop(mut self) -> Result<(), AppError> {
        let drained = self.ingest.drain().await.map_err(AppError::LastCommit);
        self.servers.stop().await;
        if let Some(remote_write) = self.remote_write {
            remote_write.stop().await;
        }
        self.background.shutdown().await;
        drained
    }

    /// Why batches are not acknowledged at present; `None` while all is well.
    pub fn unready(&self) -> Option<String> {
        self.standing.trouble()
    }
}

/// Reads the certificate files, or says that there are none.
fn certificates(config: &Config, health: &Arc<Health>) -> Result<Option<Arc<Certificates>>, AppError> {
    let Some(files) = &config.tls else {
        tracing::warn!(
            "insecure = true: agents send in plain text; whoever reaches the port can read it and send as any node"
        );
        return Ok(None);
    };
    Ok(Some(Certificates::open(files.clone(), Arc::clone(health))?))
}

/// What lets agents in, and the work that keeps the certificates fresh.
fn door(
    certificates: Option<&Arc<Certificates>>,
    health: &Arc<Health>,
    background: &mut JoinSet<()>,
) -> Arc<Door> {
    let door = Door::new(certificates.cloned(), Limits::of_this_process(), health);
    if let Some(certificates) = certificates {
        background.spawn(Arc::clone(certificates).keep());
        background.spawn(Arc::clone(certificates).remind(Arc::clone(door.places())));
    }
    door
}

/// Reads the register, which waits for the disk.
async fn register(config: &Config) -> Result<Option<Fleet>, AppError> {
    let Some(path) = config.fleet.clone() else { return Ok(None) };
    let loaded = tokio::task::spawn_blocking(move || Fleet::load(&path)).await;
    let loaded = loaded
        .map_err(|error| AppError::Runtime { operation: "read the register", reason: error.to_string() })?;
    Ok(Some(loaded?))
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there already: stop it or choose another port".to_owned()
            }
            std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
            _ => error.to_string(),
        };
        AppError::Listen { what, address, reason }
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The costs of the month, and the work that keeps them fresh. Without a register nothing has a cost.
fn costs(
    ledger: &Arc<dyn Ledger>,
    fleet: Option<Arc<Fleet>>,
    health: &Arc<Health>,
    background: &mut JoinSet<()>,
) -> CostsView {
    let Some(fleet) = fleet else { return tokio::sync::watch::channel(None).1 };
    let source = Arc::new(MonthCosts { ledger: Arc::clone(ledger), fleet });
    let (costs, refresh) = watch_costs(source, Arc::clone(health));
    background.spawn(refresh);
    costs
}

/// The sites that scrapes can ask for.
fn sites(fleet: Arc<Fleet>) -> Sites {
    let names = fleet.sites.iter().map(|site| site.name.clone()).collect();
    Sites::new(names, move |node| fleet.site_of(node))
}

/// Ready is who can acknowledge. Trouble with closed days is told beside it: nothing waits for them.
fn readiness(standing: &Arc<Standing>, keeper: Option<Arc<Keeper>>) -> http::ReadyCheck {
    let standing = Arc::clone(standing);
    Arc::new(move || match standing.trouble() {
        Some(reason) => Err(reason),
        None => Ok(keeper.as_ref().and_then(|keeper| keeper.status().trouble)),
    })
}

/// For systemd; without it there is nobody to tell.
fn tell_supervisor(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}
