//! Whether the system has put a GPU to sleep. Asking such a GPU anything wakes it up, and asking it
//! every second keeps a laptop's or a workstation's battery and fan busy for nothing.
//!
//! Only GPUs whose power the kernel manages by itself (`power/control` is `auto`) can be asleep; for all
//! others nothing is looked up.

use std::path::{Path, PathBuf};

/// Where Linux lists devices by their address.
const DEVICES: &str = "/sys/bus/pci/devices";

/// Where to look, for a GPU that can sleep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sleep(Option<PathBuf>);

impl Sleep {
    /// For the GPU at this address as NVML writes it, `00000000:3B:00.0`.
    pub fn of(pci_bus_id: Option<&str>) -> Self {
        Self::under(Path::new(DEVICES), pci_bus_id)
    }

    fn under(devices: &Path, pci_bus_id: Option<&str>) -> Self {
        let power = pci_bus_id.and_then(address).map(|address| devices.join(address).join("power"));
        let managed = |power: &PathBuf| says(&power.join("control"), "auto");
        Self(power.filter(managed).map(|power| power.join("runtime_status")))
    }

    /// Whether it sleeps now.
    pub fn is_asleep(&self) -> bool {
        self.0.as_ref().is_some_and(|status| says(status, "suspended"))
    }
}

fn says(file: &Path, word: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.trim_end() == word)
}

/// Linux writes the domain with four digits, in small letters.
fn address(pci_bus_id: &str) -> Option<String> {
    let (domain, rest) = pci_bus_id.split_once(':')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    Some(format!("{domain:04x}:{}", rest.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nvml.md, row 29.
    #[test]
    fn a_gpu_that_sleeps_is_told_from_one_that_is_awake_or_cannot_sleep() {
        let devices = tempfile::tempdir().unwrap();
        let power = devices.path().join("0000:3b:00.0/power");
        std::fs::create_dir_all(&power).unwrap();
        let set = |file: &str, text: &str| std::fs::write(power.join(file), text).unwrap();
        let asleep = || Sleep::under(devices.path(), Some("00000000:3B:00.0")).is_asleep();
        set("control", "auto\n");
        set("runtime_status", "suspended\n");
        assert!(asleep());
        set("runtime_status", "active\n");
        assert!(!asleep());
        set("control", "on\n");
        set("runtime_status", "suspended\n");
        assert!(!asleep(), "a server's GPU is not looked at again");
        assert!(!Sleep::under(devices.path(), None).is_asleep());
    }
}
