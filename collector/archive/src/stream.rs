//! Hours of GPUs as a stream: the rows of files and those that lie in the store, read as one.
//!
//! ```text
//! names of the files ─▶ fetch, a few ahead ─▶ decode ─┐
//!                                                     ├─▶ merge by day ─▶ pieces
//! rows that lie in the store ─────────────────────────┘
//! ```
//!
//! Both are of one moment. Where a file is gone that was current then, another has taken its place, by a
//! `gc` without grace: what was given so far is of a moment that cannot be read to its end, and whoever
//! reads begins anew ([`LedgerError::Superseded`]). One that is current still is lost.

use crate::ArchivedLedger;
use crate::archived::LOST;
use crate::files::{FileFault, Files};
use crate::merge::Merge;
use crate::read::{self, Asked, Batches, Fetched, Rows, gpu_hours};
use crate::stored::{of_gpu, to_gpu};
use crate::table::Row;
use futures_util::{StreamExt as _, stream};
use gpuledger_ledger::stream::{self as hours, GpuHourSender};
use gpuledger_ledger::{
    Columns, Day, DayFile, FileStatus, GpuHour, GpuHourStream, GpuHours, LedgerError, PIECE_ROWS, Store,
    Wanted,
};
use std::sync::Arc;
use tokio::sync::mpsc;

const OPERATION: &str = "read hours of GPUs";
/// Files that are fetched ahead: enough to hide how far away an object store is. Of a day of 10,000
/// GPUs 4 MB are fetched for a report of energy.
const FILES_AHEAD: usize = 3;

impl ArchivedLedger {
    pub(crate) async fn stream(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        let (open, files) = self.store.open_gpu_hours(wanted).await?;
        let subjects = wanted.gpus.as_ref().map(|gpus| Arc::new(gpus.iter().map(|gpu| gpu.0).collect()));
        let asked = Asked { range: wanted.range, subjects, columns: wanted.columns };
        let (to, rows) = hours::gpu_hours(OPERATION);
        let (fetched_to, fetched) = mpsc::channel(1);
        let places = self.files.clone();
        let fetching = fetch(Arc::clone(&self.store), places.clone(), files, asked.clone(), fetched_to);
        tokio::spawn(fetching);
        let merging = Merging { to: to.clone(), fetched, open, late: None, places, asked };
        tokio::task::spawn_blocking(move || to.finish_blocking(merging.run()));
        Ok(rows)
    }
}

type Sent = Result<Fetched, LedgerError>;

/// Fetches files in their order, a few ahead, until nobody takes them.
async fn fetch(
    store: Arc<dyn Store>,
    places: Files,
    files: Vec<DayFile>,
    asked: Asked,
    to: mpsc::Sender<Sent>,
) {
    // For merging it takes every key.
    let asked = Asked { columns: asked.columns.and(Columns::KEYS), ..asked };
    let reading = stream::iter(files).map(|file| async {
        let path = file.path.clone();
        match read::fetch::<GpuHour>(&places, file, &asked).await {
            Ok(fetched) => Ok(fetched),
            Err(fault) => Err((path, fault)),
        }
    });
    let mut ahead = reading.buffered(FILES_AHEAD);
    while let Some(done) = ahead.next().await {
        let sent = match done {
            Ok(fetched) => Ok(fetched),
            Err((path, FileFault::Missing)) => Err(missing(&*store, &places, path).await),
            Err((path, fault)) => Err(fault.of(OPERATION, places.place(&path))),
        };
        if to.send(sent).await.is_err() {
            return;
        }
    }
}

/// Why a file is not there.
async fn missing(store: &dyn Store, places: &Files, path: String) -> LedgerError {
    match store.files().await {
        Ok(files) if files.iter().any(|file| file.status == FileStatus::Current && file.path == path) => {
            FileFault::Wrong(LOST.to_owned()).of(OPERATION, places.place(&path))
        }
        Ok(_) => LedgerError::Superseded { operation: OPERATION, file: places.place(&path) },
        Err(error) => error,
    }
}

/// Both sources, while they are merged on a thread of their own.
struct Merging {
    to: GpuHourSender,
    fetched: mpsc::Receiver<Sent>,
    open: GpuHourStream,
    /// The piece of open rows that was taken last and has not been given on.
    late: Option<GpuHours>,
    places: Files,
    asked: Asked,
}

/// Nobody takes any more; or what has failed.
enum Stop {
    Gone,
    Failed(LedgerError),
}

impl From<hours::Gone> for Stop {
    fn from(_: hours::Gone) -> Self {
        Self::Gone
    }
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error)
    }
}

impl Merging {
    fn run(mut self) -> Result<(), LedgerError> {
        match self.merge() {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn merge(&mut self) -> Result<(), Stop> {
        self.late = self.open.next_blocking()?;
        while let Some(sent) = self.fetched.blocking_recv() {
            let fetched = sent?;
            let file = fetched.file.clone();
            self.give_open(Some(file.day))?;
            let has_late = self.late.as_ref().is_some_and(|late| late.day == file.day);
            let columns = if has_late { self.asked.columns.and(Columns::KEYS) } else { self.asked.columns };
            let asked = Asked { columns, ..self.asked.clone() };
            let fault = |fault: FileFault| fault.of(OPERATION, self.places.place(&file.path));
            let mut batches = fetched.batches::<GpuHour>(&asked).map_err(fault)?;
            if has_late {
                self.merge_day(&file, batches)?;
                continue;
            }
            while let Some(batch) = batches.next().map_err(fault)? {
                self.to.send_blocking(gpu_hours(file.day, batch))?;
            }
        }
        self.give_open(None)
    }

    /// Gives on the open rows of days before this one; of all days where none is given.
    fn give_open(&mut self, before: Option<Day>) -> Result<(), Stop> {
        while let Some(late) = self.late.take_if(|late| before.is_none_or(|before| late.day < before)) {
            self.to.send_blocking(late)?;
            self.late = self.open.next_blocking()?;
        }
        Ok(())
    }

    /// A day that has a file, and rows in the store that came later.
    fn merge_day(&mut self, file: &DayFile, batches: Batches<GpuHour>) -> Result<(), Stop> {
        let place = self.places.place(&file.path);
        let archived =
            Rows::new(file.day, batches).map(|row| row.map_err(|fault| fault.of(OPERATION, place.clone())));
        let late = Late {
            day: file.day,
            open: &mut self.open,
            waiting: &mut self.late,
            rows: Vec::new().into_iter(),
        };
        let mut merged = Vec::with_capacity(PIECE_ROWS);
        for row in Merge::new(late, archived) {
            if merged.len() == PIECE_ROWS {
                self.to.send_blocking(GpuHours::of(file.day, &merged))?;
                merged.clear();
            }
            merged.push(to_gpu(row?));
        }
        Ok(self.to.send_blocking(GpuHours::of(file.day, &merged))?)
    }
}

/// The rows of a day that lie in the store.
struct Late<'a> {
    day: Day,
    open: &'a mut GpuHourStream,
    waiting: &'a mut Option<GpuHours>,
    rows: std::vec::IntoIter<Row<GpuHour>>,
}

impl Iterator for Late<'_> {
    type Item = Result<Row<GpuHour>, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            let late = self.waiting.take_if(|late| late.day == self.day)?;
            let rows: Vec<_> = late.iter().map(|(key, row)| of_gpu(key, row)).collect();
            self.rows = rows.into_iter();
            match self.open.next_blocking() {
                Ok(next) => *self.waiting = next,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
