//! The behaviour that every store must show, as one list of cases.
//!
//! A back end gives a [`Bed`] and calls [`ledger_suite!`](crate::ledger_suite), which makes a test
//! of every case:
//!
//! ```ignore
//! gpuledger_ledger::ledger_suite!(MyBed::new());
//! ```

mod commits;
mod days;
mod holders;
mod register;
pub mod samples;
mod streams;
mod transfer;

pub use commits::*;
pub use days::*;
pub use holders::*;
pub use register::*;
pub use streams::*;
pub use transfer::*;

use crate::{LedgerError, Store};
use async_trait::async_trait;

/// A place for two ledgers, empty at first.
#[async_trait]
pub trait Bed: Send + Sync {
    /// Opens the ledger that is kept here. What was opened before has been dropped.
    async fn open(&self) -> Result<Box<dyn Store>, LedgerError>;
    /// Opens the other ledger, which has nothing in common with the first.
    async fn open_second(&self) -> Result<Box<dyn Store>, LedgerError>;
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
            numbers_that_the_ledger_never_gave_are_moved_and_hold_up_nobody,
            ranges_are_half_open_and_sorted,
            totals_are_the_sum_of_all_rows,
            a_sum_that_does_not_fit_fails_the_whole_transaction,
            an_hour_that_cannot_be_kept_is_refused_and_nothing_is_written,
            more_memory_than_63_bits_hold_is_kept_exactly,
            everything_is_there_after_reopening,
            the_size_on_the_disk_is_told,
            two_writers_of_one_node_commit_once,
            a_sound_ledger_has_no_faults,
            a_gpu_is_taken_over_with_the_memory_of_its_chain,
            a_takeover_of_what_has_moved_writes_nothing,
            rows_of_a_gpu_that_another_node_holds_are_not_written,
            a_takeover_meets_a_commit_of_the_node_that_loses,
            a_node_that_never_committed_can_lose_its_gpus,
            of_two_nodes_that_take_a_gpu_at_once_one_has_it,
            an_epoch_belongs_to_the_node_that_committed_first,
            a_published_day_leaves_the_store,
            files_are_given_for_the_days_of_a_range,
            a_store_alone_refuses_to_read_closed_days,
            a_row_that_changed_since_it_was_read_is_not_published,
            a_row_that_came_since_stays_in_the_store,
            a_newer_file_supersedes_the_current_one,
            a_second_writer_of_a_day_displaces_the_first,
            a_writer_whose_entry_was_cleared_away_publishes_nothing,
            only_pending_and_superseded_files_are_forgotten,
            a_version_is_never_given_again,
            an_expired_day_leaves_its_totals,
            open_days_are_those_before_a_day_oldest_first,
            rows_and_files_are_of_one_moment,
            only_the_gpus_that_are_wanted_are_read,
            the_archives_location_is_kept,
            a_stream_goes_day_by_day_in_bounded_pieces,
            a_stream_gives_the_wanted_gpus_and_hours_only,
            a_stream_is_of_the_moment_in_which_it_began,
            a_stream_that_is_dropped_holds_nothing,
            what_is_copied_is_equal_and_goes_on,
            one_row_makes_two_ledgers_different,
            an_export_is_in_order_and_ends_with_its_count,
            a_ledger_that_is_not_empty_takes_no_import,
            an_import_that_is_cut_off_leaves_nothing,
            an_identity_is_given_once_and_not_to_a_copy,
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
