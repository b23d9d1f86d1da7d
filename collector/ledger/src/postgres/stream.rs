//! Rows of GPUs out of the database, piece by piece, all from one moment.
//!
//! A slice of the GPUs of a day is read at a time and sorted here: the server would sort the day on disk.

use super::fault::Fault;
use super::numbers::stored;
use super::pool::in_transaction;
use super::read::{bounds, gpu_hour, take_apart};
use super::rows::GPU_HOUR;
use super::{PostgresLedger, days};
use crate::sqlite::key;
use crate::stream::{self, Gone, GpuHourSender, GpuHourStream};
use crate::{Day, DayFile, GpuHour, GpuHourKey, GpuHours, HourRange, LedgerError, PIECE_ROWS, Table, Wanted};
use deadpool_postgres::Transaction;
use std::ops::Range;
use tokio::sync::oneshot;

const OPERATION: &str = "read GPU hours";
/// GPUs of which the rows of a day are held at a time: 25,000 rows, or 4 MB, where each had one owner.
const SLICE_GPUS: u32 = 1_024;

type Files = oneshot::Sender<Vec<DayFile>>;

impl PostgresLedger {
    /// Rows that lie in the store and the current files, from one moment. Holds a connection until the
    /// stream ends or is dropped.
    pub(super) async fn stream(&self, wanted: &Wanted) -> Result<(GpuHourStream, Vec<DayFile>), LedgerError> {
        let (to, mut rows) = stream::gpu_hours(OPERATION);
        let (files_to, files) = oneshot::channel();
        let (pool, wanted) = (self.pool.clone(), wanted.clone());
        tokio::spawn(async move {
            let mut files_to = Some(files_to);
            let sent: Result<Result<(), Fault>, Fault> = in_transaction!(&pool, Read, Long, tx => async {
                match send(tx, &wanted, &mut files_to, &to).await {
                    // Once something was given away it cannot be begun again.
                    Err(fault) if files_to.is_none() => Ok::<_, Fault>(Err(fault)),
                    sent => Ok(Ok(sent?)),
                }
            });
            to.finish(sent.flatten().map_err(|fault| fault.during(OPERATION))).await;
        });
        match files.await {
            Ok(files) => Ok((rows, files)),
            // It ended before it began: the stream says why.
            Err(_) => Err(rows.next().await.err().unwrap_or(LedgerError::Failed {
                operation: OPERATION,
                reason: "reading did not begin".to_owned(),
            })),
        }
    }
}

/// Gives the files, then sends the rows. Ends early where nobody takes them.
async fn send(
    tx: &Transaction<'_>,
    wanted: &Wanted,
    files_to: &mut Option<Files>,
    to: &GpuHourSender,
) -> Result<(), Fault> {
    let files = days::current(tx, Table::GpuHours, wanted.range).await?;
    if files_to.take().is_some_and(|to| to.send(files).is_err()) {
        return Ok(());
    }
    let given: Option<i32> = tx.query_one("SELECT max(key) FROM gpu", &[]).await?.try_get(0)?;
    let given = given.and_then(|given| u32::try_from(given).ok()).unwrap_or_default();
    let slices = wanted.slices(given, SLICE_GPUS);
    for day in days::open_days(tx, Table::GpuHours, wanted.range).await? {
        for slice in &slices {
            for piece in rows(tx, day, slice, wanted).await?.chunks(PIECE_ROWS) {
                if to.send(GpuHours::of(day, piece)).await == Err(Gone) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The rows of some GPUs and a day, in the order (GPU, hour, owner).
async fn rows(
    tx: &Transaction<'_>,
    day: Day,
    gpus: &Range<u32>,
    wanted: &Wanted,
) -> Result<Vec<(GpuHourKey, GpuHour)>, Fault> {
    let HourRange { from, to } = day.hours();
    let (from, to) = bounds(HourRange { from: from.max(wanted.range.from), to: to.min(wanted.range.to) })?;
    let sql = GPU_HOUR.sql_select("WHERE hour >= $1 AND hour < $2 AND gpu >= $3 AND gpu < $4");
    let bound = |gpu: u32| stored(gpu.min(1 << key::GPU_BITS));
    let (first, end) = (bound(gpus.start)?, bound(gpus.end)?);
    let mut rows = take_apart(tx, &sql, &[&from, &to, &first, &end], gpu_hour).await?;
    rows.retain(|(key, _)| wanted.has(key.gpu));
    rows.sort_unstable_by_key(|(key, _)| (key.gpu, key.hour, key.owner));
    Ok(rows)
}
