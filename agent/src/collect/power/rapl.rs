//! Energy counters of CPU packages, memory and platform (RAPL), by `/sys/class/powercap`.
//!
//! A zone counts microjoules and wraps at its own range: every eleven minutes for a package at 400 W. A
//! counter that fell has wrapped where that means no more power than any zone can draw, and else was reset
//! (by suspend, or a driver that was loaded again): then what it shows was used since. The files belong to
//! root since 2020, because fine power readings leak secrets of other processes.

use gpuledger_proto::reading::{Absence, Reading};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the kernel has the zones.
pub const POWERCAP: &str = "/sys/class/powercap";

/// More than any package, memory or platform of one zone draws.
const ZONE_POWER_MAX_UW: u128 = 20_000_000_000;

/// What a zone measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    Package,
    Memory,
    Platform,
}

#[derive(Debug)]
struct Zone {
    domain: Domain,
    file: PathBuf,
    range_uj: u128,
    last: Option<(u64, u128)>,
}

/// All zones of this machine, and what they have counted since the first reading.
#[derive(Debug)]
pub struct Rapl {
    zones: Vec<Zone>,
    counted_uj: [u128; 3],
}

impl Rapl {
    pub fn new(powercap: &Path) -> Self {
        let entries = std::fs::read_dir(powercap).into_iter().flatten().flatten();
        let mut zones: Vec<Zone> = entries.filter_map(|entry| zone(&entry.path())).collect();
        zones.sort_by(|a, b| a.file.cmp(&b.file));
        Self { zones, counted_uj: [0; 3] }
    }

    /// The energy of a domain since the first reading, in millijoules. All its zones, or none.
    pub fn read(&mut self, domain: Domain, boot_ms: u64) -> Reading<u64> {
        self.sum(domain, boot_ms).into()
    }

    fn sum(&mut self, domain: Domain, boot_ms: u64) -> Result<u64, Absence> {
        let mut zones = self.zones.iter_mut().filter(|zone| zone.domain == domain).peekable();
        zones.peek().ok_or(Absence::Unsupported)?;
        let counted = &mut self.counted_uj[domain as usize];
        for zone in zones {
            *counted = counted.saturating_add(zone.used_uj(boot_ms)?);
        }
        u64::try_from(*counted / 1_000).map_err(|_| Absence::Failed)
    }
}

impl Zone {
    /// What was used since the reading before.
    fn used_uj(&mut self, boot_ms: u64) -> Result<u128, Absence> {
        let text = std::fs::read_to_string(&self.file).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Absence::NoPermission,
            ErrorKind::NotFound => Absence::Unsupported,
            _ => Absence::Failed,
        })?;
        let now: u128 = text.trim().parse().map_err(|_| Absence::Failed)?;
        let Some((since_ms, before)) = self.last.replace((boot_ms, now)) else { return Ok(0) };
        if let Some(used) = now.checked_sub(before) {
            return Ok(used);
        }
        let span_ms = u128::from(boot_ms.saturating_sub(since_ms));
        let wrapped = self.range_uj.saturating_sub(before).saturating_add(now);
        let plausible = wrapped <= span_ms.saturating_mul(ZONE_POWER_MAX_UW / 1_000);
        Ok(if plausible { wrapped } else { now })
    }
}

fn zone(folder: &Path) -> Option<Zone> {
    let name = std::fs::read_to_string(folder.join("name")).ok()?;
    let domain = match name.trim() {
        "psys" => Domain::Platform,
        "dram" => Domain::Memory,
        name if name.starts_with("package-") => Domain::Package,
        _ => return None,
    };
    // The same zones by a second way in would count everything twice.
    if folder.file_name()?.to_str()?.starts_with("intel-rapl-mmio") {
        return None;
    }
    let range = std::fs::read_to_string(folder.join("max_energy_range_uj")).ok()?;
    Some(Zone { domain, file: folder.join("energy_uj"), range_uj: range.trim().parse().ok()?, last: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(zones: &[(&str, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for (folder, name) in zones {
                let folder = machine.0.path().join(folder);
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("name"), format!("{name}\n")).unwrap();
                std::fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
                std::fs::write(folder.join("energy_uj"), "1000000\n").unwrap();
            }
            machine
        }

        fn count(&self, folder: &str, energy_uj: u64) {
            std::fs::write(self.0.path().join(folder).join("energy_uj"), energy_uj.to_string()).unwrap();
        }

        fn rapl(&self) -> Rapl {
            Rapl::new(self.0.path())
        }
    }

    #[test]
    fn packages_are_summed_and_memory_and_platform_are_their_own() {
        let machine = Machine::new(&[
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:0:0", "dram"),
            ("intel-rapl:0:1", "core"),
            ("intel-rapl-mmio:0", "package-0"),
        ]);
        let mut rapl = machine.rapl();
        assert_eq!(rapl.read(Domain::Package, 0), Reading::Value(0));
        machine.count("intel-rapl:0", 3_000_000);
        machine.count("intel-rapl:1", 1_500_500);
        machine.count("intel-rapl-mmio:0", 3_000_000);
        assert_eq!(rapl.read(Domain::Package, 1_000), Reading::Value(2_500));
        machine.count("intel-rapl:1", 1_501_000);
        assert_eq!(rapl.read(Domain::Package, 2_000), Reading::Value(2_501), "fractions are kept");
        assert_eq!(rapl.read(Domain::Memory, 2_000), Reading::Value(0));
        assert_eq!(rapl.read(Domain::Platform, 2_000), Reading::Absent(Absence::Unsupported));
    }

    #[test]
    fn a_counter_wraps_at_its_own_range_and_a_reset_is_no_wrap() {
        let machine = Machine::new(&[("intel-rapl:0", "package-0")]);
        machine.count("intel-rapl:0", 262_143_000_000);
        let mut rapl = machine.rapl();
        rapl.read(Domain::Package, 0);
        machine.count("intel-rapl:0", 671_150);
        assert_eq!(rapl.read(Domain::Package, 5_000), Reading::Value(1_000), "328,850 + 671,150 µJ");
        // From 671,150 to 500,000 around the whole range in a second would be 262 kW.
        machine.count("intel-rapl:0", 500_000);
        assert_eq!(rapl.read(Domain::Package, 6_000), Reading::Value(1_500));
    }

    #[test]
    fn a_counter_that_cannot_be_read_makes_the_whole_domain_absent() {
        let machine = Machine::new(&[("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1")]);
        std::fs::write(machine.0.path().join("intel-rapl:1/energy_uj"), "none").unwrap();
        assert_eq!(machine.rapl().read(Domain::Package, 0), Reading::Absent(Absence::Failed));
        std::fs::remove_file(machine.0.path().join("intel-rapl:1/energy_uj")).unwrap();
        assert_eq!(machine.rapl().read(Domain::Package, 0), Reading::Absent(Absence::Unsupported));
    }
}
