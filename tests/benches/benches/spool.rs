//! The agent's disk buffer: what a record costs to append, its sync included, and to read back.

use criterion::{BenchmarkId, Throughput};
use gpuledger_benches::cpu;
use gpuledger_spool::{Next, Options, Spool, SpoolError};
use std::path::Path;

/// Bytes of a batch of ten seconds of 8 GPUs.
const RECORD_BYTES: usize = 2_200;
/// Records of the spool that is read: an hour.
const RECORDS: usize = 360;

fn main() -> anyhow::Result<()> {
    let mut criterion = cpu::criterion().configure_from_args();
    let folder = tempfile::tempdir()?;
    let record = vec![0x5a_u8; RECORD_BYTES];
    let mut group = criterion.benchmark_group("spool");
    for records in [1, 10] {
        let mut spool = open(&folder.path().join(format!("append-{records}")))?;
        let payloads = vec![record.as_slice(); records];
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::new("append", records), |b| {
            b.iter(|| assert!(spool.append(&payloads).is_ok()));
        });
    }
    let mut spool = open(&folder.path().join("replay"))?;
    spool.append(&vec![record.as_slice(); RECORDS])?;
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("replay", |b| {
        b.iter(|| assert!(replay(&mut spool).is_ok_and(|records| records == RECORDS)));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn open(folder: &Path) -> Result<Spool, SpoolError> {
    let (mut spool, ..) = Spool::open(folder, Options { cap_bytes: 256 << 20 })?;
    spool.begin_segment(&[7; 4_096], 1)?;
    Ok(spool)
}

fn replay(spool: &mut Spool) -> Result<usize, SpoolError> {
    let mut records = 0;
    let mut after = None;
    while let Some(segment) = spool.segment_after(after) {
        after = Some(segment.id);
        let Some(mut cursor) = spool.cursor(segment.id, 0)? else { continue };
        while let Next::Record(_) = spool.next(&mut cursor)? {
            records += 1;
        }
    }
    Ok(records)
}
