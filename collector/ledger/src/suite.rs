//! The behaviour that every store must show, as one list of cases.
//!
//! A back end gives a [`Bed`] and calls [`ledger_suite!`](crate::ledger_suite), which makes a test
//! of every case:
//!
//! ```ignore
//! gpuledger_ledger::ledger_suite!(MyBed::new());
//! ```

mod commits;
mod register;
pub mod samples;

pub use commits::*;
pub use register::*;

use crate::{LedgerError, Store};
use async_trait::async_trait;

/// A place for one ledger, empty at first.
#[async_trait]
pub trait Bed: Send + Sync {
    /// Opens the ledger that is kept here. What was opened before has been dropped.
    async fn open(&self) -> Result<Box<dyn Store>, LedgerError>;
}

/// What a case ends with: a ledger error where there must be none fails the test.
pub type Outcome = Result<(), LedgerError>;

/// Makes a test of every case, each on a bed of its own.
#[macro_export]
macro_rules! ledger_suite {
    ($bed:expr) => {
        $crate::ledger_suite!(@ $bed;
            a_node_keeps_its_number,
            a_gpu_keeps_its_number_when_it_moves,
            what_a_node_says_of_itself_is_kept_as_said_last,
            owners_keep_their_numbers_and_never_get_a_reserved_one,
            assets_are_replaced_by_serial_all_or_none,
            an_empty_ledger_answers_with_nothing,
            a_commit_is_read_back_as_it_was,
            commits_add_up,
            maxima_know_absence,
            a_moved_version_writes_nothing_of_the_node_and_all_of_the_others,
            a_moved_sequence_writes_nothing,
            version_is_told_before_sequence_and_both_as_moved,
            sequences_count_by_epoch,
            a_commit_without_rows_still_moves_the_sequence,
            a_replayed_commit_is_moved_and_counts_once,
            ranges_are_half_open_and_sorted,
            totals_are_the_sum_of_all_rows,
            a_sum_that_does_not_fit_fails_the_whole_transaction,
            an_hour_that_cannot_be_kept_is_refused_and_nothing_is_written,
            more_memory_than_63_bits_hold_is_kept_exactly,
            everything_is_there_after_reopening,
            two_writers_of_one_node_commit_once,
            a_sound_ledger_has_no_faults,
        );
    };
    (@ $bed:expr; $($case:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bed = $bed;
                if let Err(error) = $crate::suite::$case(&bed).await {
                    panic!("{error}");
                }
            }
        )*
    };
}
