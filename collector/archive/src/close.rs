//! Moving days that are over out of the store.
//!
//! A day is made as a whole: its rows in the store and those of its current file, merged, become a new
//! file, and one transaction enters that file and deletes the rows. Whatever happens before that
//! transaction leaves the ledger as it was, and at most a file that belongs to nobody.
//!
//! Rows pass through in the order of their keys ([`assemble`]): of the largest day its file's bytes are in
//! memory, and not its rows.

mod assemble;

pub use assemble::{encode, length};

use crate::files::FileFault;
use crate::names::Names;
use crate::stored::{OpenRows, Stored};
use crate::{ArchivedLedger, sha256};
use assemble::{Assembled, Broken, Made, assemble};
use gpuledger_ledger::{
    CommitOutcome, Day, DayFile, FileStatus, GpuHour, LedgerError, NodeHour, PendingFile, Publish, Table,
};
use std::sync::Arc;

const OPERATION: &str = "close a day";
/// Files that are looked for before a place is taken for the wrong one: one or two may be lost.
const LOOKED_FOR_MAX: usize = 8;

/// A day that was moved into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedDay {
    pub table: Table,
    pub day: Day,
    pub version: u32,
    /// Rows in the file.
    pub rows: u64,
    pub bytes: u64,
}

/// What closing came to.
#[derive(Debug, Default)]
pub struct Closing {
    pub closed: Vec<ClosedDay>,
    /// Days that were written to while they were closed: all is as before, the next time takes them.
    pub moved: Vec<(Table, Day)>,
    /// A day whose file is damaged stays as it is and does not keep others from being closed. Any
    /// other failure ends the attempt.
    pub failures: Vec<LedgerError>,
}

enum Outcome {
    Closed(ClosedDay),
    Nothing,
    Moved,
    /// The day's current file cannot be merged with what came later.
    Damaged(LedgerError),
}

impl ArchivedLedger {
    /// Closes every day before this one of which rows lie in the store.
    pub async fn close_days(&self, before: Day, now_ms: u64) -> Closing {
        let mut closing = Closing::default();
        for table in Table::ALL {
            let done = match table {
                Table::GpuHours => self.close_table::<GpuHour>(before, now_ms, &mut closing).await,
                Table::NodeHours => self.close_table::<NodeHour>(before, now_ms, &mut closing).await,
            };
            if let Err(error) = done {
                closing.failures.push(error);
                break;
            }
        }
        closing
    }

    async fn close_table<K: Stored>(
        &self,
        before: Day,
        now_ms: u64,
        closing: &mut Closing,
    ) -> Result<(), LedgerError> {
        let mut names = Arc::default();
        let days = self.store.open_days(K::TABLE, before).await?;
        if !days.is_empty() {
            self.must_be_the_place(K::TABLE).await?;
            self.claim(OPERATION).await?;
        }
        for day in days {
            match self.close_day::<K>(day, now_ms, &mut names).await? {
                Outcome::Closed(day) => closing.closed.push(day),
                Outcome::Nothing => {}
                Outcome::Moved => closing.moved.push((K::TABLE, day)),
                Outcome::Damaged(error) => closing.failures.push(error),
            }
        }
        Ok(())
    }

    /// No file is written where none of the ledger's files are: that is another place than theirs, or
    /// one that is not mounted, and reports would miss the one or the other.
    async fn must_be_the_place(&self, table: Table) -> Result<(), LedgerError> {
        let mut current = self.store.files().await?;
        current.retain(|file| file.table == table && file.status == FileStatus::Current);
        current.sort_by_key(|file| std::cmp::Reverse(file.since_ms));
        current.truncate(LOOKED_FOR_MAX);
        for file in &current {
            if !self.files.is_missing(&file.path).await {
                return Ok(());
            }
        }
        let Some(newest) = current.first() else { return Ok(()) };
        let fault = FileFault::Wrong(
            "is missing, and so are those before it: set the place where the files of closed days are, and \
             see that it is mounted"
                .to_owned(),
        );
        Err(fault.of(OPERATION, self.files.place(&newest.path)))
    }

    async fn close_day<K: Stored>(
        &self,
        day: Day,
        now_ms: u64,
        names: &mut Arc<Names>,
    ) -> Result<Outcome, LedgerError> {
        let Some((open, current)) = K::open(&*self.store, day).await? else { return Ok(Outcome::Nothing) };
        let file = self.store.begin_file(K::TABLE, day, now_ms).await?;
        let mut made = self.make::<K>(&file, open, current.as_ref(), names, true).await;
        if let Ok(None) = &made {
            // The register of a large fleet is large; for one day after another it is mostly the same.
            *names = Arc::new(Names::read(&*self.store).await?);
            let Some((open, now_current)) = K::open(&*self.store, day).await? else {
                self.abandon(&file).await;
                return Ok(Outcome::Moved);
            };
            if now_current != current {
                self.abandon(&file).await;
                return Ok(Outcome::Moved);
            }
            made = self.make::<K>(&file, open, current.as_ref(), names, false).await;
        }
        let made = match made {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(Outcome::Moved),
            Err(broken) => {
                self.abandon(&file).await;
                return match broken {
                    Broken::Store(error) => Err(error),
                    Broken::New(fault) => Err(fault.of(OPERATION, self.files.place(&file.path))),
                    Broken::Current(fault) => {
                        let place =
                            current.map(|current| self.files.place(&current.path)).unwrap_or_default();
                        Ok(Outcome::Damaged(fault.of(OPERATION, place)))
                    }
                };
            }
        };
        self.publish(file, current, made, now_ms).await
    }

    /// Writes a file and enters it.
    async fn publish(
        &self,
        file: PendingFile,
        current: Option<DayFile>,
        made: Made,
        now_ms: u64,
    ) -> Result<Outcome, LedgerError> {
        let (bytes, sha256) = (length(&made.bytes), sha256(&made.bytes));
        if let Err(fault) = self.files.write(&file.path, made.bytes).await {
            self.abandon(&file).await;
            return Err(fault.of(OPERATION, self.files.place(&file.path)));
        }
        let publish = Publish {
            file: file.clone(),
            replaces: current.map_or(0, |file| file.version),
            bytes,
            sha256,
            sums: made.sums,
            rows: made.taken,
            now_ms,
        };
        match self.store.publish(publish).await {
            Ok(CommitOutcome::Committed) => {
                let (table, day, version) = (file.table, file.day, file.version);
                Ok(Outcome::Closed(ClosedDay { table, day, version, rows: made.sums.rows, bytes }))
            }
            Ok(CommitOutcome::Moved) => {
                self.abandon(&file).await;
                Ok(Outcome::Moved)
            }
            Err(error) => {
                self.settle(&file).await;
                Err(error)
            }
        }
    }

    /// Reads the file that is current and makes the next; `None` where a row has no name here.
    async fn make<K: Stored>(
        &self,
        file: &PendingFile,
        open: OpenRows<K>,
        current: Option<&DayFile>,
        names: &Arc<Names>,
        all_must_be_named: bool,
    ) -> Result<Option<Made>, Broken> {
        let before = match current {
            Some(current) => Some(self.verified::<K>(current).await.map_err(Broken::Current)?),
            None => None,
        };
        let (file, names) = (file.clone(), Arc::clone(names));
        let work = move || assemble(&file, open, before, &names, all_must_be_named);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Assembled::Made(made))) => Ok(Some(made)),
            Ok(Ok(Assembled::Unnamed)) => Ok(None),
            Ok(Err(broken)) => Err(broken),
            Err(error) => Err(Broken::New(FileFault::Unwritable(error.to_string()))),
        }
    }

    /// Takes back a file unless it was entered all the same and only the answer was lost. Forgotten, it
    /// cannot be entered any more; so where the ledger does not know it then, nobody ever will. Without
    /// this, a store that refuses a day would get a file more with every attempt.
    async fn settle(&self, file: &PendingFile) {
        if self.store.forget_files(std::slice::from_ref(&file.path)).await.is_err() {
            return;
        }
        if let Ok(known) = self.store.files().await
            && known.iter().all(|known| known.path != file.path)
        {
            // What stays is named by `gc`.
            let _ = self.files.remove(&file.path).await;
        }
    }

    /// Takes back a file that will not be entered: nobody else knows its name. The entry goes last, so
    /// that `gc` finds what could not be removed.
    async fn abandon(&self, file: &PendingFile) {
        if self.files.remove(&file.path).await.is_ok() {
            let _ = self.store.forget_files(std::slice::from_ref(&file.path)).await;
        }
    }
}
