//! Closed days: each file is what the manifest says, and its rows count with those of the store.

use super::PromiseCheck;
use super::content::Content;
use super::faults::Faults;
use async_trait::async_trait;
use gpuledger_ledger::{Day, DayFile, DayRows, FileStatus, Hour, LedgerError, Store, Sums, Table};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Pieces of a file that wait while others are added up.
const PIECES_WAITING: usize = 2;

/// A ledger to check.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub store: &'a dyn Store,
    /// The files of its closed days; `None` where there is no archive.
    pub archive: Option<&'a dyn ClosedDays>,
}

/// Reads files of closed days, whole.
#[async_trait]
pub trait ClosedDays: Send + Sync {
    /// Sends the rows of a file, GPU by GPU or node by node, after its bytes were held against the manifest's
    /// checksum; or says what is wrong with it.
    async fn rows(&self, file: &DayFile, to: mpsc::Sender<DayRows>) -> Result<(), String>;
}

/// What was found in the files.
#[derive(Default)]
pub struct ClosedCheck {
    days: usize,
    bytes: u64,
    faults: Faults,
    /// Files that could not be read or are not what they should be.
    faulty: BTreeSet<String>,
}

/// Reads every current file and adds its rows up, together with those that came late.
pub async fn read(
    subject: Subject<'_>,
    content: &mut Content,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<ClosedCheck, LedgerError> {
    let mut check = ClosedCheck::default();
    check.manifest(&content.files);
    let current: BTreeMap<(Table, Day), DayFile> = content
        .files
        .iter()
        .filter(|file| file.status == FileStatus::Current)
        .map(|file| ((file.table, file.day), file.clone()))
        .collect();
    for (done, file) in current.values().enumerate() {
        progress(done, current.len());
        check.days += 1;
        check.bytes += file.bytes;
        let read = match subject.archive {
            Some(archive) => check.day(archive, file, content).await?,
            None => Err("cannot be read: the ledger does not say where its closed days are".to_owned()),
        };
        if let Err(fault) = read {
            check.wrong(file, &fault);
        }
        content.add_late_rows(Some(file.day))?;
    }
    progress(current.len(), current.len());
    // Late rows of days whose file is faulty.
    content.add_late_rows(None)?;
    Ok(check)
}

impl ClosedCheck {
    pub fn check(self) -> PromiseCheck {
        PromiseCheck {
            name: "closed days are as they were written",
            promise: None,
            figures: format!("{} files of {} bytes", self.days, self.bytes),
            faults: self.faults,
        }
    }

    /// Whether a file that is faulty is no longer the current one of its day.
    pub async fn is_stale(&self, store: &dyn Store) -> Result<bool, LedgerError> {
        if self.faulty.is_empty() {
            return Ok(false);
        }
        let now = store.files().await?;
        let current =
            |path: &String| now.iter().any(|file| file.status == FileStatus::Current && file.path == *path);
        Ok(!self.faulty.iter().all(current))
    }

    /// One current file a day, and no path twice.
    fn manifest(&mut self, files: &[DayFile]) {
        let (mut days, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            if file.status == FileStatus::Current && !days.insert((file.table, file.day)) {
                let (table, day) = (file.table.name(), file.day);
                self.faults.add(|| format!("{table} of {day} are in two files, both current"));
            }
            if !paths.insert(&file.path) {
                self.faults.add(|| format!("{} stands in the manifest twice", file.path));
            }
        }
    }

    fn wrong(&mut self, file: &DayFile, fault: &str) {
        self.faulty.insert(file.path.clone());
        self.faults.add(|| format!("{} {fault}", file.path));
    }

    /// Takes the rows of a file in as they come. What is wrong with it is given back, or noted.
    async fn day(
        &mut self,
        archive: &dyn ClosedDays,
        file: &DayFile,
        content: &mut Content,
    ) -> Result<Result<(), String>, LedgerError> {
        let (to, from) = mpsc::channel(PIECES_WAITING);
        let mut day = DaySums::default();
        let sums = &mut day;
        let take = async move {
            // Where taking in fails the reader stops, because nobody receives.
            let mut from = from;
            while let Some(piece) = from.recv().await {
                sums.take(file, piece, content)?;
            }
            Ok::<(), LedgerError>(())
        };
        let (read, taken) = tokio::join!(archive.rows(file, to), take);
        taken?;
        if read.is_ok() {
            if day.sums != file.sums {
                let fault = format!("holds {:?}, the manifest says {:?}", day.sums, file.sums);
                self.wrong(file, &fault);
            }
            if let Some(fault) = day.fault {
                self.wrong(file, fault);
            }
        }
        Ok(read)
    }
}

/// What the rows of a file add up to, and what is wrong with them.
#[derive(Default)]
struct DaySums {
    sums: Sums,
    before: Option<(Hour, u32, u32)>,
    fault: Option<&'static str>,
}

impl DaySums {
    fn take(&mut self, file: &DayFile, piece: DayRows, content: &mut Content) -> Result<(), LedgerError> {
        match (piece, file.table) {
            (DayRows::Gpu(rows), Table::GpuHours) => {
                for (key, row) in rows {
                    self.sums.add_gpu(&row)?;
                    self.key(file, (key.hour, key.gpu.0, key.owner.0));
                    content.add_late_gpu_rows_before(key)?;
                    content.add_gpu_row(key, &row)?;
                }
            }
            (DayRows::Node(rows), Table::NodeHours) => {
                for (hour, node, row) in rows {
                    self.sums.add_node(&row)?;
                    self.key(file, (hour, node.0, 0));
                    content.add_node_row(hour, node, &row);
                }
            }
            _ => self.fault = Some("holds rows of another table"),
        }
        Ok(())
    }

    /// Each key is there once, and of this day.
    fn key(&mut self, file: &DayFile, key: (Hour, u32, u32)) {
        if Day::of(key.0) != file.day {
            self.fault = Some("holds a row of another day");
        }
        if self.before.replace(key) == Some(key) {
            self.fault = Some("holds a row twice");
        }
    }
}
