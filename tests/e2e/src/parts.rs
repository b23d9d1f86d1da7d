//! NVIDIA's own client and library, from Debian's non-free section.
//!
//! They are downloaded once into `target/real-parts`, with an apt configuration of their own, and
//! only unpacked: nothing is installed, and the machine's package sources stay as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::built;
use crate::process::run;
use crate::tool::{find, skip};

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A driver release, by the Debian suite that has it.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    pub suite: &'static str,
    /// The beginning of its version.
    pub series: &'static str,
}

pub const R535: Release = Release { suite: "bookworm", series: "535" };
pub const R550: Release = Release { suite: "trixie", series: "550" };

/// An unpacked release.
#[derive(Debug)]
pub struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// `None` after one line where the parts are not there and can't be had.
    pub fn get(release: Release) -> Result<Option<Self>> {
        let folder = built::root()?.join("target/real-parts").join(release.series);
        let parts = Self { folder };
        if parts.nvidia_smi().is_file() && parts.library().is_file() {
            return Ok(Some(parts));
        }
        if find("apt-get", "apt")?.is_none() || find("dpkg-deb", "dpkg")?.is_none() {
            return Ok(None);
        }
        if let Err(why) = parts.download(release) {
            skip(&format!("NVIDIA's {} from Debian {}: {why:#}", release.series, release.suite))?;
            return Ok(None);
        }
        Ok(Some(parts))
    }

    pub fn nvidia_smi(&self) -> PathBuf {
        self.folder.join("usr/lib/nvidia/current/nvidia-smi")
    }

    /// The real `libnvidia-ml.so.1`.
    pub fn library(&self) -> PathBuf {
        self.folder.join("usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1")
    }

    /// The release's version as the library's file name has it, such as `535.261.03`.
    pub fn version(&self) -> Result<String> {
        let target =
            std::fs::read_link(self.library()).context("the library is not a link to its version")?;
        let name = target.to_string_lossy().into_owned();
        name.strip_prefix("libnvidia-ml.so.").map(str::to_owned).context("a library without a version")
    }

    fn download(&self, release: Release) -> Result<()> {
        // Tests run in several processes: each works in a folder of its own, the last move wins.
        let parent = self.folder.parent().context("no folder above")?;
        std::fs::create_dir_all(parent)?;
        let work = tempfile::tempdir_in(parent)?;
        let configuration = configure(work.path(), release)?;
        let apt = || {
            let mut command = Command::new("apt-get");
            command.env("APT_CONFIG", &configuration).current_dir(work.path());
            command
        };
        run(apt().args(["-q", "update"]))?;
        run(apt().args(["-q", "download", "nvidia-smi", "libnvidia-ml1"]))?;
        let unpacked = work.path().join("unpacked");
        for entry in std::fs::read_dir(work.path())? {
            let package = entry?.path();
            if package.extension().is_some_and(|e| e == "deb") {
                run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
            }
        }
        // Fails when another process was first, whose parts are as good.
        let _ = std::fs::rename(&unpacked, &self.folder);
        ensure!(self.nvidia_smi().is_file(), "the packages have no {}", self.nvidia_smi().display());
        Ok(())
    }
}

fn configure(work: &Path, release: Release) -> Result<PathBuf> {
    for part in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(work.join(part))?;
    }
    let sources = work.join("sources.list");
    std::fs::write(&sources, format!("deb [signed-by={KEYS}] {MIRROR} {} non-free\n", release.suite))?;
    let work = work.display();
    let text = format!(
        "Dir::Etc::SourceList \"{}\";\nDir::Etc::SourceParts \"/dev/null\";\n\
         Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
         Dir::State::Lists \"{work}/lists\";\nDir::Cache \"{work}/cache\";\n\
         APT::Sandbox::User \"root\";\nDebug::NoLocking \"true\";\n",
        sources.display()
    );
    let path = PathBuf::from(format!("{work}/apt.conf"));
    std::fs::write(&path, text)?;
    Ok(path)
}
