//! Samples as both sides see them: a [`Frame`] is one sample of all devices of a node, a [`Batch`]
//! is a run of frames turned into columns.
//!
//! Position 0 is the node, position `n` the n-th GPU of the [`Inventory`] in force.

use crate::catalogue::MetricId;
use crate::ids::{GpuUuid, Sequence, clean_text};
use crate::reading::Reading;
use serde::{Deserialize, Serialize};

/// When a sample was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Wall clock, milliseconds since the Unix epoch. May step.
    pub wall_ms: u64,
    /// Boot-time clock (counts during suspend), milliseconds. Never steps within one boot.
    pub boot_ms: u64,
}

/// What a node is and which GPUs it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    pub host: Host,
    pub gpus: Vec<Gpu>,
}

impl Inventory {
    /// With every text as the wire takes it: see [`clean_text`].
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        let clean = |text: &mut String| *text = clean_text(text);
        clean(&mut self.host.hostname);
        clean(&mut self.host.os);
        self.host.driver_version.iter_mut().for_each(clean);
        for gpu in &mut self.gpus {
            clean(&mut gpu.model);
            gpu.serial.iter_mut().for_each(clean);
            gpu.pci_bus_id.iter_mut().for_each(clean);
        }
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    pub hostname: String,
    pub os: String,
    pub driver_version: Option<String>,
    pub memory_bytes: Option<u64>,
    pub cpus: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    pub uuid: GpuUuid,
    pub model: String,
    pub serial: Option<String>,
    pub pci_bus_id: Option<String>,
    pub index: u32,
    pub memory_bytes: Option<u64>,
    pub simulated: bool,
}

/// Where the name of an owner comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    User,
    Slurm,
    Kubernetes,
    Systemd,
    /// A kind that this build does not know.
    Other,
}

impl OwnerKind {
    pub const ALL: [Self; 5] = [Self::User, Self::Slurm, Self::Kubernetes, Self::Systemd, Self::Other];

    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Slurm => "slurm",
            Self::Kubernetes => "kubernetes",
            Self::Systemd => "systemd",
            Self::Other => "other",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Who a GPU belongs to for a time: at least one of the names is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    pub kind: OwnerKind,
    /// Slurm account or Kubernetes namespace; empty where there is none.
    pub account: String,
    /// User or workload.
    pub name: String,
    /// Job identifier; empty where there is none.
    pub job: String,
}

/// The owners of one GPU at one moment with their shares; empty means that nobody holds it.
/// Shares sum to 1,000,000 ppm. Sorted by owner, so that equal holdings are equal values.
pub type Holding = Vec<Share>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    pub owner: Owner,
    pub share_ppm: u32,
}

/// One sample of one device: readings sorted by metric, each metric at most once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFrame {
    pub readings: Vec<(MetricId, Reading<i64>)>,
    /// Who holds the GPU; `None` on the node itself. Becomes the metric `gpu_holder`.
    pub holding: Option<Reading<Holding>>,
}

impl DeviceFrame {
    /// The reading of a metric; `None` where the device was not asked for it.
    pub fn reading(&self, metric: MetricId) -> Option<Reading<i64>> {
        self.readings.binary_search_by_key(&metric, |r| r.0).ok().map(|position| self.readings[position].1)
    }
}

/// One sample of a whole node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    pub stamp: Stamp,
    /// As many as the inventory has devices, the node included.
    pub devices: Vec<DeviceFrame>,
}

/// One metric of one device over the samples of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Position in the inventory: 0 is the node.
    pub device: u16,
    pub metric: MetricId,
    /// One reading a sample.
    pub readings: Vec<Reading<i64>>,
}

/// A run of samples in columns, sorted by device and metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub sequence: Sequence,
    pub stamps: Vec<Stamp>,
    /// What the values of `gpu_holder` refer to: value n is entry n − 1.
    pub holdings: Vec<Holding>,
    pub columns: Vec<Column>,
}

impl Batch {
    /// Turns samples into columns. A metric that a sample does not have reads
    /// [`Absence::Pending`](crate::reading::Absence::Pending) there. Samples with more devices than
    /// the first one are cut to it: an inventory change begins a new segment and so a new batch.
    pub fn from_frames(sequence: Sequence, frames: &[Frame]) -> Self {
        let mut builder = Builder { batch: Self { sequence, ..Self::default() }, ..Builder::default() };
        let devices = frames.first().map_or(0, |f| f.devices.len());
        for (sample, frame) in frames.iter().enumerate() {
            builder.batch.stamps.push(frame.stamp);
            builder.cursor = 0;
            for (position, device) in frame.devices.iter().take(devices).enumerate() {
                builder.push_device(sample, position, device);
            }
        }
        let mut batch = builder.batch;
        let samples = frames.len();
        for column in &mut batch.columns {
            column.readings.resize(samples, MISSING);
        }
        batch.columns.sort_by_key(|c| (c.device, c.metric));
        batch
    }

    /// Number of readings, absent ones included.
    pub fn points(&self) -> usize {
        self.columns.len() * self.stamps.len()
    }
}

/// A batch on its way from samples to columns. Samples of a node nearly always have the same
/// readings in the same order, so the column after the last one used is tried before any search.
#[derive(Default)]
struct Builder {
    batch: Batch,
    /// Where the next reading of a sample goes if the sample is laid out like the one before.
    cursor: usize,
    /// The last column in order so far: what lies after it is new without a search.
    highest: Option<(u16, MetricId)>,
}

impl Builder {
    fn push_device(&mut self, sample: usize, position: usize, device: &DeviceFrame) {
        for &(metric, reading) in &device.readings {
            self.put(sample, position, metric, reading);
        }
        if let Some(holding) = &device.holding {
            let reading = match holding {
                Reading::Value(holding) => Reading::Value(self.holding_code(holding)),
                Reading::Absent(reason) => Reading::Absent(*reason),
            };
            self.put(sample, position, crate::catalogue::GPU_HOLDER, reading);
        }
    }

    fn put(&mut self, sample: usize, position: usize, metric: MetricId, reading: Reading<i64>) {
        // At most DEVICES_PER_NODE_MAX positions, checked where frames come from outside.
        let Ok(device) = u16::try_from(position) else { return };
        let at = self.column(device, metric);
        self.cursor = at + 1;
        let readings = &mut self.batch.columns[at].readings;
        readings.resize(sample, MISSING);
        readings.push(reading);
    }

    /// The position of a column, which is added when it is new.
    fn column(&mut self, device: u16, metric: MetricId) -> usize {
        let key = Some((device, metric));
        let columns = &mut self.batch.columns;
        if columns.get(self.cursor).is_some_and(|c| key == Some((c.device, c.metric))) {
            return self.cursor;
        }
        if key <= self.highest
            && let Some(at) = columns.iter().position(|c| key == Some((c.device, c.metric)))
        {
            return at;
        }
        self.highest = self.highest.max(key);
        columns.push(Column { device, metric, readings: Vec::new() });
        columns.len() - 1
    }

    fn holding_code(&mut self, holding: &Holding) -> i64 {
        if holding.is_empty() {
            return 0;
        }
        let holdings = &mut self.batch.holdings;
        let at = holdings.iter().position(|h| h == holding).unwrap_or_else(|| {
            holdings.push(holding.clone());
            holdings.len() - 1
        });
        i64::try_from(at + 1).unwrap_or(i64::MAX)
    }
}

const MISSING: Reading<i64> = Reading::Absent(crate::reading::Absence::Pending);

#[cfg(test)]
mod tests;
