//! Machines and the agents on them: the product's own recorder, spool and uplink on a disk in memory.

use super::hardware::{Shown, State};
use super::link::{Connector, Network};
use super::oracle::{Device, Sample};
use gpuledger_agent::clock::WallClock;
use gpuledger_agent::record::{Identity, RecordError, Recorder, RecorderOptions, SpoolHandle};
use gpuledger_agent::upload::{self, Connecting, UplinkConfig, UplinkEvents};
use gpuledger_proto::catalogue as m;
use gpuledger_proto::frame::{DeviceFrame, Frame, Gpu, Host, Inventory, Owner, OwnerKind, Share, Stamp};
use gpuledger_proto::ids::{Epoch, GpuUuid, InvalidId, NodeName, Sequence};
use gpuledger_proto::reading::{Absence, Reading};
use gpuledger_spool::sim::SimDisk;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use uuid::Uuid;

/// How an agent is started.
pub struct Start<'a> {
    pub machine: usize,
    pub node: &'a str,
    pub gpus: &'a [usize],
    pub disk: &'a SimDisk,
    pub options: RecorderOptions,
    pub epoch: Epoch,
    pub boot: Uuid,
    pub jitter_seed: u64,
    pub clock: WallClock,
    pub network: &'a Arc<Network>,
    /// Bytes that make each job's name longer, so that a small spool becomes full in a while.
    pub padding: usize,
}

/// A running agent.
pub struct Agent {
    machine: usize,
    pub epoch: Epoch,
    boot: Uuid,
    recorder: Recorder,
    spool: SpoolHandle,
    uplink: JoinHandle<()>,
    cancel: CancellationToken,
    /// Energy of each device when the agent began to integrate its power.
    integrated_from_mj: Vec<Option<u64>>,
    padding: usize,
    /// Up to here everything is synced.
    saved: Sequence,
    /// The disk was full, or the process dying: what is not saved may be lost with the process.
    pub in_trouble: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Name(#[from] InvalidId),
}

impl Agent {
    pub fn start(start: &Start<'_>) -> Result<Self, StartError> {
        let node = NodeName::new(start.node)?;
        let identity = Identity { node: node.clone(), epoch: start.epoch, boot_id: Some(start.boot) };
        let disk = Arc::new(start.disk.clone());
        let (mut recorder, spool) = Recorder::open_on(disk, Path::new("/spool"), start.options, identity)?;
        recorder.set_inventory(inventory(start.node, start.gpus)?)?;
        let config = UplinkConfig {
            jitter_seed: start.jitter_seed,
            clock: start.clock.clone(),
            ..UplinkConfig::new("http://collector:9841", node)
        };
        let connector = Connector { network: Arc::clone(start.network), machine: start.machine };
        let connect = move |endpoint: Endpoint| -> Connecting {
            let connector = connector.clone();
            Box::pin(async move { Ok(endpoint.connect_with_connector(connector).await?.into()) })
        };
        let cancel = CancellationToken::new();
        let (handle, cancelled) = (spool.clone(), cancel.clone());
        let uplink = tokio::spawn(async move {
            // It ends only when it is cancelled: the address is valid.
            let _ = upload::run_over(&connect, config, handle, Arc::new(UplinkEvents::default()), cancelled)
                .await;
        });
        Ok(Self {
            machine: start.machine,
            epoch: start.epoch,
            boot: start.boot,
            recorder,
            spool,
            uplink,
            cancel,
            integrated_from_mj: vec![None; start.gpus.len() + 1],
            padding: start.padding,
            saved: Sequence::NONE,
            in_trouble: false,
        })
    }

    /// Takes a sample of the devices, the node's meter first, and gives it as it was taken.
    pub fn record(
        &mut self,
        stamp: Stamp,
        true_ms: u64,
        devices: Vec<(Device, Shown)>,
    ) -> Result<Sample, RecordError> {
        let mut told = Vec::with_capacity(devices.len());
        let mut frames = Vec::with_capacity(devices.len());
        for (at, (device, shown)) in devices.into_iter().enumerate() {
            let from_mj = *self.integrated_from_mj[at].get_or_insert(shown.used_mj);
            let (frame, integrated_mj) = match &device {
                // Nobody integrates the power of a whole node here.
                Device::Node(_) => (meter_frame(&shown), 0),
                Device::Gpu(_) => {
                    (gpu_frame(&shown, shown.used_mj - from_mj, self.padding), shown.used_mj - from_mj)
                }
            };
            frames.push(frame);
            told.push((device, shown, integrated_mj));
        }
        self.recorder.push(Frame { stamp, devices: frames })?;
        self.look_at_the_spool();
        Ok(Sample {
            machine: self.machine,
            epoch: self.epoch,
            sequence: self.recorder.sequence(),
            boot: self.boot,
            boot_ms: stamp.boot_ms,
            wall_ms: stamp.wall_ms,
            true_ms,
            devices: Arc::new(told),
        })
    }

    /// Whether everything that was closed is synced; notes how far.
    pub fn look_at_the_spool(&mut self) -> bool {
        let safe = self.recorder.unsaved_batches() == 0;
        if safe {
            self.saved = Sequence(self.recorder.sequence().0 - 1);
        }
        safe
    }

    /// Last batch that is synced.
    pub fn saved(&self) -> Sequence {
        self.saved
    }

    /// Sequence of the batch that is being gathered.
    pub fn open_batch(&self) -> Sequence {
        self.recorder.sequence()
    }

    pub fn dropped_batches(&self) -> u64 {
        self.recorder.dropped_batches()
    }

    pub fn waiting_batches(&self) -> u64 {
        self.spool.waiting_batches() + self.recorder.unsaved_batches() as u64
    }

    /// Closes the open batch. What the disk does not take stays in memory.
    pub fn flush(&mut self) -> bool {
        let flushed = self.recorder.flush().is_ok();
        self.look_at_the_spool();
        flushed
    }

    /// Waits until everything is acknowledged.
    pub async fn drained(&self) {
        self.spool.drained().await;
    }

    /// The process is gone from one moment to the next; the disk is its own matter.
    pub async fn kill(self) {
        self.uplink.abort();
        // Until its last task is gone it holds the lock.
        let _ = self.uplink.await;
    }

    /// Ends in order.
    pub async fn stop(mut self) {
        self.flush();
        self.cancel.cancel();
        let _ = self.uplink.await;
    }
}

pub fn gpu_name(gpu: usize) -> String {
    format!("GPU-simulated-{gpu}")
}

fn inventory(node: &str, gpus: &[usize]) -> Result<Inventory, InvalidId> {
    let gpu = |(index, &gpu): (usize, &usize)| {
        Ok(Gpu {
            uuid: GpuUuid::new(&gpu_name(gpu))?,
            model: "Simulated".to_owned(),
            serial: None,
            pci_bus_id: None,
            index: u32::try_from(index).unwrap_or(0),
            memory_bytes: None,
            simulated: true,
        })
    };
    let host = Host {
        hostname: node.to_owned(),
        os: "simulated".to_owned(),
        driver_version: None,
        memory_bytes: None,
        cpus: None,
    };
    Ok(Inventory { host, gpus: gpus.iter().enumerate().map(gpu).collect::<Result<_, InvalidId>>()? })
}

fn meter_frame(shown: &Shown) -> DeviceFrame {
    let mut readings = vec![(m::NODE_CPU, value(250_000))];
    if let Some(counter) = shown.counter_mj {
        readings.push((m::NODE_ENERGY, value(counter)));
    }
    readings.sort_by_key(|reading| reading.0);
    DeviceFrame { readings, holding: None }
}

fn gpu_frame(shown: &Shown, integrated_mj: u64, padding: usize) -> DeviceFrame {
    let lost = Reading::Absent(Absence::Lost);
    let up = shown.state != State::Down;
    let read = |reading| if up { reading } else { lost };
    let counter = shown.counter_mj.map_or(Reading::Absent(Absence::Unsupported), value);
    let busy = if shown.state == State::Active { 900_000 } else { 0 };
    let mut readings = vec![
        (m::GPU_UP, value(u64::from(up))),
        (m::GPU_ENERGY, read(counter)),
        (m::GPU_ENERGY_INTEGRATED, read(value(integrated_mj))),
        (m::GPU_POWER_AVERAGE, read(value(shown.power_mw))),
        (m::GPU_UTILIZATION, read(value(busy))),
        (m::GPU_PROCESSES, read(value(u64::from(busy > 0)))),
    ];
    readings.sort_by_key(|reading| reading.0);
    let share = || {
        let owner = Owner {
            kind: OwnerKind::User,
            account: String::new(),
            name: format!("user-{}", shown.owner),
            job: "j".repeat(padding),
        };
        vec![Share { owner, share_ppm: 1_000_000 }]
    };
    let holding = match shown.state {
        State::Active | State::Held => Reading::Value(share()),
        State::Free => Reading::Value(Vec::new()),
        State::Down => lost.map(|_: i64| Vec::new()),
    };
    DeviceFrame { readings, holding: Some(holding) }
}

/// Nothing here comes near the limit of the wire's integer.
fn value(of: u64) -> Reading<i64> {
    Reading::Value(i64::try_from(of).unwrap_or(i64::MAX))
}
