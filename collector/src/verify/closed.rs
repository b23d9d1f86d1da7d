//! Closed days: each file is what the manifest says, and its rows count with those of the store.

use super::PromiseCheck;
use super::content::Content;
use super::faults::Faults;
use async_trait::async_trait;
use gpuledger_ledger::{
    Day, DayFile, DayRows, FileStatus, GpuHour, GpuHourKey, Hour, LedgerError, NodeHour, NodeKey, Store,
    Sums, Table,
};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The rows of a file after its bytes were held against the manifest's checksum, or what is wrong
    /// with it.
    async fn rows(&self, file: &DayFile) -> Result<DayRows, String>;
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
            Some(archive) => archive.rows(file).await,
            None => Err("cannot be read: the ledger does not say where its closed days are".to_owned()),
        };
        match read {
            Ok(DayRows::Gpu(rows)) if file.table == Table::GpuHours => check.gpu_day(file, content, rows)?,
            Ok(DayRows::Node(rows)) if file.table == Table::NodeHours => {
                check.node_day(file, content, rows)?;
            }
            Ok(_) => check.wrong(file, "holds rows of another table"),
            Err(fault) => check.wrong(file, &fault),
        }
    }
    progress(current.len(), current.len());
    // Late rows of days whose file is faulty.
    add_gpu_rows(content, Vec::new(), None)?;
    add_node_rows(content, Vec::new(), None);
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

    fn gpu_day(
        &mut self,
        file: &DayFile,
        content: &mut Content,
        mut rows: Vec<(GpuHourKey, GpuHour)>,
    ) -> Result<(), LedgerError> {
        rows.sort_unstable_by_key(|(key, _)| *key);
        let mut sums = Sums::default();
        for (_, row) in &rows {
            sums.add_gpu(row)?;
        }
        let keys = rows.iter().map(|(key, _)| (key.hour, (key.gpu.0, key.owner.0)));
        self.compare(file, &sums, keys);
        add_gpu_rows(content, rows, Some(file.day))
    }

    fn node_day(
        &mut self,
        file: &DayFile,
        content: &mut Content,
        mut rows: Vec<(Hour, NodeKey, NodeHour)>,
    ) -> Result<(), LedgerError> {
        rows.sort_unstable_by_key(|(hour, node, _)| (*hour, *node));
        let mut sums = Sums::default();
        for (_, _, row) in &rows {
            sums.add_node(row)?;
        }
        self.compare(file, &sums, rows.iter().map(|(hour, node, _)| (*hour, (node.0, 0))));
        add_node_rows(content, rows, Some(file.day));
        Ok(())
    }

    /// Sums are the manifest's; each key is there once, and of this day.
    fn compare(&mut self, file: &DayFile, sums: &Sums, keys: impl Iterator<Item = (Hour, (u32, u32))>) {
        if *sums != file.sums {
            let fault = format!("holds {sums:?}, the manifest says {:?}", file.sums);
            self.wrong(file, &fault);
        }
        let mut before = None;
        for key in keys {
            if Day::of(key.0) != file.day {
                return self.wrong(file, "holds a row of another day");
            }
            if before.replace(key) == Some(key) {
                return self.wrong(file, "holds a row twice");
            }
        }
    }
}

/// Adds the rows of a day, and the late ones up to that day; all late ones where none is given.
fn add_gpu_rows(
    content: &mut Content,
    mut rows: Vec<(GpuHourKey, GpuHour)>,
    day: Option<Day>,
) -> Result<(), LedgerError> {
    while let Some(late) = content.late_gpu_rows.first_entry()
        && day.is_none_or(|day| Day::of(late.key().hour) <= day)
    {
        rows.push(late.remove_entry());
    }
    rows.sort_unstable_by_key(|(key, _)| *key);
    for (key, row) in rows {
        content.add_gpu_row(key, &row)?;
    }
    content.sums.end_of_hour()
}

fn add_node_rows(content: &mut Content, mut rows: Vec<(Hour, NodeKey, NodeHour)>, day: Option<Day>) {
    while let Some(late) = content.late_node_rows.first_entry()
        && day.is_none_or(|day| Day::of(late.key().0) <= day)
    {
        let ((hour, node), row) = late.remove_entry();
        rows.push((hour, node, row));
    }
    for (hour, node, row) in rows {
        content.add_node_row(hour, node, &row);
    }
}
