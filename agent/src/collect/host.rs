//! The host's own readings: CPU, memory, disk, network, load, RAPL's energy counters, what slower sensors told
//! last, and the agent's resident memory.
//!
//! Only what is asked for is refreshed. Counters are the kernel's since boot; the sum over
//! interfaces or disks falls when one of them goes, which is a reset like any other.

use super::power::rapl::{Domain, POWERCAP, Rapl};
use super::power::sensors::{HWMON, Sensors};
use super::{Readings, Source, gpu::Fault};
use crate::clock::{Clock, SystemClock};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::frame::Host;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, RefreshKind, System};

/// Where the kernel tells about this process.
const OWN_STATUS: &str = "/proc/self/status";
/// Its traffic never leaves the machine.
const LOOPBACK: &str = "lo";

/// Reads the host through sysinfo. What sysinfo cannot open on this system is absent.
pub struct HostSource {
    system: Option<System>,
    disks: Option<Disks>,
    networks: Option<Networks>,
    rapl: Rapl,
    /// `None` where the system has no thread left for them.
    sensors: Option<Sensors>,
    /// The share of busy CPU time is a difference of two readings.
    read_before: bool,
}

impl HostSource {
    pub fn new() -> Self {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        Self {
            system: System::new_with_specifics(kinds).ok(),
            disks: Disks::new().ok(),
            networks: Networks::new().ok(),
            rapl: Rapl::new(Path::new(POWERCAP)),
            sensors: Sensors::start(HWMON.into()).ok(),
            read_before: false,
        }
    }

    /// What the host is.
    pub fn describe(&self) -> Host {
        let system = self.system.as_ref();
        Host {
            hostname: hostname(),
            os: System::long_os_version().unwrap_or_default(), // not a measurement
            driver_version: None,
            memory_bytes: system.map(System::total_memory).filter(|&bytes| bytes > 0),
            cpus: system.and_then(|s| u32::try_from(s.cpus().len()).ok()).filter(|&cpus| cpus > 0),
        }
    }

    fn read_system(&mut self, readings: &mut Readings) {
        let Some(system) = &mut self.system else {
            for id in [metric::NODE_CPU, metric::NODE_MEMORY_USED, metric::NODE_MEMORY_TOTAL] {
                readings.put(id, Reading::Absent(Absence::Unsupported));
            }
            return;
        };
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let busy = if self.read_before { ppm(system.global_cpu_usage()) } else { Err(Absence::Pending) };
        readings.put(metric::NODE_CPU, busy.into());
        // sysinfo says zero where it could not read.
        let (total, available) = (system.total_memory(), system.available_memory());
        let known = total > 0;
        let used = total.checked_sub(available).filter(|_| known).ok_or(Absence::Failed);
        readings.put_int(metric::NODE_MEMORY_USED, used.into());
        readings
            .put_int(metric::NODE_MEMORY_TOTAL, Some(total).filter(|_| known).ok_or(Absence::Failed).into());
    }

    fn read_disks(&mut self, readings: &mut Readings) {
        let sums = self.disks.as_mut().and_then(|disks| {
            disks.refresh_specifics(true, DiskRefreshKind::nothing().with_io_usage());
            // A device that is mounted twice is one device.
            let devices: BTreeMap<OsString, (u64, u64)> = disks
                .iter()
                .map(|disk| (disk.name().to_owned(), disk.usage()))
                .map(|(name, usage)| (name, (usage.total_read_bytes, usage.total_written_bytes)))
                .collect();
            sum(devices.into_values())
        });
        put_pair(readings, metric::NODE_DISK_READ, metric::NODE_DISK_WRITTEN, sums);
    }

    fn read_power(&mut self, readings: &mut Readings) {
        let boot_ms = SystemClock.now().boot_ms;
        for (id, domain) in [
            (metric::NODE_ENERGY_CPU, Domain::Package),
            (metric::NODE_ENERGY_MEMORY, Domain::Memory),
            (metric::NODE_ENERGY_PLATFORM, Domain::Platform),
        ] {
            readings.put_int(id, self.rapl.read(domain, boot_ms));
        }
        let Some(told) = self.sensors.as_ref().map(Sensors::read) else {
            readings.put(metric::NODE_POWER, Reading::Absent(Absence::Failed));
            return;
        };
        readings.put(metric::NODE_POWER, told.power_mw);
        if let Some(source) = told.source {
            readings.put(metric::NODE_POWER_SOURCE, Reading::Value(source as i64));
        }
        readings.put(metric::NODE_TEMPERATURE_CPU, told.temperature_cpu_mc);
    }

    fn read_networks(&mut self, readings: &mut Readings) {
        let sums = self.networks.as_mut().and_then(|networks| {
            networks.refresh(true);
            let outside = networks.iter().filter(|(name, _)| *name != LOOPBACK);
            sum(outside.map(|(_, data)| (data.total_received(), data.total_transmitted())))
        });
        put_pair(readings, metric::NODE_NETWORK_RECEIVED, metric::NODE_NETWORK_SENT, sums);
    }
}

impl Default for HostSource {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for HostSource {
    fn read(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        self.read_system(readings);
        self.read_disks(readings);
        self.read_networks(readings);
        self.read_power(readings);
        readings.put(metric::NODE_LOAD, load());
        readings.put_int(metric::NODE_AGENT_MEMORY, resident_bytes(Path::new(OWN_STATUS)));
        self.read_before = true;
        Ok(())
    }
}

/// The kernel's name for this machine.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The sums of pairs, or nothing where there is no pair: no device is not zero bytes.
fn sum(pairs: impl Iterator<Item = (u64, u64)>) -> Option<(u64, u64)> {
    pairs.reduce(|a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)))
}

fn put_pair(
    readings: &mut Readings,
    first: gpuledger_proto::catalogue::MetricId,
    second: gpuledger_proto::catalogue::MetricId,
    sums: Option<(u64, u64)>,
) {
    let sums = sums.ok_or(Absence::Unsupported);
    readings.put_int(first, sums.map(|s| s.0).into());
    readings.put_int(second, sums.map(|s| s.1).into());
}

/// Percent to parts per million.
fn ppm(percent: f32) -> Result<i64, Absence> {
    if !(0.0..=100.0).contains(&percent) {
        return Err(Absence::Failed);
    }
    #[allow(clippy::cast_possible_truncation, reason = "between 0 and 1,000,000, as just checked")]
    Ok((f64::from(percent) * 10_000.0).round() as i64)
}

/// The kernel's first figure, which it gives with two decimals.
fn load() -> Reading<i64> {
    let text = std::fs::read_to_string("/proc/loadavg").map_err(|_| Absence::Failed);
    text.and_then(|text| parse_load(&text).ok_or(Absence::Failed)).into()
}

/// `0.52 0.58 0.59 1/1234 5678` in millionths.
fn parse_load(text: &str) -> Option<i64> {
    let (whole, part) = text.split(' ').next()?.split_once('.')?;
    let hundredths: i64 = part.parse().ok().filter(|_| part.len() == 2)?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(hundredths * 10_000)
}

/// `VmRSS:      5120 kB`
fn resident_bytes(status: &Path) -> Reading<u64> {
    let text = std::fs::read_to_string(status).map_err(|_| Absence::Failed);
    let parsed = text.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or(Absence::Unsupported)?;
        let kibibytes: u64 =
            line.trim().trim_end_matches("kB").trim().parse().map_err(|_| Absence::Failed)?;
        kibibytes.checked_mul(1_024).ok_or(Absence::Failed)
    });
    parsed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_reads_what_every_linux_has_and_cpu_from_the_second_time_on() {
        let mut host = HostSource::new();
        let mut first = Readings::default();
        host.read(&mut first).unwrap();
        assert_eq!(first.get(metric::NODE_CPU), Some(Reading::Absent(Absence::Pending)));
        std::thread::sleep(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL);
        let mut second = Readings::default();
        host.read(&mut second).unwrap();

        let value = |id| second.get(id).and_then(Reading::value).unwrap();
        assert!((0..=1_000_000).contains(&value(metric::NODE_CPU)));
        assert!(value(metric::NODE_MEMORY_USED) > 0);
        assert!(value(metric::NODE_MEMORY_USED) < value(metric::NODE_MEMORY_TOTAL));
        assert!(value(metric::NODE_AGENT_MEMORY) > 100_000);
        let facts = host.describe();
        assert_eq!(facts.memory_bytes.unwrap(), u64::try_from(value(metric::NODE_MEMORY_TOTAL)).unwrap());
        assert!(!facts.hostname.is_empty() && facts.cpus.unwrap() > 0);
    }

    #[test]
    fn no_device_is_not_zero_bytes() {
        assert_eq!(sum(std::iter::empty()), None);
        assert_eq!(sum([(1, 2), (3, 4)].into_iter()), Some((4, 6)));
        let mut readings = Readings::default();
        put_pair(&mut readings, metric::NODE_DISK_READ, metric::NODE_DISK_WRITTEN, None);
        assert_eq!(readings.get(metric::NODE_DISK_READ), Some(Reading::Absent(Absence::Unsupported)));
    }

    #[test]
    fn the_load_is_read_exactly_and_nonsense_is_none() {
        assert_eq!(parse_load("12.05 0.58 0.59 1/1234 5678\n"), Some(12_050_000));
        assert_eq!(parse_load("12 0.58"), None);
        assert_eq!(parse_load("1.5 0.58"), None);
    }

    #[test]
    fn a_share_outside_the_scale_has_failed() {
        assert_eq!(ppm(12.345), Ok(123_450));
        assert_eq!(ppm(f32::NAN), Err(Absence::Failed));
        assert_eq!(ppm(100.5), Err(Absence::Failed));
    }

    #[test]
    fn resident_memory_is_read_in_kibibytes_or_absent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "VmPeak:\t  9000 kB\nVmRSS:\t    5120 kB\n").unwrap();
        assert_eq!(resident_bytes(file.path()), Reading::Value(5_242_880));
        std::fs::write(file.path(), "VmRSS:\tmuch\n").unwrap();
        assert_eq!(resident_bytes(file.path()), Reading::Absent(Absence::Failed));
        assert_eq!(resident_bytes(Path::new("/nonexistent")), Reading::Absent(Absence::Failed));
    }
}
