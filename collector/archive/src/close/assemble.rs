//! One day's file out of the rows in the store and those of the file before it, merged as they come.
//!
//! In memory are the bytes of the files, those of a day of 80,000 GPUs some 50 MB, and one piece of rows.

use crate::files::FileFault;
use crate::merge::Merge;
use crate::names::Names;
use crate::read::{Rows, batches_of_bytes};
use crate::stored::{OpenRows, Stored};
use crate::table::{Fingerprint, Row};
use crate::write::{Encoder, WriteError};
use bytes::Bytes;
use gpuledger_ledger::{DayFile, FileStatus, LedgerError, PIECE_ROWS, PendingFile, Pieces, Sums, TakenRows};
use gpuledger_units::Overflow;
use std::marker::PhantomData;
use std::sync::Arc;

/// A file that is ready to be written.
pub struct Made {
    pub bytes: Bytes,
    pub sums: Sums,
    /// The rows that lay in the store.
    pub taken: Arc<dyn TakenRows>,
}

pub enum Assembled {
    Made(Made),
    /// A row speaks of something that has come into the register since the names were read.
    Unnamed,
}

/// Why there is no file.
pub enum Broken {
    Store(LedgerError),
    /// The file before it.
    Current(FileFault),
    New(FileFault),
}

impl From<Overflow> for Broken {
    fn from(overflow: Overflow) -> Self {
        Self::New(FileFault::Unwritable(overflow.to_string()))
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        Self::New(FileFault::Unwritable(error.to_string()))
    }
}

/// Makes the file. Unless every row must be named now, it stops at the first that has no name here.
pub fn assemble<K: Stored>(
    file: &PendingFile,
    open: OpenRows<K>,
    current: Option<Rows<K>>,
    names: &Names,
    all_must_be_named: bool,
) -> Result<Assembled, Broken> {
    let mut new = Encoder::<K>::new(file)?;
    let mut given = Fingerprint::default();
    // Without a file before it, the new one's rows are those of the store.
    let mut late = current.is_some().then(|| Encoder::<K>::new(file)).transpose()?;
    let nameless = Names::default();
    let open = open.map(|row| {
        let row = row.map_err(Broken::Store)?;
        if let Some(late) = &mut late {
            late.add(row, &nameless)?;
        }
        Ok(row)
    });
    let archived = current.into_iter().flatten().map(|row| row.map_err(Broken::Current));
    for row in Merge::new(open, archived) {
        let row = row?;
        if all_must_be_named && !names.know::<K>(row.key) {
            return Ok(Assembled::Unnamed);
        }
        given.add(&row);
        new.add(row, names)?;
    }
    let (bytes, sums) = new.finish(names)?;
    check(file, &bytes, sums, given).map_err(Broken::New)?;
    let (taken, taken_sums) = match late {
        Some(late) => late.finish(&nameless)?,
        None => (bytes.clone(), sums),
    };
    let taken = Taken::<K> { file: entry(file, &taken, taken_sums), bytes: taken, kind: PhantomData };
    Ok(Assembled::Made(Made { bytes, sums, taken: Arc::new(taken) }))
}

/// The whole file of some rows that are sorted and have their keys once.
pub fn encode<K: Stored>(
    file: &PendingFile,
    rows: impl Iterator<Item = Row<K>>,
    names: &Names,
) -> Result<(Bytes, Sums), FileFault> {
    let unwritable = |error: WriteError| FileFault::Unwritable(error.to_string());
    let (mut new, mut given) = (Encoder::<K>::new(file).map_err(unwritable)?, Fingerprint::default());
    for row in rows {
        given.add(&row);
        new.add(row, names).map_err(unwritable)?;
    }
    let (bytes, sums) = new.finish(names).map_err(unwritable)?;
    check(file, &bytes, sums, given)?;
    Ok((bytes, sums))
}

/// The rows that the store gives up must come back from the file: that is looked at before.
fn check<K: Stored>(
    file: &PendingFile,
    bytes: &Bytes,
    sums: Sums,
    given: Fingerprint<K>,
) -> Result<(), FileFault> {
    let mut read = Fingerprint::<K>::default();
    let batches = batches_of_bytes::<K>(&entry(file, bytes, sums), bytes.clone())?;
    for row in Rows::new(file.day, batches) {
        read.add(&row?);
    }
    if read.value() == given.value() {
        return Ok(());
    }
    Err(FileFault::Unwritable("what was encoded does not read as what was given".to_owned()))
}

/// A file as the manifest will know it, as far as reading its bytes needs that.
fn entry(file: &PendingFile, bytes: &Bytes, sums: Sums) -> DayFile {
    DayFile {
        table: file.table,
        day: file.day,
        version: file.version,
        path: file.path.clone(),
        status: FileStatus::Current,
        since_ms: 0,
        bytes: length(bytes),
        sha256: [0; 32],
        sums,
    }
}

pub fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The rows that lay in the store, encoded as in a file: a tenth of what they take as rows.
struct Taken<K> {
    file: DayFile,
    bytes: Bytes,
    kind: PhantomData<fn() -> K>,
}

impl<K> std::fmt::Debug for Taken<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("sums", &self.file.sums).finish_non_exhaustive()
    }
}

impl<K: Stored> TakenRows for Taken<K> {
    fn pieces(&self) -> Pieces<'_> {
        let failed = |fault: FileFault| fault.of("take rows out of the store", self.file.path.clone());
        let batches = match batches_of_bytes::<K>(&self.file, self.bytes.clone()) {
            Ok(batches) => batches,
            Err(fault) => return Box::new(std::iter::once(Err(failed(fault)))),
        };
        let mut rows = Rows::new(self.file.day, batches);
        Box::new(std::iter::from_fn(move || {
            let piece: Result<Vec<Row<K>>, FileFault> = rows.by_ref().take(PIECE_ROWS).collect();
            match piece {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => Some(Ok(K::to_day_rows(piece))),
                Err(fault) => Some(Err(failed(fault))),
            }
        }))
    }
}
