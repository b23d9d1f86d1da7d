//! Sensors that may take long, asked by a thread of their own every five seconds: BMC, ACPI power meter,
//! CPU temperatures. A sample takes what was told last, and nothing that is older than half a minute.

use super::dcmi;
use gpuledger_proto::reading::{Absence, Reading};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where the kernel has them.
pub const HWMON: &str = "/sys/class/hwmon";
const ASK_EVERY: Duration = Duration::from_secs(5);
const FRESH: Duration = Duration::from_secs(30);
const STACK_BYTES: usize = 128 * 1024;

/// What a node's power is read from, with its code in `node_power_source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Bmc = 1,
    AcpiMeter = 2,
}

/// What sensors told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub power_mw: Reading<i64>,
    pub source: Option<Source>,
    pub temperature_cpu_mc: Reading<i64>,
}

impl Told {
    fn absent(reason: Absence) -> Self {
        Self { power_mw: Reading::Absent(reason), source: None, temperature_cpu_mc: Reading::Absent(reason) }
    }
}

/// The newest answers. The thread ends when this is dropped.
#[derive(Debug, Clone)]
pub struct Sensors(Arc<Mutex<(Told, Option<Instant>)>>);

impl Sensors {
    pub fn start(hwmon: PathBuf) -> std::io::Result<Self> {
        let shared = Arc::new(Mutex::new((Told::absent(Absence::Pending), None)));
        let board = Arc::downgrade(&shared);
        let body = move || {
            while told(&board, &hwmon) {
                std::thread::sleep(ASK_EVERY);
            }
        };
        std::thread::Builder::new().name("sensors".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self(shared))
    }

    pub fn read(&self) -> Told {
        let (told, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) if at.elapsed() > FRESH => Told::absent(Absence::Stale),
            _ => told,
        }
    }
}

/// Asks once; `false` when nobody listens any more.
fn told(board: &Weak<Mutex<(Told, Option<Instant>)>>, hwmon: &Path) -> bool {
    if board.strong_count() == 0 {
        return false;
    }
    let told = ask(hwmon, dcmi::read(&dcmi::DEVICES, &dcmi::TOOLS));
    let Some(board) = board.upgrade() else { return false };
    *board.lock().unwrap_or_else(PoisonError::into_inner) = (told, Some(Instant::now()));
    true
}

fn ask(hwmon: &Path, bmc: Reading<i64>) -> Told {
    let monitors: Vec<(String, PathBuf)> = std::fs::read_dir(hwmon)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("name")).ok()?;
            Some((name.trim().to_owned(), entry.path()))
        })
        .collect();
    let meter = acpi_meter(&monitors);
    let (power_mw, source) = match (bmc, meter) {
        (Reading::Value(_), _) => (bmc, Some(Source::Bmc)),
        (_, Reading::Value(_)) => (meter, Some(Source::AcpiMeter)),
        // A BMC that is there and may not be asked is what would help most.
        (Reading::Absent(Absence::Unsupported), meter) => (meter, None),
        (bmc, _) => (bmc, None),
    };
    Told { power_mw, source, temperature_cpu_mc: hottest_cpu(&monitors).into() }
}

/// The one meter of the whole system. Meters of modules, as Grace has them, measure parts.
fn acpi_meter(monitors: &[(String, PathBuf)]) -> Reading<i64> {
    let whole = |(name, folder): &&(String, PathBuf)| {
        name == "power_meter"
            && !folder.join("power1_oem_info").exists()
            && !folder.join("device/power1_oem_info").exists()
    };
    let meters: Vec<_> = monitors.iter().filter(whole).collect();
    let [(_, folder)] = meters.as_slice() else { return Reading::Absent(Absence::Unsupported) };
    let files = ["power1_average", "power1_input", "device/power1_average"].map(|file| folder.join(file));
    let Some(file) = files.iter().find(|file| file.exists()) else {
        return Reading::Absent(Absence::Unsupported);
    };
    number(file).map(|microwatts| microwatts / 1_000).into()
}

/// The hottest sensor of all CPUs.
fn hottest_cpu(monitors: &[(String, PathBuf)]) -> Result<i64, Absence> {
    let cpus =
        monitors.iter().filter(|(name, _)| ["coretemp", "k10temp", "zenpower"].contains(&name.as_str()));
    let sensors = cpus.flat_map(|(_, folder)| (1..=256).map(|n| folder.join(format!("temp{n}_input"))));
    let readings = sensors.filter(|file| file.exists()).filter_map(|file| number(&file).ok());
    readings.max().ok_or(Absence::Unsupported)
}

fn number(file: &Path) -> Result<i64, Absence> {
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Absence::NoPermission,
        _ => Absence::Failed,
    })?;
    text.trim().parse().map_err(|_| Absence::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    const NO_BMC: Reading<i64> = Reading::Absent(Absence::Unsupported);

    #[test]
    fn the_bmc_stands_before_the_acpi_meter() {
        let files = [("hwmon0/name", "power_meter\n"), ("hwmon0/power1_average", "412000000\n")];
        let folder = machine(&files);
        let told = ask(folder.path(), NO_BMC);
        assert_eq!((told.power_mw, told.source), (Reading::Value(412_000), Some(Source::AcpiMeter)));
        let told = ask(folder.path(), Reading::Value(430_000));
        assert_eq!((told.power_mw, told.source), (Reading::Value(430_000), Some(Source::Bmc)));
        let denied = Reading::Absent(Absence::NoPermission);
        assert_eq!(ask(machine(&[]).path(), denied).power_mw, denied);
    }

    #[test]
    fn meters_of_modules_are_not_the_node() {
        let files = [
            ("hwmon0/name", "power_meter"),
            ("hwmon0/power1_average", "412000000"),
            ("hwmon0/power1_oem_info", "Module Power Socket 0"),
        ];
        assert_eq!(ask(machine(&files).path(), NO_BMC).power_mw, NO_BMC);
    }

    #[test]
    fn the_hottest_cpu_sensor_is_told_and_other_sensors_are_not() {
        let files = [
            ("hwmon0/name", "coretemp"),
            ("hwmon0/temp1_input", "41000"),
            ("hwmon1/name", "coretemp"),
            ("hwmon1/temp3_input", "67000"),
            ("hwmon2/name", "nvme"),
            ("hwmon2/temp1_input", "90000"),
        ];
        assert_eq!(ask(machine(&files).path(), NO_BMC).temperature_cpu_mc, Reading::Value(67_000));
        assert_eq!(ask(machine(&[]).path(), NO_BMC).temperature_cpu_mc, NO_BMC);
    }

    #[test]
    fn nothing_was_told_before_the_first_answer() {
        let sensors = Sensors(Arc::new(Mutex::new((Told::absent(Absence::Pending), None))));
        assert_eq!(sensors.read().power_mw, Reading::Absent(Absence::Pending));
        drop(sensors);
    }
}
