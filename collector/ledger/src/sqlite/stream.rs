//! Rows of GPUs out of the store, piece by piece, all from one moment.
//!
//! Keys sort by hour first, a stream goes by GPU within a day. So a slice of the GPUs is read at a time:
//! in each hour of the day it is one range of keys.

use super::rows::{GPU_HOUR, HourRow as _};
use super::{SqliteLedger, days, key, read};
use crate::stream::{self, Gone, GpuHourSender, GpuHourStream};
use crate::{
    Day, DayFile, GpuHour, GpuHourKey, GpuHours, Hour, HourRange, LedgerError, PIECE_ROWS, Table, Wanted,
};
use rusqlite::Connection;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;

const OPERATION: &str = "read GPU hours";
/// GPUs of which the rows of a day are held at a time: 25,000 rows, or 4 MB, where each had one owner.
const SLICE_GPUS: u32 = 1_024;

type Files = oneshot::Sender<Vec<DayFile>>;

impl SqliteLedger {
    /// Rows that lie in the store and the current files, from one moment.
    pub(super) async fn stream(&self, wanted: &Wanted) -> Result<(GpuHourStream, Vec<DayFile>), LedgerError> {
        // Where another file came in the ledger's place, it is opened by this.
        self.read(OPERATION, |_| Ok(())).await?;
        let (to, mut rows) = stream::gpu_hours(OPERATION);
        let (files_to, files) = oneshot::channel();
        let (readers, wanted) = (Arc::clone(&self.readers), wanted.clone());
        let out = to.clone();
        let job = move |connection: &Connection| {
            send(connection, &wanted, files_to, &out).map_err(super::fault::at(OPERATION))
        };
        tokio::spawn(async move {
            let outcome = match read::run(readers, OPERATION, job).await {
                read::Read::Done(outcome) => outcome,
                read::Read::Unsettled(_) => Err(LedgerError::Replaced { operation: OPERATION }),
            };
            to.finish(outcome).await;
        });
        match files.await {
            Ok(files) => Ok((rows, files)),
            // It ended before it began: the stream says why.
            Err(_) => match rows.next().await {
                Err(error) => Err(error),
                Ok(_) => Err(LedgerError::Replaced { operation: OPERATION }),
            },
        }
    }
}

/// Gives the files, then sends the rows. Ends early where nobody takes them.
fn send(
    connection: &Connection,
    wanted: &Wanted,
    files_to: Files,
    to: &GpuHourSender,
) -> rusqlite::Result<()> {
    let moment = connection.unchecked_transaction()?;
    if files_to.send(days::current(&moment, Table::GpuHours, wanted.range)?).is_err() {
        return Ok(());
    }
    let given: Option<u32> = moment.query_row("SELECT max(key) FROM gpu", [], |row| row.get(0))?;
    let slices = wanted.slices(given.unwrap_or_default(), SLICE_GPUS);
    for day in days::open_days(&moment, Table::GpuHours, wanted.range)? {
        for slice in &slices {
            if send_slice(&moment, day, slice, wanted, to)? == Err(Gone) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn send_slice(
    moment: &Connection,
    day: Day,
    gpus: &Range<u32>,
    wanted: &Wanted,
    to: &GpuHourSender,
) -> rusqlite::Result<Result<(), Gone>> {
    let HourRange { from, to: end } = day.hours();
    let hours = from.0.max(wanted.range.from.0)..end.0.min(wanted.range.to.0);
    let mut statement = moment.prepare_cached(&GPU_HOUR.select())?;
    let mut rows: Vec<(GpuHourKey, GpuHour)> = Vec::new();
    for hour in hours {
        let mut found = statement.query(key::of_gpus(Hour(hour), gpus))?;
        while let Some(row) = found.next()? {
            let key = key::of_gpu_row(row.get(0)?);
            if wanted.has(key.gpu) {
                rows.push((key, GpuHour::from_row(row)?));
            }
        }
    }
    rows.sort_unstable_by_key(|(key, _)| (key.gpu, key.hour, key.owner));
    Ok(rows.chunks(PIECE_ROWS).try_for_each(|piece| to.send_blocking(GpuHours::of(day, piece))))
}
