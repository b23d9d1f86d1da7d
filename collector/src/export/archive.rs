//! What becomes of closed days. Without a keeper there are no samples.

use super::families::{
    ARCHIVE_EXPIRED, ARCHIVE_LAST_SUCCESS, ARCHIVE_REMOVED, ARCHIVE_ROUNDS, ARCHIVE_ROWS, ARCHIVE_UNKNOWN,
    ARCHIVE_WRITTEN, ARCHIVE_WRITTEN_BYTES, Family,
};
use super::labels::Block;
use super::text::Text;
use gpuledger_archive::KeeperStatus;
use gpuledger_proto::catalogue::Unit;
use std::io;

/// Asks the keeper of closed days what it has done.
pub type KeeperView = Box<dyn Fn() -> KeeperStatus + Send + Sync>;

pub fn render(text: &mut Text<'_>, status: &KeeperStatus) -> io::Result<()> {
    text.family(&ARCHIVE_ROUNDS, |samples| {
        samples.integer(Block::NONE, &[("outcome", "done")], status.rounds - status.rounds_failed)?;
        samples.integer(Block::NONE, &[("outcome", "failed")], status.rounds_failed)
    })?;
    let numbers: [(&Family, u64); 6] = [
        (&ARCHIVE_WRITTEN, status.files_written),
        (&ARCHIVE_ROWS, status.rows_written),
        (&ARCHIVE_WRITTEN_BYTES, status.bytes_written),
        (&ARCHIVE_REMOVED, status.files_removed),
        (&ARCHIVE_EXPIRED, status.files_expired),
        (&ARCHIVE_UNKNOWN, status.files_unknown),
    ];
    for (family, number) in numbers {
        text.family(family, |samples| samples.integer(Block::NONE, &[], number))?;
    }
    text.family(&ARCHIVE_LAST_SUCCESS, |samples| {
        let Some(last_ms) = status.last_success_ms else { return Ok(()) };
        samples.scaled_with(Block::NONE, &[], last_ms.into(), Unit::Millis.base_decimals())
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{assert_lines, written};
    use super::*;

    pub fn sample() -> KeeperStatus {
        KeeperStatus {
            rounds: 12,
            rounds_failed: 2,
            files_written: 4,
            rows_written: 3_840_000,
            bytes_written: 90_000_000,
            files_unknown: 1,
            last_success_ms: Some(1_795_000_000_500),
            ..KeeperStatus::default()
        }
    }

    #[test]
    fn what_the_keeper_has_done_is_told() {
        assert_lines(
            &written(|text| render(text, &sample())),
            &[
                r#"gpuledger_archive_rounds_total{outcome="done"} 10"#,
                r#"gpuledger_archive_rounds_total{outcome="failed"} 2"#,
                "gpuledger_archive_files_written_total 4",
                "gpuledger_archive_rows_written_total 3840000",
                "gpuledger_archive_written_bytes_total 90000000",
                "gpuledger_archive_files_removed_total 0",
                "gpuledger_archive_files_unknown 1",
                "gpuledger_archive_last_success_timestamp_seconds 1795000000.5",
            ],
        );
    }

    #[test]
    fn a_round_that_never_succeeded_has_no_time() {
        assert!(!written(|text| render(text, &KeeperStatus::default())).contains("last_success"));
    }
}
