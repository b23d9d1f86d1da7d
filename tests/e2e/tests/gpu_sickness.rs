//! GPUs that fall ill, over the simulated library and through the real calls: each costs only itself, is
//! down with its reason, and is picked up when it is well again, without a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gpuledger_agent::collect::gpu::LibraryFault;
use gpuledger_agent::collect::gpu::keeper::{Keeper, Pauses};
use gpuledger_agent::collect::gpu::nvml::NvmlOpener;
use gpuledger_agent::collect::gpu::roster::{GpuReport, Roster};
use gpuledger_agent::collect::workload::Workload;
use gpuledger_agent::events::Counters;
use gpuledger_e2e::fake::{boot_ms, loadable};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::frame::{Holding, Owner, OwnerKind, Share};
use gpuledger_proto::reading::{Absence, Reading};
use tempfile::TempDir;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a GPU may take for its sample.
const SAMPLE: Duration = Duration::from_millis(800);

/// Each process is held by a user of its number.
struct ByProcess;

impl Workload for ByProcess {
    fn holding(&mut self, processes: Reading<Vec<u32>>) -> Reading<Holding> {
        processes.map(|pids| {
            let owner = |pid: &u32| Owner {
                kind: OwnerKind::User,
                account: String::new(),
                name: pid.to_string(),
                job: String::new(),
            };
            pids.iter().take(1).map(|pid| Share { owner: owner(pid), share_ppm: 1_000_000 }).collect()
        })
    }
}

/// A roster over a library that runs a scenario which begins now.
struct Node {
    roster: Roster,
    _folder: TempDir,
}

impl Node {
    fn new(scenario: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // The clock goes on whatever becomes of the library.
        let scenario = format!("[clock]\nstart_boot_ms = {}\n{scenario}", boot_ms());
        let path = Some(loadable(folder.path(), &scenario)?);
        let pauses = Pauses {
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_millis(100),
            rescan: Duration::from_millis(100),
        };
        let keeper = Keeper::start(NvmlOpener { path }, pauses)?;
        let mut roster = Roster::new(keeper, Box::new(|_| Box::new(ByProcess)), Arc::<Counters>::default());
        roster.settle(PATIENCE);
        Ok(Self { roster, _folder: folder })
    }

    fn sample(&mut self) -> Vec<GpuReport> {
        self.roster.begin();
        self.roster.finish(Instant::now() + SAMPLE)
    }

    /// Samples until the condition holds.
    fn until(&mut self, what: &str, holds: impl Fn(&[GpuReport], &Roster) -> bool) -> Result<Vec<GpuReport>> {
        let started = Instant::now();
        loop {
            let reports = self.sample();
            if holds(&reports, &self.roster) {
                return Ok(reports);
            }
            let seen: Vec<_> = reports.iter().map(|r| (r.up, power(r))).collect();
            ensure!(started.elapsed() < PATIENCE, "not seen: {what}; the last sample was {seen:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn uuids(&self) -> Vec<&str> {
        self.roster.gpus().map(|gpu| gpu.uuid.as_str()).collect()
    }
}

fn power(report: &GpuReport) -> Option<Reading<i64>> {
    report.readings.get(metric::GPU_POWER_AVERAGE)
}

fn is_down(report: &GpuReport, reason: Absence) -> bool {
    !report.up && power(report) == Some(Reading::Absent(reason))
}

fn all_up(reports: &[GpuReport], count: usize) -> bool {
    reports.len() == count && reports.iter().all(|report| report.up)
}

/// One of three GPUs is ill for a while; the others are up in every sample.
fn one_falls_ill(fault: &str, reason: Absence) -> Result<()> {
    let mut node =
        Node::new(&format!("[[gpu]]\ncount = 3\n[[fault]]\ngpu = 1\nfrom_ms = 3000\nto_ms = 6000\n{fault}"))?;
    node.until("all are up", |reports, _| all_up(reports, 3))?;
    let started = Instant::now();
    let (mut was_down, mut back) = (false, false);
    while !back && started.elapsed() < PATIENCE {
        let reports = node.sample();
        ensure!(reports[0].up && reports[2].up, "its neighbours suffer");
        was_down |= is_down(&reports[1], reason);
        back = was_down && reports[1].up;
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(was_down && back, "down with its reason: {was_down}, back: {back}");
    Ok(())
}

/// nvml.md, row 16.
#[test]
fn a_lost_gpu_is_down_its_neighbours_go_on_and_it_is_picked_up() -> Result<()> {
    one_falls_ill("kind = \"answer\"\ncode = \"GPU_IS_LOST\"", Absence::Lost)
}

/// nvml.md, row 16: 999 concerns one GPU.
#[test]
fn a_gpu_that_answers_unknown_error_to_everything_is_down_and_picked_up() -> Result<()> {
    one_falls_ill("kind = \"answer\"\ncode = \"UNKNOWN\"", Absence::Failed)
}

/// nvml.md, row 17.
#[test]
fn a_gpu_that_hangs_in_the_driver_is_down_and_picked_up() -> Result<()> {
    one_falls_ill("kind = \"block\"", Absence::TimedOut)
}

#[test]
fn a_gpu_that_answers_nonsense_is_down_until_it_speaks_sense() -> Result<()> {
    let mut node = Node::new(
        "[[gpu]]\n[[gpu]]\n[[gpu.phase]]\nms = 3000\ntemperature_c = 4000\nsm_mhz = 4000000000\ngpu_util = 4000000000\n\
         [[gpu.phase]]\nms = 80000000\npower_mw = 100000",
    )?;
    let reports = node.until("nonsense is not believed", |r, _| is_down(&r[1], Absence::Failed))?;
    ensure!(reports[0].up);
    node.until("it speaks sense", |reports, _| all_up(reports, 2))?;
    Ok(())
}

/// nvml.md, rows 16 and 20: the library is useless until the driver fits it, and is opened again by itself.
#[test]
fn a_driver_that_is_upgraded_or_reloaded_takes_all_gpus_down_and_they_come_back() -> Result<()> {
    for (code, fault) in [
        ("LIB_RM_VERSION_MISMATCH", LibraryFault::VersionMismatch),
        ("DRIVER_NOT_LOADED", LibraryFault::DriverNotLoaded),
    ] {
        let mut node = Node::new(&format!(
            "[[gpu]]\ncount = 2\n[[fault]]\nkind = \"answer\"\ncode = \"{code}\"\nfrom_ms = 2000\nto_ms = 4000"
        ))?;
        node.until("both are up", |reports, _| all_up(reports, 2))?;
        let reports = node.until(code, |_, roster| roster.fault() == Some(&fault))?;
        ensure!(reports.len() == 2 && reports.iter().all(|report| !report.up));
        node.until("both are back", |reports, roster| all_up(reports, 2) && roster.fault().is_none())?;
    }
    Ok(())
}

/// The driver starts anew between two and three seconds; what it finds then is another matter.
const RELOADED: &str =
    "[[fault]]\nkind = \"answer\"\ncode = \"UNINITIALIZED\"\nfrom_ms = 2000\nto_ms = 3000\n";

/// nvml.md, row 18.
#[test]
fn no_gpu_after_having_had_eight_is_a_failure_and_all_come_back() -> Result<()> {
    let mut node = Node::new(&format!(
        "[[gpu]]\ncount = 8\n{RELOADED}[[fault]]\nkind = \"hidden\"\nfrom_ms = 1000\nto_ms = 6000"
    ))?;
    node.until("eight are up", |reports, _| all_up(reports, 8))?;
    let reports = node.until("none is there", |_, roster| roster.fault() == Some(&LibraryFault::NoGpus))?;
    ensure!(reports.len() == 8 && reports.iter().all(|report| !report.up), "they are still expected");
    node.until("eight are back", |reports, _| all_up(reports, 8))?;
    Ok(())
}

/// nvml.md, row 25: the key is the UUID, and the address tells what stands in whose place.
#[test]
fn another_gpu_in_the_same_slot_takes_the_place_of_the_one_before() -> Result<()> {
    let mut node = Node::new(&format!(
        "[[gpu]]\nuuid = \"GPU-old\"\npci_bus = 0x1b\n[[gpu]]\nuuid = \"GPU-other\"\npci_bus = 0x1c\n\
         [[gpu]]\nuuid = \"GPU-new\"\npci_bus = 0x1b\n{RELOADED}\
         [[fault]]\nkind = \"hidden\"\ngpu = 0\nfrom_ms = 1500\n[[fault]]\nkind = \"hidden\"\ngpu = 2\nto_ms = 1500"
    ))?;
    node.until("both are up", |reports, _| all_up(reports, 2))?;
    ensure!(node.uuids() == ["GPU-old", "GPU-other"]);
    node.until("the new one answers", |reports, roster| {
        all_up(reports, 2) && roster.gpus().any(|gpu| gpu.uuid.as_str() == "GPU-new")
    })?;
    ensure!(node.uuids() == ["GPU-new", "GPU-other"], "{:?}", node.uuids());
    Ok(())
}

#[test]
fn a_gpu_that_is_unplugged_keeps_its_place_and_is_down() -> Result<()> {
    let mut node = Node::new(&format!(
        "[[gpu]]\ncount = 3\n{RELOADED}[[fault]]\nkind = \"hidden\"\ngpu = 1\nfrom_ms = 1500"
    ))?;
    node.until("all are up", |reports, _| all_up(reports, 3))?;
    let reports = node.until("one is gone", |reports, _| {
        reports[0].up && reports[2].up && is_down(&reports[1], Absence::Lost)
    })?;
    ensure!(reports.len() == 3);
    Ok(())
}

/// nvml.md, rows 9 and 10: with MIG the driver stops telling utilisation, and instance numbers are reused.
#[test]
fn mig_is_switched_on_cut_anew_and_off_without_a_restart() -> Result<()> {
    let mut node = Node::new(
        "[[gpu]]\n[[gpu.phase]]\npower_mw = 300000\ngpu_util = 50\n\
         [[mig]]\ngpu = 0\nfrom_ms = 4000\ninstance = [\
         { gpu_instance = 1, slices = 4, memory_mib = 40448, sm_active = 80, processes = [{ pid = 11 }] },\
         { gpu_instance = 2, slices = 2, memory_mib = 20224, sm_active = 20 }]\n\
         [[mig]]\ngpu = 0\nfrom_ms = 10000\ninstance = [{ gpu_instance = 1, slices = 7, memory_mib = 80000, sm_active = 50 }]\n\
         [[mig]]\ngpu = 0\nfrom_ms = 16000\noff = true",
    )?;
    let busy = |reports: &[GpuReport]| reports[0].readings.get(metric::GPU_UTILIZATION);
    node.until("it tells utilisation", |reports, _| busy(reports) == Some(Reading::Value(500_000)))?;
    let sm = |roster: &Roster, at: usize| roster.instances(0)[at].readings.get(metric::GPU_SM_ACTIVE);
    let reports = node.until("two instances", |_, roster| {
        roster.instances(0).len() == 2 && sm(roster, 0) == Some(Reading::Value(800_000))
    })?;
    ensure!(busy(&reports) == Some(Reading::Absent(Absence::Unsupported)));
    ensure!(reports[0].readings.get(metric::GPU_MIG_INSTANCES) == Some(Reading::Value(2)));
    let shares: Vec<_> = node.roster.instances(0).iter().filter_map(|i| i.share_ppm.value()).collect();
    ensure!(shares.len() == 2 && shares.iter().sum::<u32>() <= 1_000_000, "{shares:?}");
    let holders = reports[0].holding.clone().value().unwrap_or_default();
    ensure!(holders.iter().map(|share| share.share_ppm).sum::<u32>() == 1_000_000, "{holders:?}");
    ensure!(
        holders.iter().any(|share| share.owner.name == "11" && share.share_ppm == shares[0]),
        "{holders:?}"
    );

    node.until("one instance, under a number that another had", |_, roster| {
        roster.instances(0).len() == 1 && sm(roster, 0) == Some(Reading::Value(500_000))
    })?;
    node.until("MIG is off", |reports, roster| {
        roster.instances(0).is_empty() && busy(reports) == Some(Reading::Value(500_000))
    })?;
    Ok(())
}

/// nvml.md, row 23: events come by the driver, from registration on.
#[test]
fn an_xid_of_the_driver_is_counted_by_its_code_with_the_time_it_was_seen() -> Result<()> {
    let mut node = Node::new("[[gpu]]\ncount = 2\n[[xid]]\ngpu = 1\nat_ms = 3000\ncode = 79")?;
    let events = |report: &GpuReport, id| report.readings.get(id);
    node.until("somebody listens", |r, _| {
        r.iter().all(|report| events(report, metric::GPU_XID_EVENTS) == Some(Reading::Value(0)))
    })?;
    let reports = node.until("the event", |reports, _| {
        events(&reports[1], metric::GPU_XID_79) == Some(Reading::Value(1))
    })?;
    ensure!(events(&reports[1], metric::GPU_XID_EVENTS) == Some(Reading::Value(1)));
    ensure!(events(&reports[1], metric::GPU_XID_LAST) == Some(Reading::Value(79)));
    ensure!(
        events(&reports[1], metric::GPU_XID_LAST_SEEN)
            .is_some_and(|seen| seen.value() > Some(1_700_000_000_000))
    );
    ensure!(events(&reports[0], metric::GPU_XID_EVENTS) == Some(Reading::Value(0)), "its neighbour's count");
    Ok(())
}

/// nvml.md, row 22.
#[test]
fn the_call_that_blocks_is_never_made() -> Result<()> {
    let mut node =
        Node::new("[[gpu]]\n[[fault]]\nkind = \"block\"\ncalls = [\"nvmlDeviceGetPcieThroughput\"]")?;
    for _ in 0..3 {
        let reports = node.until("it answers", |reports, _| all_up(reports, 1))?;
        ensure!(matches!(reports[0].readings.get(metric::GPU_PCIE_SENT), Some(Reading::Value(_))));
    }
    Ok(())
}
