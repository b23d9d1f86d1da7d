//! What is fetched of a file of several pieces.

use super::*;
use crate::close::encode;
use crate::files::Files;
use crate::names::Names;
use crate::root::Root;
use crate::table::RowKey;
use crate::write::PIECE_ROWS;
use gpuledger_ledger::{FileStatus, GpuHour, Hour, NodeHour, PendingFile, Sums, Table, Values};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts};
use object_store::memory::InMemory;

const DAY: Day = Day(20_541);

/// Rows of so many GPUs in every hour of the day.
fn rows_of(gpus: u32) -> Vec<Row<GpuHour>> {
    let hours = DAY.hours();
    let keys = (0..gpus).flat_map(|gpu| (hours.from.0..hours.to.0).map(move |hour| (gpu, hour)));
    keys.map(|(subject, hour)| {
        let noise = u64::from(subject) * 2_654_435_761 % 977 + u64::from(hour) * 40_503 % 911;
        let values = GpuHour {
            active_ms: Millis(3_000_000 + noise),
            counter_mj: Millijoules(1_800_000_000 + noise * 7_919),
            memory_byte_ms: ByteMillis(u128::from(noise) << 63),
            ..GpuHour::default()
        };
        Row { key: RowKey { subject, hour, owner: 0 }, values }
    })
    .collect()
}

struct Written {
    files: Files,
    file: DayFile,
    bytes: Bytes,
}

async fn written(rows: &[Row<GpuHour>]) -> Written {
    let pending = PendingFile::new(Table::GpuHours, DAY, 1);
    let (bytes, sums) = encode(&pending, rows.iter().copied(), &Names::default()).unwrap();
    let root = Root::Given { store: Arc::new(InMemory::new()), url: "memory".to_owned() };
    let files = Files::open(root).unwrap();
    files.write(&pending.path, bytes.clone()).await.unwrap();
    let file = DayFile {
        table: pending.table,
        day: DAY,
        version: 1,
        path: pending.path,
        status: FileStatus::Current,
        since_ms: 0,
        bytes: bytes.len() as u64,
        sha256: crate::sha256(&bytes),
        sums,
    };
    Written { files, file, bytes }
}

fn of(subjects: &[u32], columns: Columns) -> Asked {
    Asked { range: HourRange::ALWAYS, subjects: Some(Arc::new(subjects.iter().copied().collect())), columns }
}

/// The pieces, and the share of the file, that are fetched.
async fn fetched(written: &Written, asked: &Asked) -> (Vec<usize>, f64) {
    let metadata = metadata(&written.files, &written.file).await.unwrap();
    let pieces = wanted_pieces::<GpuHour>(&metadata, asked);
    let columns = wanted_columns::<GpuHour>(&metadata, asked.columns).unwrap();
    let ranges = ranges_of(&metadata, &pieces, &columns, written.file.bytes).unwrap();
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    #[allow(clippy::cast_precision_loss, reason = "a share, for a comparison")]
    let share = bytes as f64 / written.file.bytes as f64;
    (pieces, share)
}

#[tokio::test]
async fn a_few_gpus_and_columns_of_a_file_are_a_small_part_of_it() {
    let all = rows_of(5_600);
    assert_eq!(all.len().div_ceil(PIECE_ROWS), 3);
    let written = written(&all).await;
    let energy = Columns::TIME.and(Columns::ENERGY);
    let (pieces, whole) = fetched(&written, &Asked::ALL).await;
    assert_eq!(pieces, [0, 1, 2]);
    let (_, some) = fetched(&written, &Asked { columns: energy, ..Asked::ALL }).await;
    let (pieces, few) = fetched(&written, &of(&[10, 5_599], energy)).await;
    assert_eq!(pieces, [0, 2]);
    assert!(few < some && some < whole && few < 0.5, "{few} {some} {whole}");
    assert_eq!(fetched(&written, &of(&[5_600], energy)).await, (Vec::new(), 0.0));
    let before = Asked { range: HourRange { from: Hour(0), to: DAY.first_hour() }, ..Asked::ALL };
    assert_eq!(fetched(&written, &before).await, (Vec::new(), 0.0));
}

#[tokio::test]
async fn rows_of_some_gpus_and_hours_come_from_every_piece_as_they_were() {
    let all = rows_of(5_600);
    let written = written(&all).await;
    assert!(rows::<GpuHour>(&written.files, &written.file, &Asked::ALL).await.unwrap() == all);
    assert!(
        batches_of_bytes::<GpuHour>(&written.file, written.bytes.clone()).unwrap().rows().unwrap() == all
    );
    let from = DAY.first_hour().0 + 7;
    let asked = Asked {
        range: HourRange { from: Hour(from), to: Hour(from + 2) },
        ..of(&[0, 2_730, 2_731, 5_555, 5_599], Columns::ALL)
    };
    let some = rows::<GpuHour>(&written.files, &written.file, &asked).await.unwrap();
    let expected: Vec<_> = all
        .into_iter()
        .filter(|row| asked.has_hour(row.key.hour) && asked.has_subject(row.key.subject))
        .collect();
    assert_eq!(expected.len(), 10);
    assert!(some == expected);
}

#[tokio::test]
async fn a_file_of_another_table_day_or_version_is_refused() {
    let written = written(&rows_of(3)).await;
    let refused = |file: DayFile| {
        let files = written.files.clone();
        async move { super::rows::<GpuHour>(&files, &file, &Asked::ALL).await.unwrap_err().to_string() }
    };
    let holds = "is another file: it holds gpu_hours of 2026-03-29, version 1";
    assert_eq!(refused(DayFile { version: 2, ..written.file.clone() }).await, holds);
    assert_eq!(refused(DayFile { day: Day(DAY.0 + 1), ..written.file.clone() }).await, holds);
    let nodes = rows::<NodeHour>(&written.files, &written.file, &Asked::ALL).await;
    assert_eq!(nodes.unwrap_err().to_string(), holds);
    let sums = Sums { counter_mj: written.file.sums.counter_mj + 1, ..written.file.sums };
    let told = refused(DayFile { sums, ..written.file.clone() }).await;
    assert!(told.starts_with("is damaged: counter_mj is "), "{told}");
}

/// What the file in `fixtures` was written from, by the first build that wrote files: all columns by
/// dictionary, compressed.
fn of_the_first_build() -> (DayFile, Vec<Row<GpuHour>>) {
    let mut rows = rows_of(12);
    for (n, row) in (0_u64..).zip(&mut rows) {
        row.key.owner = u32::try_from(n % 3).unwrap();
        row.values.gap_mj = Millijoules(n % 5);
        row.values.samples = 3_600;
        row.values.power_max_mw = (n % 4 > 0).then_some(Milliwatts(n * 1_000));
        row.values.temperature_max_mc = (n % 3 > 0).then(|| Millicelsius(40_000 - n.cast_signed()));
    }
    let file = DayFile {
        table: Table::GpuHours,
        day: DAY,
        version: 1,
        path: "gpu_hours/2026-03-29.v0001-579640.parquet".to_owned(),
        status: FileStatus::Current,
        since_ms: 0,
        bytes: 10_077,
        sha256: [0; 32],
        sums: Sums {
            rows: 288,
            observed_ms: 864_188_772,
            counter_mj: 519_894_885_468,
            gap_mj: 573,
            estimated_mj: 0,
            samples: 1_036_800,
        },
    };
    (file, rows)
}

#[test]
fn a_file_of_the_first_build_reads_as_it_was_written() {
    let (file, rows) = of_the_first_build();
    let bytes = Bytes::from_static(include_bytes!("fixtures/zstd.parquet"));
    assert!(batches_of_bytes::<GpuHour>(&file, bytes).unwrap().rows().unwrap() == rows);
}

#[tokio::test]
async fn a_column_that_is_the_same_everywhere_is_not_fetched_and_reads_as_it_was() {
    let (_, rows) = of_the_first_build();
    let written = written(&rows).await;
    let asked = Asked { columns: Columns::SAMPLES.and(Columns::THROTTLED), ..Asked::ALL };
    let metadata = metadata(&written.files, &written.file).await.unwrap();
    let columns = wanted_columns::<GpuHour>(&metadata, asked.columns).unwrap();
    let ranges = ranges_of(&metadata, &[0], &columns, written.file.bytes).unwrap();
    assert_eq!(ranges.len(), 1, "the GPUs, and neither samples nor throttled time: {ranges:?}");
    let fetched = fetch::<GpuHour>(&written.files, written.file.clone(), &asked).await.unwrap();
    let batch = fetched.batches::<GpuHour>(&asked).unwrap().next().unwrap().unwrap();
    let piece = gpu_hours(DAY, batch);
    assert_eq!(piece.samples, Some(Values::Same(3_600)));
    assert_eq!(piece.throttled_ms, Some(Values::Same(0)));
    assert_eq!((piece.active_ms, piece.hour), (None, None));
}
