//! A node's simulated GPUs: scenario, library, and the truth about every energy reading.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fake_nvml::{library, truth};

/// A folder with a scenario, the library under NVIDIA's name, and the truth.
#[derive(Debug)]
pub struct FakeNvml {
    folder: PathBuf,
}

/// Milliseconds on the boot clock: `start_boot_ms` of a scenario that all processes share.
pub fn boot_ms() -> i64 {
    fake_nvml::clock::boot_ns() / 1_000_000
}

/// Two GPUs, of which one is cut: for judges who know instances.
pub const CUT: &str = r"
[[gpu]]
count = 2
[[gpu.phase]]
power_mw = 300000
gpu_util = 42
temperature_c = 51
[[mig]]
gpu = 1
instance = [
  { gpu_instance = 1, slices = 4, memory_mib = 40448, memory_used_mib = 1000, sm_active = 80, processes = [{ pid = 1, memory_mib = 900 }] },
  { gpu_instance = 2, slices = 2, memory_mib = 20096, sm_active = 20 },
]
";

impl FakeNvml {
    /// Sets up a folder of its own, which is there as long as what is given with it.
    pub fn alone(scenario: &str) -> Result<(tempfile::TempDir, Self)> {
        let folder = tempfile::tempdir()?;
        let fake = Self::new(folder.path(), scenario)?;
        Ok((folder, fake))
    }

    /// Sets up `folder`, which must exist, with this scenario.
    pub fn new(folder: &Path, scenario: &str) -> Result<Self> {
        let fake = Self { folder: folder.to_owned() };
        fake.rewrite(scenario)?;
        let link = folder.join("libnvidia-ml.so.1");
        std::os::unix::fs::symlink(crate::built::fake_nvml()?, &link)
            .with_context(|| format!("link {}", link.display()))?;
        Ok(fake)
    }

    /// Changes the scenario for processes that start from now on.
    pub fn rewrite(&self, scenario: &str) -> Result<()> {
        let path = self.scenario();
        std::fs::write(&path, scenario).with_context(|| format!("write {}", path.display()))
    }

    /// The library, for `GPULEDGER_NVML_LIBRARY`.
    pub fn library(&self) -> PathBuf {
        self.folder.join("libnvidia-ml.so.1")
    }

    pub fn scenario(&self) -> PathBuf {
        self.folder.join("scenario.toml")
    }

    pub fn truth_file(&self) -> PathBuf {
        self.folder.join("truth")
    }

    /// Lets a command find these GPUs, be it ours or another's, and write the truth about it.
    pub fn attach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_LIBRARY_PATH", &self.folder)
            .env("GPULEDGER_NVML_LIBRARY", self.library())
            .env(library::VARIABLE, self.scenario())
            .env(truth::VARIABLE, self.truth_file())
    }

    /// What each GPU told so far, in the order in which it was told.
    pub fn truth(&self) -> Result<BTreeMap<String, Vec<Told>>> {
        let path = self.truth_file();
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut truth: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        for line in text.lines() {
            let (uuid, told) = parse(line).with_context(|| format!("{}: {line:?}", path.display()))?;
            truth.entry(uuid).or_default().push(told);
        }
        Ok(truth)
    }
}

/// A library of its own for this process, with its scenario beside it: what calls it from inside a test.
pub fn loadable(folder: &Path, scenario: &str) -> Result<PathBuf> {
    let library = folder.join("libnvidia-ml.so.1");
    std::fs::copy(crate::built::fake_nvml()?, &library).context("copy the library")?;
    std::fs::write(folder.join("libnvidia-ml.so.1.toml"), scenario).context("write the scenario")?;
    Ok(library)
}

/// One reading of an energy counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub unix_ns: i64,
    pub boot_ns: i64,
    pub counter_mj: u64,
    /// Resets of the counter so far.
    pub resets: u64,
}

fn parse(line: &str) -> Option<(String, Told)> {
    let mut words = line.split(' ');
    let unix_ns = words.next()?.parse().ok()?;
    let boot_ns = words.next()?.parse().ok()?;
    let uuid = words.next()?.to_owned();
    let counter_mj = words.next()?.parse().ok()?;
    let resets = words.next()?.parse().ok()?;
    Some((uuid, Told { unix_ns, boot_ns, counter_mj, resets }))
}

/// The energy that these readings show: each increase, and after a reset the whole new value.
pub fn energy_mj(told: &[Told]) -> u64 {
    told.windows(2)
        .map(|pair| {
            let (before, after) = (pair[0], pair[1]);
            if after.resets > before.resets { after.counter_mj } else { after.counter_mj - before.counter_mj }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(counter_mj: u64, resets: u64) -> Told {
        Told { unix_ns: 0, boot_ns: 0, counter_mj, resets }
    }

    #[test]
    fn a_reset_adds_the_new_value_even_if_it_is_higher() {
        assert_eq!(energy_mj(&[told(1000, 0), told(1500, 0), told(200, 1), told(300, 1)]), 500 + 200 + 100);
        assert_eq!(energy_mj(&[told(100, 0), told(900, 1)]), 900);
    }

    #[test]
    fn a_line_of_the_truth_is_read() {
        let (uuid, told) = parse("1700000000000000001 5 GPU-1 12 1").unwrap();
        assert_eq!(
            (uuid.as_str(), told.unix_ns, told.counter_mj, told.resets),
            ("GPU-1", 1_700_000_000_000_000_001, 12, 1)
        );
        assert_eq!(parse("1 2 GPU-1 x 0"), None);
    }
}
