//! Configuration: as given (file, flags, environment) → validated.
//!
//! Every setting is declared once, in [`keys`]: name, default, what it is for. The example file,
//! the check for unknown keys and the suggestions read the same table. A wrong setting ends the
//! program before anything is opened or sent, and says where it stands and how to mend it.
//!
//! Precedence: flag, environment (`GPULEDGER_NVML_LIBRARY` only), file, default.

mod address;
mod file;
pub mod keys;
pub mod quantity;

pub use address::CollectorAddress;
pub use file::{ConfigError, Given, Origin};

use crate::collect::host;
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::Files;
use keys::Key;
use std::path::PathBuf;
use tracing::Level;

/// Where the file is unless a flag says otherwise. It may be missing there.
pub const DEFAULT_FILE: &str = "/etc/gpuledger/agent.toml";
/// Names the GPU library; stands above the file and below the flag.
pub const NVML_LIBRARY_ENV: &str = "GPULEDGER_NVML_LIBRARY";

/// 10 Hz and 0.1 Hz.
const SAMPLE_INTERVAL_MS: std::ops::RangeInclusive<u64> = 100..=10_000;
/// Two and a half of these make the collector's default longest gap of 10 s: room for one late sample.
const SAMPLE_INTERVAL_UNADVISED_MS: u64 = 4_000;
/// At the most an hour, which one message can carry at 1 Hz.
const BATCH_SPAN_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// Room for some batches at least; an upper bound catches a unit that is off by a thousand.
const SPOOL_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 40);

/// Everything that the agent is told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub node: NodeName,
    pub collector: CollectorAddress,
    /// Certificate files; `None` is plain text.
    pub tls: Option<Files>,
    /// `None` is the system's `libnvidia-ml.so.1`.
    pub nvml_library: Option<PathBuf>,
    pub sample_interval_ms: u64,
    pub batch_span_ms: u64,
    pub spool_dir: PathBuf,
    pub spool_bytes_max: u64,
    pub proc_path: PathBuf,
    pub passwd_path: PathBuf,
    pub cgroup_path: PathBuf,
    /// `None`: where Slurm usually has it.
    pub slurm_conf: Option<PathBuf>,
    pub kubelet_socket: PathBuf,
    pub log_level: Level,
}

impl Config {
    /// Checks what was given and fills in the defaults.
    pub fn validate(given: &Given) -> Result<Self, ConfigError> {
        let insecure = given.get(Key::Insecure).map_or(Ok(false), |s| s.parse(keys::boolean))?;
        let sample_interval_ms =
            given.required(Key::SampleInterval)?.parse(|t| quantity::duration_ms(t, SAMPLE_INTERVAL_MS))?;
        let batch_span_ms =
            given.required(Key::BatchSpan)?.parse(|t| quantity::duration_ms(t, BATCH_SPAN_MS))?;
        if batch_span_ms < sample_interval_ms {
            let message = format!(
                "a batch of {batch_span_ms} ms has no room for a sample each {sample_interval_ms} ms"
            );
            return Err(given.required(Key::BatchSpan)?.refuse(message));
        }
        Ok(Self {
            node: node_name(given)?,
            collector: given.required(Key::Collector)?.parse(|t| CollectorAddress::parse(t, insecure))?,
            tls: if insecure { None } else { Some(tls_files(given)?) },
            nvml_library: given.get(Key::NvmlLibrary).map(|s| s.parse(path)).transpose()?,
            sample_interval_ms,
            batch_span_ms,
            spool_dir: given.required(Key::SpoolDir)?.parse(path)?,
            spool_bytes_max: given.required(Key::SpoolSize)?.parse(|t| quantity::bytes(t, SPOOL_BYTES))?,
            proc_path: given.required(Key::ProcPath)?.parse(path)?,
            passwd_path: given.required(Key::PasswdPath)?.parse(path)?,
            cgroup_path: given.required(Key::CgroupPath)?.parse(path)?,
            slurm_conf: given.get(Key::SlurmConf).map(|s| s.parse(path)).transpose()?,
            kubelet_socket: given.required(Key::KubeletSocket)?.parse(path)?,
            log_level: given.required(Key::LogLevel)?.parse(level)?,
        })
    }

    /// What is allowed and should be known: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.tls.is_none() {
            warnings.push(
                "insecure = true: readings leave this node in plain text and unsigned; whoever is on the way can read \
                 and forge them"
                    .to_owned(),
            );
        }
        let interval_ms = self.sample_interval_ms;
        if interval_ms > SAMPLE_INTERVAL_UNADVISED_MS {
            warnings.push(format!(
                "sample_interval: {interval_ms} ms needs longest_gap = \"{}ms\" or more in the collector's \
                 configuration (default 10s); below it, late samples leave their time unmonitored",
                interval_ms * 5 / 2
            ));
        }
        warnings
    }
}

fn tls_files(given: &Given) -> Result<Files, ConfigError> {
    let file = |key| given.required(key)?.parse(path);
    Ok(Files { ca: file(Key::TlsCa)?, certificate: file(Key::TlsCertificate)?, key: file(Key::TlsKey)? })
}

/// The name that was given, or the host's own.
fn node_name(given: &Given) -> Result<NodeName, ConfigError> {
    if let Some(setting) = given.get(Key::Node) {
        return setting.parse(|text| NodeName::new(text).map_err(|error| error.to_string()));
    }
    NodeName::new(&host::hostname()).map_err(|error| ConfigError::Default {
        key: Key::Node.name(),
        message: format!("the host's own name cannot be used ({error}); set this key"),
    })
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty; expected a path".to_owned()) } else { Ok(text.into()) }
}

fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|_| format!("{text:?} is not a level; expected error, warn, info, debug or trace"))
}

#[cfg(test)]
mod tests;
