//! What a chain counts through restarts, resets, gaps, clock steps and late data.

use super::*;
use proptest::prelude::*;

const GAP_MS: u64 = 10_000;
/// Some day in 2026.
const T: u64 = 1_790_000_000_000;

fn origin(epoch: u128) -> Origin {
    Origin { epoch: Epoch(Uuid::from_u128(epoch)), boot: Some(Uuid::from_u128(1)), longest_gap_ms: GAP_MS }
}

fn counter(at_ms: u64, mj: u64) -> Point {
    Point { at_ms: T + at_ms, boot_ms: at_ms, counter_mj: Some(mj), integrated_mj: None, counterless: false }
}

fn integrated(at_ms: u64, mj: u64) -> Point {
    Point { at_ms: T + at_ms, boot_ms: at_ms, counter_mj: None, integrated_mj: Some(mj), counterless: true }
}

/// Time and energy that a run of samples adds: (ms, counted, in gaps, estimated).
fn run(memory: &mut DeviceMemory, points: &[(u128, Point)]) -> (u64, u64, u64, u64) {
    let mut sum = (0, 0, 0, 0);
    for &(epoch, point) in points {
        let step = memory.advance(origin(epoch), point, true);
        sum.0 += step.time.iter().map(|s| s.length()).sum::<u64>();
        for energy in step.energy {
            match (energy.estimated, energy.gap) {
                (true, _) => sum.3 += energy.mj,
                (false, gap) => {
                    sum.1 += energy.mj;
                    sum.2 += if gap { energy.mj } else { 0 };
                }
            }
        }
    }
    sum
}

#[test]
fn the_first_sample_counts_nothing() {
    let mut memory = DeviceMemory::default();
    assert_eq!(run(&mut memory, &[(1, counter(0, 5_000))]), (0, 0, 0, 0));
}

#[test]
fn two_machines_that_take_turns_have_two_counters_and_no_reset() {
    let mut memory = DeviceMemory::default();
    let mut at = |boot: u128, epoch: u128, at_ms: u64, mj: u64| {
        let origin = Origin { boot: Some(Uuid::from_u128(boot)), ..origin(epoch) };
        let step = memory.advance(origin, counter(at_ms, mj), true);
        step.energy.iter().map(|energy| energy.mj).sum::<u64>()
    };
    assert_eq!(at(1, 1, 1_000, 500), 0);
    assert_eq!(at(2, 2, 2_000, 90), 90, "a boot that was not seen before");
    assert_eq!(at(1, 1, 3_000, 520), 20);
    assert_eq!(at(2, 2, 4_000, 100), 10);
    assert_eq!(at(1, 3, 5_000, 521), 1, "also in another run of its agent");
    assert_eq!(at(2, 2, 6_000, 7), 7, "within a boot, a counter that fell was reset");
}

#[test]
fn a_boot_whose_clock_was_set_back_goes_on_from_its_last_run_when_its_turn_comes() {
    let mut memory = DeviceMemory::default();
    let mut at = |boot: u128, epoch: u128, boot_ms: u64, at_ms: u64, mj: u64| {
        let origin = Origin { boot: Some(Uuid::from_u128(boot)), ..origin(epoch) };
        let step = memory.advance(origin, Point { boot_ms, ..counter(at_ms, mj) }, true);
        step.energy.iter().map(|energy| energy.mj).sum::<u64>()
    };
    assert_eq!(at(1, 1, 1_000, 101_000, 7), 0);
    assert_eq!(at(1, 2, 2_000, 90_000, 20), 13, "another run, after the clock was set back");
    assert_eq!(at(2, 3, 1_000, 102_000, 5), 5, "another machine");
    assert_eq!(at(1, 2, 15_000, 103_000, 21), 1);
}

#[test]
fn a_rising_counter_is_counted_to_the_millijoule() {
    let mut memory = DeviceMemory::default();
    let points = [(1, counter(0, 5_000)), (1, counter(1_000, 5_700)), (1, counter(2_000, 5_701))];
    assert_eq!(run(&mut memory, &points), (2_000, 701, 0, 0));
}

#[test]
fn a_restart_of_the_agent_loses_no_energy() {
    let mut memory = DeviceMemory::default();
    let points = [(1, counter(0, 100)), (1, counter(1_000, 200)), (2, counter(4_000, 500))];
    assert_eq!(run(&mut memory, &points), (4_000, 400, 0, 0));
}

#[test]
fn time_between_two_imports_of_power_is_not_observed() {
    let mut memory = DeviceMemory::default();
    let mut import = |epoch, at_ms, mj| {
        let origin = Origin { boot: None, ..origin(epoch) };
        let step = memory.advance(origin, integrated(at_ms, mj), true);
        let energy: u64 = step.energy.iter().map(|e| e.mj).sum();
        (step.time.iter().map(|s| s.length()).sum::<u64>(), energy)
    };
    assert_eq!([import(1, 0, 0), import(1, 1_000, 90)], [(0, 0), (1_000, 90)]);
    assert_eq!([import(2, 4_000, 0), import(2, 5_000, 80)], [(0, 0), (1_000, 80)]);
    // What lies between can still be told later.
    assert_eq!([import(3, 1_000, 0), import(3, 4_000, 300)], [(0, 0), (3_000, 300)]);
}

#[test]
fn energy_over_a_long_gap_is_counted_and_marked_and_its_time_is_not() {
    let mut memory = DeviceMemory::default();
    let points = [(1, counter(0, 100)), (1, counter(1_000, 200)), (2, counter(601_000, 9_200))];
    assert_eq!(run(&mut memory, &points), (1_000, 9_100, 9_000, 0));
}

#[test]
fn a_counter_that_fell_was_reset_and_adds_its_new_value() {
    let mut memory = DeviceMemory::default();
    let points = [(1, counter(0, 9_000)), (1, counter(1_000, 9_500)), (1, counter(2_000, 300))];
    assert_eq!(run(&mut memory, &points), (2_000, 800, 0, 0));
}

#[test]
fn the_tail_that_a_reset_swallowed_is_estimated_from_power() {
    let both = |at, c, i| Point { integrated_mj: Some(i), ..counter(at, c) };
    let mut memory = DeviceMemory::default();
    let points = [(1, both(0, 9_000, 0)), (1, both(1_000, 9_500, 500)), (1, both(2_000, 300, 1_000))];
    assert_eq!(run(&mut memory, &points), (2_000, 800, 0, 200));
}

#[test]
fn after_a_reboot_the_whole_new_value_counts_even_if_it_is_higher() {
    let mut memory = DeviceMemory::default();
    memory.advance(origin(1), counter(0, 100), true);
    let rebooted = Origin { boot: Some(Uuid::from_u128(2)), ..origin(2) };
    let step = memory.advance(rebooted, counter(5_000, 700), true);
    assert_eq!(step.energy.iter().map(|e| e.mj).sum::<u64>(), 700);
}

#[test]
fn what_a_late_boot_has_counted_is_owed_while_its_counter_fails() {
    const LATER: u64 = 1_000_000;
    let of_boot = |boot: u128, epoch| Origin { boot: Some(Uuid::from_u128(boot)), ..origin(epoch) };
    let failed = |at_ms| Point { counter_mj: None, ..counter(at_ms, 0) };
    for failures in [vec![], vec![failed(LATER)], vec![failed(LATER), failed(LATER + 1_000)]] {
        let mut memory = DeviceMemory::default();
        let mut counted = 0;
        let mut take = |boot, epoch, point| {
            let step = memory.advance(of_boot(boot, epoch), point, true);
            counted += step.energy.iter().map(|energy| energy.mj).sum::<u64>();
        };
        take(1, 1, counter(LATER - 1_000, 50));
        // The machine boots with its clock far back, so that its chain is late, and is set right.
        (0..=3).for_each(|n| take(2, 2, counter(n * 1_000, 10 + n * 100)));
        for &point in &failures {
            take(2, 2, point);
        }
        // Another run of the agent, in the same boot.
        take(2, 3, counter(LATER + 2_000, 400));
        assert_eq!(counted, 400, "{} failures", failures.len());
    }
}

#[test]
fn a_counter_that_failed_once_is_waited_for() {
    let failed = Point { counter_mj: None, ..counter(1_000, 0) };
    let mut memory = DeviceMemory::default();
    let points = [(1, counter(0, 100)), (1, failed), (1, counter(2_000, 300))];
    assert_eq!(run(&mut memory, &points), (2_000, 200, 0, 0));
}

#[test]
fn a_counter_that_is_denied_for_a_while_is_replaced_by_power_and_counted_by_nobody_twice() {
    let both = |at, c, i| Point { integrated_mj: Some(i), ..counter(at, c) };
    let mut memory = DeviceMemory::default();
    let points = [
        (1, both(0, 1_000, 0)),
        (1, both(1_000, 1_100, 90)),
        (1, integrated(2_000, 190)),
        (1, integrated(3_000, 280)),
        (1, both(4_000, 1_400, 370)),
        (1, both(5_000, 1_510, 480)),
    ];
    assert_eq!(run(&mut memory, &points), (5_000, 100 + 110, 0, 100 + 90 + 90));
}

#[test]
fn without_a_counter_integrated_energy_is_counted_as_estimated() {
    let mut memory = DeviceMemory::default();
    let points = [
        (1, integrated(0, 0)),
        (1, integrated(1_000, 70)),
        (2, integrated(3_000, 0)),
        (2, integrated(4_000, 9)),
    ];
    assert_eq!(run(&mut memory, &points), (4_000, 0, 0, 79));
}

#[test]
fn a_clock_that_steps_back_counts_no_time_twice_and_loses_no_energy() {
    let mut memory = DeviceMemory::default();
    let points = [
        (1, counter(0, 0)),
        (1, counter(5_000, 50)),
        (1, counter(2_000, 60)),
        (1, counter(4_000, 70)),
        (1, counter(7_000, 90)),
    ];
    assert_eq!(run(&mut memory, &points), (7_000, 90, 0, 0));
}

#[test]
fn an_agent_that_restarts_after_its_clock_came_back_from_the_future_loses_no_energy() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let ahead = |point: Point| Point { at_ms: point.at_ms + YEAR_MS, ..point };
    let mut memory = DeviceMemory::default();
    let points = [
        (1, ahead(counter(0, 100))),
        (1, ahead(counter(1_000, 200))),
        (2, counter(5_000, 600)),
        (2, counter(6_000, 700)),
        (2, counter(7_000, 50)),
    ];
    assert_eq!(run(&mut memory, &points), (3_000, 650, 0, 0));
}

#[test]
fn late_data_fills_unmonitored_time_and_counts_no_bridged_energy_again() {
    let mut memory = DeviceMemory::default();
    let live = [(1, counter(0, 0)), (1, counter(1_000, 10)), (3, counter(60_000, 600))];
    assert_eq!(run(&mut memory, &live), (1_000, 600, 590, 0));
    let late = [(2, counter(10_000, 100)), (2, counter(15_000, 150)), (2, counter(20_000, 200))];
    assert_eq!(run(&mut memory, &late), (10_000, 0, 0, 0));
    assert_eq!(run(&mut memory, &[(3, counter(61_000, 610))]), (1_000, 10, 0, 0));
}

#[test]
fn data_from_before_everything_else_counts_in_full() {
    let mut memory = DeviceMemory::default();
    run(&mut memory, &[(2, counter(100_000, 0)), (2, counter(101_000, 10))]);
    let late = [(1, counter(0, 0)), (1, counter(1_000, 7))];
    assert_eq!(run(&mut memory, &late), (1_000, 7, 0, 0));
}

#[test]
fn overlapping_integrated_data_counts_only_the_part_that_is_new() {
    let mut memory = DeviceMemory::default();
    run(&mut memory, &[(1, integrated(0, 0)), (1, integrated(8_000, 800))]);
    let overlapping = [(2, integrated(4_000, 0)), (2, integrated(10_000, 600)), (2, integrated(12_000, 800))];
    assert_eq!(run(&mut memory, &overlapping), (4_000, 0, 0, 400));
}

proptest! {
    /// Any sequence of waits, restarts, clock steps and resets: the counted energy is the sum of the
    /// increases, and no millisecond of wall-clock time is counted twice.
    #[test]
    fn energy_is_conserved_and_time_counted_once(
        moves in prop::collection::vec((0u64..20_000, 0u64..5_000, 0u8..20), 1..80)
    ) {
        let mut memory = DeviceMemory::default();
        let (mut at, mut value, mut epoch, mut truth) = (100_000_000u64, 1_000u64, 1u128, 0u64);
        let mut uptime = 0;
        let mut sum = run(&mut memory, &[(epoch, Point { boot_ms: uptime, ..counter(at, value) })]);
        let (mut low, mut high) = (at, at);
        for (wait, used, event) in moves {
            let before = value;
            match event {
                0 => at -= wait * 2,                 // the clock steps back
                1 => { at += wait; epoch += 1 }      // the agent restarts
                2 => { at += wait; value = 0 }       // the counter is reset
                _ => at += wait,
            }
            value += used;
            // A reset to a value that is not below the old one cannot be told from use.
            truth += if value < before { value } else { value - before };
            uptime += wait + 1;
            let step = run(&mut memory, &[(epoch, Point { boot_ms: uptime, ..counter(at, value) })]);
            sum = (sum.0 + step.0, sum.1 + step.1, sum.2 + step.2, sum.3 + step.3);
            low = low.min(at);
            high = high.max(at);
        }
        prop_assert_eq!(sum.1, truth);
        prop_assert!(sum.0 <= high - low);
    }
}
