//! Named disasters, and a model that random operations are held against.

mod damage;
mod disasters;
mod journal;
mod model;

use crate::sim::SimDisk;
use crate::{Entry, Journal, Next, Options, Recovery, SegmentId, Spool, SpoolError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FOLDER: &str = "/spool";
/// The least cap: segments of 4 KiB.
const CAP: u64 = crate::CAP_BYTES_MIN;

fn folder() -> &'static Path {
    Path::new(FOLDER)
}

fn segment_path(number: u64) -> PathBuf {
    folder().join(format!("{number:020}.segment"))
}

fn open_all(disk: &SimDisk) -> Result<(Spool, Journal, Vec<Entry>, Recovery), SpoolError> {
    Spool::open_on(Arc::new(disk.clone()), folder(), Options { cap_bytes: CAP })
}

fn open(disk: &SimDisk) -> (Spool, Recovery) {
    let (spool, _, _, recovery) = open_all(disk).unwrap();
    (spool, recovery)
}

/// A spool with one segment and these records in it, from sequence 1.
fn with_records(disk: &SimDisk, payloads: &[&[u8]]) -> (Spool, SegmentId) {
    let (mut spool, _) = open(disk);
    let id = spool.begin_segment(b"header", 1).unwrap();
    for payload in payloads {
        spool.append(&[payload]).unwrap();
    }
    (spool, id)
}

/// Everything that can be read: header, sequence and payload of each record in order.
fn read_all(spool: &mut Spool) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = None;
    while let Some(info) = spool.segment_after(at) {
        at = Some(info.id);
        let Some(header) = spool.header(info.id).unwrap() else { continue };
        let mut cursor = spool.cursor(info.id, 0).unwrap().unwrap();
        while let Next::Record(record) = spool.next(&mut cursor).unwrap() {
            found.push((header.clone(), record.sequence, record.payload));
        }
    }
    found
}

fn payloads(spool: &mut Spool) -> Vec<Vec<u8>> {
    read_all(spool).into_iter().map(|(_, _, payload)| payload).collect()
}
