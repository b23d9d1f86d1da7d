//! Parts of others that `tests/parts` puts under `target/parts`: NVIDIA's client, its real library,
//! its Python binding, moto and DuckDB. A part that is missing is told in one line, and its test passes.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::built;
use crate::tool::skip;

/// A driver release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12's.
    R535,
    /// Debian 13's.
    R550,
}

impl Release {
    /// The beginning of its version.
    pub fn series(self) -> &'static str {
        match self {
            Self::R535 => "535",
            Self::R550 => "550",
        }
    }
}

/// NVIDIA's own `nvidia-smi`.
pub fn nvidia_smi(release: Release) -> Result<Option<PathBuf>> {
    part(&format!("nvidia/{}/nvidia-smi", release.series()))
}

/// NVIDIA's own `libnvidia-ml.so.1`.
pub fn real_nvml(release: Release) -> Result<Option<PathBuf>> {
    part(&format!("nvidia/{}/libnvidia-ml.so.1", release.series()))
}

/// A Python that has `nvidia-ml-py`.
pub fn python() -> Result<Option<PathBuf>> {
    part("python/bin/python")
}

/// A program of the environment with moto, which answers as S3 does, and DuckDB.
pub fn days(program: &str) -> Result<Option<PathBuf>> {
    part(&format!("days/{program}"))
}

/// Whether the kernel has NVIDIA's driver. Device files say nothing: the library makes them itself.
pub fn driver_is_loaded() -> bool {
    Path::new("/proc/driver/nvidia/version").exists()
}

fn part(path: &str) -> Result<Option<PathBuf>> {
    let whole = built::root()?.join("target/parts").join(path);
    if whole.exists() {
        return Ok(Some(whole));
    }
    skip(&format!("target/parts/{path} is missing (./tests/parts puts it there)"))?;
    Ok(None)
}
