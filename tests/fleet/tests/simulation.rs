//! A thousand seeds of the simulation on SQLite, in parts that run side by side.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use gpuledger_fleet::simulate::{Many, Place, Summary, run_all};
use std::ops::Range;

fn many(seeds: Range<u64>, threads: usize) -> Many {
    Many { seeds, place: Place::Sqlite, copies: true, threads, until_failure: false, keep_events: false }
}

fn simulated(seeds: Range<u64>) -> Summary {
    run_all(&many(seeds, 1), &|_| ()).unwrap()
}

fn every_promise_holds(seeds: Range<u64>) {
    let (from, to) = (seeds.start, seeds.end);
    let summary = simulated(seeds);
    assert_eq!(summary.runs, to - from);
    let told: Vec<String> = summary
        .failures
        .iter()
        .map(|(seed, violated)| {
            let replay = format!("cargo run --release -p gpuledger-fleet -- simulate --seed {seed} --events");
            format!("seed {seed} (`{replay}`):\n   {}", violated.join("\n   "))
        })
        .collect();
    assert!(told.is_empty(), "{} of {} seeds failed\n{}", summary.failing_seeds, to - from, told.join("\n"));
}

macro_rules! seeds {
    ($($name:ident: $range:expr,)*) => {
        $(
            #[test]
            fn $name() {
                every_promise_holds($range);
            }
        )*
    };
}

seeds! {
    every_promise_holds_in_seeds_0_to_124: 0..125,
    every_promise_holds_in_seeds_125_to_249: 125..250,
    every_promise_holds_in_seeds_250_to_374: 250..375,
    every_promise_holds_in_seeds_375_to_499: 375..500,
    every_promise_holds_in_seeds_500_to_624: 500..625,
    every_promise_holds_in_seeds_625_to_749: 625..750,
    every_promise_holds_in_seeds_750_to_874: 750..875,
    every_promise_holds_in_seeds_875_to_999: 875..1_000,
}

#[test]
fn a_seed_replays_exactly_beside_other_threads_too() {
    let alone = simulated(1_000..1_030);
    let together = run_all(&many(1_000..1_030, 3), &|_| ()).unwrap();
    assert_eq!(alone.digest, together.digest);
    assert_eq!(alone.counts, together.counts);
}

#[test]
fn every_kind_of_fault_really_happens() {
    let counts = simulated(2_000..2_120).counts;
    for what in [
        "clock steps",
        "collectors ended in order",
        "commits in doubt",
        "commits lost to a power loss",
        "commits refused as moved",
        "commits that failed",
        "commits that stalled",
        "commits that survived a power loss",
        "counter resets",
        "devices exactly known",
        "devices within bounds",
        "dropped batches",
        "folders copied to another machine",
        "full disks",
        "GPUs moved",
        "kills of agents",
        "kills of collectors",
        "ledgers restored from a backup",
        "links cut",
        "moves to another collector",
        "old spools replayed",
        "partitions",
        "power losses of machines",
        "power losses of the store",
        "reboots",
        "takeovers",
    ] {
        assert!(counts.get(what).is_some_and(|&count| count > 0), "no {what} in {counts:?}");
    }
}
