//! The running agent: build → run → drain.
//!
//! Threads: one sampler, one a GPU behind it, one recorder, and one for the uplink and signals.
//! They are joined by one bounded channel (sampler → recorder) and the spool (recorder → uplink).
//!
//! The end goes the same way as the data: the sampler stops and closes the channel, the recorder
//! takes what is left and writes the open batch, the uplink gets some seconds to send it. What is
//! not acknowledged by then is sent after the next start.

use crate::clock::SystemClock;
use crate::collect::gpu::keeper::{Keeper, Pauses};
use crate::collect::gpu::nvml::NvmlOpener;
use crate::collect::gpu::roster::{Roster, WorkloadFactory};
use crate::collect::host::HostSource;
use crate::collect::kernel_log::{self, KMSG};
use crate::collect::workload::allocation::Board;
use crate::collect::workload::owners::GpuOwners;
use crate::collect::workload::process::ProcessOwners;
use crate::collect::workload::watch::{self, Schedulers};
use crate::config::{Config, ConfigError};
use crate::events::{ConfigChanged, ConfigRefused, Counters, SampleRefused, Stopped};
use crate::pause::Desk;
use crate::record::{Identity, RecordError, Recorder, RecorderOptions, SpoolHandle};
use crate::sample::{SETTLE, Sample, Sampler};
use crate::upload::{self, Credentials, UplinkConfig, UplinkEvents, UploadError};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::frame::DeviceFrame;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::reading::{Absence, Reading};
use sd_notify::NotifyState;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Samples between sampler and recorder: two minutes of a disk that hangs at 1 Hz.
const SAMPLES_WAITING_MAX: usize = 128;
/// How long the end waits for the disk, and then for the collector.
const RECORD_PATIENCE: Duration = Duration::from_secs(5);
const UPLINK_PATIENCE: Duration = Duration::from_secs(3);

/// Why the agent could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot open the spool in {}: {source}; the folder has to be writable by this user (key spool_dir)", folder.display())]
    Spool { folder: PathBuf, source: RecordError },
    /// Nothing was touched: the settings and the folder do not belong together.
    #[error("{0} (key spool_dir)")]
    OtherNode(RecordError),
    #[error("cannot start {what}: {source}")]
    Start { what: &'static str, source: io::Error },
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("the thread that {0} ended by itself; the log says why")]
    Thread(&'static str),
    #[error("cannot write the last samples to the spool: {0}")]
    Flush(RecordError),
}

fn start(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Start { what, source }
}

/// The signals that a person or the service manager sends.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// How a run of all parts came to its end.
enum Ended {
    /// A signal ended it.
    Stopped,
    /// It goes on with this configuration.
    Reloaded(Box<Config>),
}

/// Runs with this configuration until a signal ends it.
pub fn run(config: &Config) -> Result<(), RunError> {
    run_reloading(config, || Ok(config.clone()))
}

/// The same, and reads the configuration again on SIGHUP: where it differs, all parts are drained and begin anew.
pub fn run_reloading(
    config: &Config,
    reload: impl Fn() -> Result<Config, ConfigError>,
) -> Result<(), RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start("the runtime"))?;
    let ended = runtime.block_on(async {
        // First of all: from here on a signal drains instead of killing.
        let mut signals = Signals::new().map_err(start("signal handling"))?;
        let mut config = Box::new(config.clone());
        let mut app = App::build(&config)?;
        loop {
            let Ended::Reloaded(new) = app.run(&mut signals, &config, &reload).await? else { return Ok(()) };
            app = match App::build(&new) {
                Ok(app) => {
                    config = new;
                    ConfigChanged.emit();
                    app
                }
                Err(error) => {
                    ConfigRefused { error: &error }.emit();
                    App::build(&config)?
                }
            };
        }
    });
    // A thread that hangs on the disk is not waited for.
    runtime.shutdown_background();
    ended
}

/// All parts, running.
struct App {
    counters: Arc<Counters>,
    stop: CancellationToken,
    sampler: JoinHandle<()>,
    /// Resolves when the recorder has ended.
    flushed: oneshot::Receiver<Result<(), RecordError>>,
    spool: SpoolHandle,
    credentials: Option<Credentials>,
    link: Arc<UplinkEvents>,
    uplink: tokio::task::JoinHandle<Result<(), UploadError>>,
    uplink_stop: CancellationToken,
}

impl App {
    fn build(config: &Config) -> Result<Self, RunError> {
        let counters = Arc::<Counters>::default();
        let options = RecorderOptions {
            cap_bytes: config.spool_bytes_max,
            batch_ms: config.batch_span_ms,
            ..RecorderOptions::default()
        };
        let identity = Identity { node: config.node.clone(), epoch: Epoch::begin(), boot_id: boot_id() };
        let (recorder, spool) =
            Recorder::open(&config.spool_dir, options, identity).map_err(|source| match source {
                RecordError::OtherNode { .. } => RunError::OtherNode(source),
                source => RunError::Spool { folder: config.spool_dir.clone(), source },
            })?;
        let (sink, waiting) = sync_channel(SAMPLES_WAITING_MAX);
        let flushed = spawn_recorder(recorder, waiting, Arc::clone(&counters))?;

        let stop = CancellationToken::new();
        let (sampler, board) = build_sampler(config, Arc::clone(&counters), stop.clone())
            .map_err(start("the threads that ask for GPUs and their holders"))?;
        let mut sampler = sampler.with_desk(Desk::of(&config.spool_dir));
        let stopping = stop.clone();
        let watched = sd_notify::watchdog_enabled().is_some();
        let body = move || {
            sampler.settle();
            board.settle(SETTLE);
            sampler.run(&sink, &stopping, || {
                if watched {
                    tell_manager(&NotifyState::Watchdog);
                }
            });
        };
        let sampler = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(body)
            .map_err(start("the sampler"))?;

        let uplink_stop = CancellationToken::new();
        let link = Arc::<UplinkEvents>::default();
        let credentials =
            config.tls.as_ref().map(|files| Credentials::of_files(files.clone(), config.node.clone()));
        let uplink_config = UplinkConfig {
            credentials: credentials.clone(),
            ..UplinkConfig::new(config.collector.uri(), config.node.clone())
        };
        let uplink = upload::run(uplink_config, spool.clone(), Arc::clone(&link), uplink_stop.clone());
        let uplink = tokio::spawn(uplink);
        tracing::info!(node = %config.node, collector = config.collector.uri(), version = env!("CARGO_PKG_VERSION"), "started");
        Ok(Self { counters, stop, sampler, flushed, spool, credentials, link, uplink, uplink_stop })
    }

    async fn run(
        mut self,
        signals: &mut Signals,
        config: &Config,
        reload: &impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<Ended, RunError> {
        tell_manager(&NotifyState::Ready);
        let mut ended = Ended::Stopped;
        let failed = loop {
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => break None,
                _ = signals.interrupt.recv() => break None,
                _ = signals.hangup.recv() => {
                    self.credentials.iter().for_each(Credentials::look);
                    match reload() {
                        Ok(new) if new == *config => {}
                        Ok(new) => {
                            ended = Ended::Reloaded(Box::new(new));
                            break None;
                        }
                        Err(error) => ConfigRefused { error: &error }.emit(),
                    }
                }
                ended = &mut self.uplink => break Some(uplink_failure(ended)),
                // The recorder ends only when the sampler has.
                _ = &mut self.flushed => return Err(RunError::Thread("takes or records samples")),
            }
        };
        if matches!(ended, Ended::Stopped) {
            tell_manager(&NotifyState::Stopping);
        }
        self.stop_sampling();
        let flushed = match tokio::time::timeout(RECORD_PATIENCE, &mut self.flushed).await {
            Ok(Ok(written)) => written.map_err(RunError::Flush),
            Ok(Err(_)) => Err(RunError::Thread("records samples")),
            // The journal has every sample but those of a disk that hangs.
            Err(_) => Ok(()),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        self.end_uplink().await;
        flushed.map(|()| ended)
    }

    fn stop_sampling(&self) {
        self.stop.cancel();
        self.sampler.thread().unpark();
    }

    async fn end_uplink(self) {
        if self.link.read().connected {
            let _ = tokio::time::timeout(UPLINK_PATIENCE, self.spool.drained()).await;
        }
        self.uplink_stop.cancel();
        let sending = self.uplink.abort_handle();
        if tokio::time::timeout(UPLINK_PATIENCE, self.uplink).await.is_err() {
            sending.abort();
        }
        let _ = self.spool.on_disk(gpuledger_spool::Spool::close_segment).await;
        Stopped { waiting_batches: self.spool.waiting_batches() }.emit(&self.counters);
    }
}

fn uplink_failure(ended: Result<Result<(), UploadError>, tokio::task::JoinError>) -> RunError {
    match ended {
        Ok(Err(error)) => error.into(),
        // Nobody has cancelled it, so it has not come to an end in any other way.
        Ok(Ok(())) | Err(_) => RunError::Thread("sends samples"),
    }
}

/// The sampler with all sources, as `run` and `probe` use it.
pub fn build_sampler(
    config: &Config,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> io::Result<(Sampler, Board)> {
    let keeper = Keeper::start(NvmlOpener { path: config.nvml_library.clone() }, Pauses::default())?;
    let schedulers = Schedulers {
        slurm_conf: config.slurm_conf.clone(),
        kubelet_socket: config.kubelet_socket.clone(),
        cgroup_path: config.cgroup_path.clone(),
    };
    let board = watch::start(schedulers, Arc::clone(&counters), stop.clone())?;
    let roster = Roster::new(keeper, owners(config, board.clone()), Arc::clone(&counters));
    kernel_log::start(KMSG.as_ref(), roster.xids(), stop)?;
    let host = HostSource::new();
    let facts = host.describe();
    let host = (Box::new(host) as Box<_>, facts);
    let sampler = Sampler::new(Arc::new(SystemClock), config.sample_interval_ms, host, roster, counters);
    Ok((sampler, board))
}

/// Makes what finds the owners of a GPU.
fn owners(config: &Config, board: Board) -> WorkloadFactory {
    let processes = ProcessOwners::new(config.proc_path.clone(), config.passwd_path.clone());
    let proc_path = config.proc_path.clone();
    Box::new(move |gpu| Box::new(GpuOwners::new(gpu.clone(), &proc_path, board.clone(), processes.clone())))
}

fn spawn_recorder(
    mut recorder: Recorder,
    samples: Receiver<Sample>,
    counters: Arc<Counters>,
) -> Result<oneshot::Receiver<Result<(), RecordError>>, RunError> {
    let (ended, flushed) = oneshot::channel();
    let body = move || {
        let mut refused = false;
        while let Ok(sample) = samples.recv() {
            let stored = record(&mut recorder, sample);
            if let Err(error) = &stored {
                SampleRefused { error, first: !refused }.emit(&counters);
            }
            refused = stored.is_err();
        }
        // Nobody waits any more only where the program is ending without us.
        let _ = ended.send(recorder.flush());
    };
    std::thread::Builder::new().name("recorder".to_owned()).spawn(body).map_err(start("the recorder"))?;
    Ok(flushed)
}

fn record(recorder: &mut Recorder, sample: Sample) -> Result<(), RecordError> {
    let Sample { inventory, mut frame } = sample;
    if let Some(inventory) = inventory {
        recorder.set_inventory(inventory)?;
    }
    if let Some(node) = frame.devices.first_mut() {
        add_spool_readings(node, recorder.bytes(), recorder.dropped_batches());
    }
    recorder.push(frame)
}

/// What only the recorder knows of the node.
fn add_spool_readings(node: &mut DeviceFrame, bytes: u64, dropped: u64) {
    for (id, value) in [(metric::NODE_SPOOL, bytes), (metric::NODE_SPOOL_DROPPED, dropped)] {
        let reading: Reading<i64> = i64::try_from(value).map_err(|_| Absence::Failed).into();
        match node.readings.binary_search_by_key(&id, |r| r.0) {
            Ok(at) => node.readings[at].1 = reading,
            Err(at) => node.readings.insert(at, (id, reading)),
        }
    }
}

/// The kernel's identity of this boot; containers may hide it.
fn boot_id() -> Option<Uuid> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().parse().ok()
}

/// Without a service manager this does nothing.
fn tell_manager(state: &NotifyState<'_>) {
    let _ = sd_notify::notify(std::slice::from_ref(state));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_s_readings_take_their_place_among_the_sorted() {
        let mut node = DeviceFrame {
            readings: vec![
                (metric::NODE_CPU, Reading::Value(1)),
                (metric::NODE_AGENT_MEMORY, Reading::Value(2)),
            ],
            holding: None,
        };
        add_spool_readings(&mut node, 77, 3);
        assert!(node.readings.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(node.reading(metric::NODE_SPOOL), Some(Reading::Value(77)));
        assert_eq!(node.reading(metric::NODE_SPOOL_DROPPED), Some(Reading::Value(3)));
    }

    #[test]
    fn samples_of_the_recorder_thread_are_in_the_spool_when_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let node = gpuledger_proto::ids::NodeName::new("n1").unwrap();
        let identity = Identity { node, epoch: Epoch::begin(), boot_id: boot_id() };
        let (recorder, spool) = Recorder::open(folder.path(), RecorderOptions::default(), identity).unwrap();
        let (samples, waiting) = sync_channel(8);
        let counters = Arc::<Counters>::default();
        let flushed = spawn_recorder(recorder, waiting, Arc::clone(&counters)).unwrap();
        let frame = |boot_ms| gpuledger_proto::frame::Frame {
            stamp: gpuledger_proto::frame::Stamp { wall_ms: 1_700_000_000_000 + boot_ms, boot_ms },
            devices: vec![DeviceFrame::default()],
        };
        // Before the inventory is known a frame cannot be recorded: refused, and counted.
        samples.send(Sample { inventory: None, frame: frame(0) }).unwrap();
        samples
            .send(Sample {
                inventory: Some(gpuledger_proto::frame::Inventory::default()),
                frame: frame(1_000),
            })
            .unwrap();
        samples.send(Sample { inventory: None, frame: frame(2_000) }).unwrap();
        drop(samples);
        flushed.blocking_recv().unwrap().unwrap();
        assert_eq!(spool.waiting_batches(), 1);
        assert_eq!(counters.read().samples_refused, 1);
    }
}
