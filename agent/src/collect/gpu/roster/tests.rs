//! Rosters over a simulated library whose GPUs fail, hang, panic and come back.

use super::super::keeper::Pauses;
use super::super::simulated::{Machine, Mood};
use super::*;
use gpuledger_proto::catalogue as metric;

/// Long enough for a loaded machine, and only waited for by what is made to hang.
pub const PATIENCE: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(400);

struct Nobody;

impl Workload for Nobody {
    fn holding(&mut self, _processes: Reading<Vec<u32>>) -> Reading<Holding> {
        Reading::Value(Vec::new())
    }
}

pub fn roster(machine: &Machine) -> Roster {
    let pauses = Pauses {
        retry_first: Duration::from_millis(1),
        retry_max: Duration::from_millis(2),
        rescan: Duration::from_millis(1),
    };
    let keeper = Keeper::start(machine.clone(), pauses).unwrap();
    let mut roster = Roster::new(keeper, Box::new(|_| Box::new(Nobody)), Arc::default());
    roster.settle(PATIENCE);
    roster
}

pub fn sample(roster: &mut Roster, patience: Duration) -> Vec<GpuReport> {
    roster.begin();
    roster.finish(Instant::now() + patience)
}

/// Samples until the condition holds: what other threads have to notice takes some samples.
pub fn until(
    roster: &mut Roster,
    what: &str,
    holds: impl Fn(&[GpuReport], &Roster) -> bool,
) -> Vec<GpuReport> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let reports = sample(roster, IMPATIENCE);
        if holds(&reports, roster) {
            return reports;
        }
    }
    panic!("not seen: {what}");
}

fn power(report: &GpuReport) -> Option<Reading<i64>> {
    report.readings.get(metric::GPU_POWER_AVERAGE)
}

const LOST: Mood = Mood::Sick(Fault::Gpu(Absence::Lost));

#[test]
fn a_lost_gpu_is_down_with_its_reason_and_is_picked_up_when_it_is_back() {
    let machine = Machine::with(&[("GPU-a", Mood::Well(100)), ("GPU-b", Mood::Well(200))]);
    let mut roster = roster(&machine);
    assert!(sample(&mut roster, PATIENCE).iter().all(|report| report.up));

    machine.set("GPU-a", LOST);
    let reports = sample(&mut roster, PATIENCE);
    assert!(!reports[0].up && reports[1].up);
    assert!(metrics_of_a_gpu().all(|id| reports[0].readings.get(id) == Some(Reading::Absent(Absence::Lost))));
    assert_eq!(reports[0].holding, Reading::Absent(Absence::Lost));
    assert_eq!(power(&reports[1]), Some(Reading::Value(200)));

    machine.set("GPU-a", Mood::Well(300));
    let reports = sample(&mut roster, PATIENCE);
    assert_eq!(power(&reports[0]), Some(Reading::Value(300)));
    assert_eq!(roster.counters.read().gpus_down, 1);
}

#[test]
fn a_gpu_that_hangs_costs_only_itself_and_is_picked_up_when_it_answers() {
    let machine = Machine::with(&[("GPU-a", Mood::Hangs), ("GPU-b", Mood::Well(200))]);
    let mut roster = roster(&machine);
    for _ in 0..3 {
        let reports = sample(&mut roster, IMPATIENCE);
        assert_eq!((reports[0].up, power(&reports[0])), (false, Some(Reading::Absent(Absence::TimedOut))));
        assert_eq!(power(&reports[1]), Some(Reading::Value(200)));
    }
    machine.set("GPU-a", Mood::Well(100));
    let reports = until(&mut roster, "the GPU answers", |reports, _| reports[0].up);
    assert_eq!(power(&reports[0]), Some(Reading::Value(100)));
    assert_eq!(roster.counters.read().gpus_down, 1);
}

#[test]
fn a_gpu_whose_every_reading_fails_is_down() {
    let machine = Machine::with(&[("GPU-a", Mood::Speechless)]);
    assert!(!sample(&mut roster(&machine), PATIENCE)[0].up);
}

#[test]
fn a_fault_of_the_library_takes_all_gpus_down_and_it_is_opened_again() {
    let machine = Machine::with(&[("GPU-a", Mood::Well(100)), ("GPU-b", Mood::Well(200))]);
    let mut roster = roster(&machine);
    sample(&mut roster, PATIENCE);
    machine.break_library(Some(LibraryFault::DriverNotLoaded));
    let broken = until(&mut roster, "the fault", |_, r| r.fault() == Some(&LibraryFault::DriverNotLoaded));
    assert!(broken.iter().all(|report| !report.up));
    assert_eq!(roster.gpus().count(), 2, "the GPUs are still expected");
    let before = machine.openings();
    machine.break_library(None);
    until(&mut roster, "both GPUs are back", |reports, _| reports.iter().all(|report| report.up));
    assert!(machine.openings() > before);
    assert_eq!(roster.counters.read().library_faults, 1, "told once, however often it was tried");
}

#[test]
fn a_gpu_that_is_plugged_in_later_is_added_at_the_end_and_a_pulled_one_keeps_its_place() {
    let machine = Machine::with(&[("GPU-b", Mood::Well(200))]);
    let mut roster = roster(&machine);
    machine.set("GPU-a", Mood::Well(100));
    until(&mut roster, "the new GPU", |reports, _| reports.len() == 2 && reports[1].up);
    machine.remove("GPU-b");
    let reports = until(&mut roster, "the pulled GPU is down", |reports, _| !reports[0].up);
    assert_eq!(power(&reports[0]), Some(Reading::Absent(Absence::Lost)));
    assert_eq!(power(&reports[1]), Some(Reading::Value(100)));
    let order: Vec<_> = roster.gpus().map(|gpu| gpu.uuid.as_str()).collect();
    assert_eq!(order, ["GPU-b", "GPU-a"]);
}

#[test]
fn no_gpu_at_all_after_having_had_some_leaves_all_of_them_down() {
    let machine = Machine::with(&[("GPU-a", Mood::Well(100))]);
    let mut roster = roster(&machine);
    sample(&mut roster, PATIENCE);
    machine.remove("GPU-a");
    machine.break_library(Some(LibraryFault::Uninitialised));
    until(&mut roster, "the fault", |_, r| r.fault().is_some());
    machine.break_library(None);
    let reports = until(&mut roster, "no GPUs", |_, r| r.fault() == Some(&LibraryFault::NoGpus));
    assert_eq!(reports.len(), 1);
    assert!(!reports[0].up);
}

#[test]
fn a_thread_that_hangs_is_never_joined_by_a_second_one() {
    let machine = Machine::with(&[("GPU-a", Mood::Hangs), ("GPU-b", Mood::Well(200))]);
    let mut roster = roster(&machine);
    sample(&mut roster, IMPATIENCE);
    machine.break_library(Some(LibraryFault::VersionMismatch));
    until(&mut roster, "the fault", |_, r| r.fault().is_some());
    machine.break_library(None);
    until(&mut roster, "the healthy GPU is back", |reports, _| reports[1].up);
    let old = roster.slots[0].worker.as_ref().unwrap();
    assert!(old.is_busy() && old.generation < roster.library.as_ref().unwrap().generation);
    machine.set("GPU-a", Mood::Well(100));
    until(&mut roster, "the other is back on the new library", |reports, _| reports[0].up);
    assert_eq!(
        roster.slots[0].worker.as_ref().unwrap().generation,
        roster.library.as_ref().unwrap().generation
    );
}

#[test]
fn a_library_that_panics_costs_its_gpu_a_sample_and_nothing_else() {
    let machine = Machine::with(&[("GPU-a", Mood::Panics), ("GPU-b", Mood::Well(200))]);
    let mut roster = roster(&machine);
    let reports = sample(&mut roster, IMPATIENCE);
    assert!(!reports[0].up && reports[1].up);
    machine.set("GPU-a", Mood::Well(100));
    let reports = until(&mut roster, "a new thread asks the GPU", |reports, _| reports[0].up);
    assert_eq!(power(&reports[0]), Some(Reading::Value(100)));
}

#[test]
fn a_library_that_hangs_while_it_opens_is_not_waited_for_and_joins_later() {
    let machine = Machine::with(&[("GPU-a", Mood::Well(100))]);
    machine.hang_openings(true);
    let keeper = Keeper::start(machine.clone(), Pauses::default()).unwrap();
    let mut roster = Roster::new(keeper, Box::new(|_| Box::new(Nobody)), Arc::default());
    roster.settle(Duration::from_millis(20));
    assert_eq!(roster.fault(), Some(&LibraryFault::Hangs));
    assert!(sample(&mut roster, PATIENCE).is_empty());
    machine.hang_openings(false);
    until(&mut roster, "the GPU joins", |reports, _| reports.len() == 1 && reports[0].up);
    assert_eq!(roster.fault(), None);
}
