//! The simulation on a real PostgreSQL server: the promises hold there too, and with the same plan
//! every event of a run is the one that it is on SQLite.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use gpuledger_fleet::simulate::{Many, Place, Summary, run_all};
use gpuledger_real_postgres::{Server, shared};
use std::ops::Range;

fn simulated(seeds: Range<u64>, place: Place, threads: usize) -> Summary {
    // Where no files can be copied on one store, none are on the other.
    let many = Many { seeds, place, copies: false, threads, until_failure: false, keep_events: false };
    run_all(&many, &|_| ()).unwrap()
}

/// The server as it is typed.
fn place(server: &Server) -> Place {
    format!("postgres://ledger@127.0.0.1:{}/postgres", server.port()).parse().unwrap()
}

#[test]
fn every_promise_holds_on_postgresql_and_every_run_is_the_same_as_on_sqlite() {
    let Some(server) = shared().unwrap() else { return };
    let here = simulated(0..40, place(server), 2);
    assert!(
        here.failures.is_empty(),
        "{} of {} seeds failed: {:#?}",
        here.failing_seeds,
        here.runs,
        here.failures
    );
    let there = simulated(0..40, Place::Sqlite, 2);
    assert_eq!(here.counts, there.counts);
    assert_eq!(here.digest, there.digest);
    for what in ["takeovers", "commits in doubt", "commits refused as moved", "kills of collectors"] {
        assert!(here.counts.get(what).is_some_and(|&count| count > 0), "no {what} in {:?}", here.counts);
    }
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'sim\\_%'";
    assert_eq!(server.sql(left).unwrap().trim(), "0", "schemas are left behind");
}
