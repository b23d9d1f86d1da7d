//! GPUs: what the agent needs of a GPU library, whatever library it is.
//!
//! [`nvml`] is the library behind it; [`worker`] asks one GPU from a thread of its own; [`keeper`]
//! opens the library, watches which GPUs there are and opens it again after a fault; [`watcher`] waits
//! for its events, which [`xid`] counts together with those of the kernel's log;
//! [`roster`] holds the GPUs that were ever seen and turns their answers into device frames.

pub mod agreement;
pub mod keeper;
pub mod nvml;
mod plausible;
mod raw;
pub mod roster;
mod shared;
pub mod sleep;
pub mod split;
pub mod watcher;
pub mod worker;
pub mod xid;

#[cfg(test)]
pub mod simulated;

use super::Source;
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::frame::Gpu;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::Absence;
use std::sync::Arc;
use std::time::Duration;

/// What a GPU that gives nothing gives nothing of: all that is read from a GPU itself.
pub fn metrics_of_a_gpu() -> impl Iterator<Item = MetricId> {
    let others =
        [metric::GPU_UP, metric::GPU_ENERGY_INTEGRATED, metric::GPU_ENERGY_AGREEMENT, metric::GPU_HOLDER];
    let is_read = move |id: &MetricId| {
        !others.contains(id) && !(metric::GPU_XID_EVENTS..=metric::GPU_XID_OTHER).contains(id)
    };
    metric::CATALOGUE.iter().filter(|m| m.scope == metric::Scope::Gpu).map(|m| m.id).filter(is_read)
}

/// Opens a GPU library, as often as it takes.
pub trait Opener: Send + 'static {
    fn open(&self) -> Result<Arc<dyn Library>, LibraryFault>;
}

/// A GPU library that is open. Dropping the last reference closes it.
pub trait Library: Send + Sync {
    /// The driver's version, if it tells.
    fn driver_version(&self) -> Option<String>;

    /// The GPUs that are visible now, in the driver's order.
    fn gpus(&self) -> Result<Visible, LibraryFault>;

    /// Opens one GPU for reading.
    fn open_gpu<'l>(&'l self, uuid: &GpuUuid) -> Result<Box<dyn Source + 'l>, Fault>;

    /// Begins to listen to the events of these GPUs.
    fn watch<'l>(&'l self, gpus: &[GpuUuid]) -> Result<Box<dyn Watch + 'l>, Fault>;
}

/// Events of some GPUs, from the moment on in which it was made.
pub trait Watch {
    /// The next XID event, waited for at most so long: the GPU and the code.
    fn wait(&mut self, longest: Duration) -> Result<Option<(GpuUuid, u32)>, Fault>;
}

/// What a library shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visible {
    pub gpus: Vec<Gpu>,
    /// What else is known of each of them, in the same order.
    pub facts: Vec<Facts>,
    /// GPUs that are there and do not even tell their UUID.
    pub nameless: u32,
}

/// What a GPU is beyond its name and place: for `probe` and people.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Facts {
    pub vbios: Option<String>,
    pub board_part: Option<String>,
    /// The number of its device file.
    pub minor: Option<u32>,
}

/// Why a GPU gives no readings at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It concerns this GPU only; the others go on.
    #[error("the GPU gives no readings: {0}")]
    Gpu(Absence),
    /// It concerns the whole library, which has to be opened again.
    #[error(transparent)]
    Library(#[from] LibraryFault),
}

/// Why there is no GPU library to ask. The agent goes on without GPUs and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryFault {
    #[error("library not found: {0}")]
    NotFound(String),
    #[error("driver not loaded")]
    DriverNotLoaded,
    #[error("driver and library versions differ")]
    VersionMismatch,
    #[error("no permission to use the driver")]
    NoPermission,
    #[error("the driver was shut down")]
    Uninitialised,
    #[error("the library is not a usable libnvidia-ml: {0}")]
    Unusable(String),
    #[error("the driver is loaded and shows no GPU")]
    NoGpus,
    #[error("the driver does not answer")]
    Hangs,
    #[error("paused: the driver is given up for a while")]
    Paused,
    #[error("the library fails: {0}")]
    Failed(String),
}

impl LibraryFault {
    /// What would help, for the person who reads the log or `probe`.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotFound(_) => {
                "install the NVIDIA driver's management library (package libnvidia-ml1 or nvidia-utils), or name it \
                 with the key nvml_library; on a machine without NVIDIA GPUs nothing is missing"
            }
            Self::DriverNotLoaded => {
                "load the kernel module (modprobe nvidia); see dmesg if it does not load"
            }
            Self::VersionMismatch => {
                "reboot or reload the kernel module: the driver package was upgraded under it"
            }
            Self::NoPermission => "let this user open /dev/nvidiactl and /dev/nvidia*",
            Self::Uninitialised => "nothing to do: the library is opened again",
            Self::Unusable(_) => {
                "check that nvml_library names the libnvidia-ml.so.1 of the installed driver"
            }
            Self::NoGpus => {
                "check lspci and dmesg (NVRM): the GPUs may have fallen off the bus or belong to a guest"
            }
            Self::Paused => "nothing to do, or end it with: gpuledger-agent resume",
            Self::Hangs => "see dmesg (NVRM, Xid): a GPU or the driver is stuck, often until a reboot",
            Self::Failed(_) => "see dmesg (NVRM) for the driver's own messages",
        }
    }
}
