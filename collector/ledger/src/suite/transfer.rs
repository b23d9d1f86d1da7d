//! Cases of a ledger's whole content.

use super::samples::{ALWAYS, HOUR, Node, commit_one, epoch, node_row, owner, row};
use super::{Bed, Outcome};
use crate::transfer::{TransferError, copy, digest, prove_equal};
use crate::{
    CommitOutcome, Day, DayRows, EpochAdvance, GpuHour, GpuHourKey, GpuTotal, Hour, LedgerError, OwnerKey,
    Publish, Record, Store, StoredAsset, Sums, Table, Wanted,
};
use gpuledger_proto::ids::Sequence;
use gpuledger_units::{ByteMillis, Millicelsius};
use std::sync::Arc;
use tokio::sync::mpsc;

/// More rows than one piece takes.
const ROWS: u32 = 9_000;

/// A ledger with something of every kind.
async fn filled(store: &dyn Store) -> Result<Node, LedgerError> {
    store.set_archive_location("ledger.db.days").await?;
    let (a, b) = (Node::register(store, "a").await?, Node::register(store, "b").await?);
    Node::register(store, "silent").await?;
    let named = store.owners(&[owner("anna", ""), owner("ängström\n\"", "17")]).await?;
    let mut commit = a.commit(0, 0);
    commit.epochs.push(EpochAdvance { epoch: epoch(u128::MAX), from: Sequence(0), to: Sequence(1 << 40) });
    let odd = GpuHour {
        memory_byte_ms: ByteMillis(u128::from(u64::MAX) * 7),
        power_max_mw: None,
        temperature_max_mc: Some(Millicelsius(-40_000)),
        ..row()
    };
    commit.gpu_hours.extend((1..ROWS).map(|n| {
        let owner = [OwnerKey::UNKNOWN, named[0], named[1]][n as usize % 3];
        (
            GpuHourKey { hour: Hour(HOUR.0 + n / 3), gpu: a.gpus[1], owner },
            if n % 2 == 0 { odd } else { row() },
        )
    }));
    commit.gpus_seen.push((a.gpus[1], HOUR.start_ms(), Hour(HOUR.0 + ROWS / 3).start_ms()));
    assert_eq!(store.commit(vec![commit, b.commit(0, 0)]).await?, [CommitOutcome::Committed; 2]);
    let asset = |serial: &str| StoredAsset { serial: serial.to_owned(), document: "{\"µ\": 1}".to_owned() };
    // Capitals and accents sort as their bytes do.
    store.put_assets(["ä", "a", "B", "a-b", "aa"].map(asset).to_vec()).await?;
    close_days(store, &a).await?;
    Ok(a)
}

/// A file in each state.
async fn close_days(store: &dyn Store, node: &Node) -> Outcome {
    let day = Day::of(HOUR);
    for (replaces, day) in [(0, day), (1, day), (0, Day(day.0 + 1))] {
        let file = store.begin_file(Table::GpuHours, day, 5).await?;
        let (rows, _) = store.open_gpu_rows(&Wanted::all(day.hours())).await?;
        let mut sums = Sums::default();
        rows.iter().try_for_each(|(_, row)| sums.add_gpu(row))?;
        let rows = DayRows::Gpu(rows);
        let publish =
            Publish { file, replaces, bytes: 9, sha256: [0xfe; 32], sums, rows: Arc::new(rows), now_ms: 6 };
        assert_eq!(store.publish(publish).await?, CommitOutcome::Committed);
    }
    store.begin_file(Table::NodeHours, day, 7).await?;
    let (_, files) = store.open_totals().await?;
    let last = &files[files.len() - 1];
    let total = GpuTotal { gpu: node.gpus[1], total: row() };
    assert_eq!(
        store.expire(last, vec![total], vec![(node.key, node_row())], 8).await?,
        CommitOutcome::Committed
    );
    Ok(())
}

async fn exported(store: &dyn Store) -> Result<Vec<Record>, LedgerError> {
    let (out, mut content) = mpsc::channel(1);
    let read = async {
        let mut records = Vec::new();
        while let Some(chunk) = content.recv().await {
            records.extend(chunk);
        }
        records
    };
    let (done, records) = tokio::join!(store.export(out), read);
    done.map(|()| records)
}

fn failed(error: &TransferError) -> LedgerError {
    LedgerError::Failed { operation: "copy a ledger", reason: error.to_string() }
}

pub async fn what_is_copied_is_equal_and_goes_on(bed: &dyn Bed) -> Outcome {
    let (one, other) = (bed.open().await?, bed.open_second().await?);
    let a = filled(&*one).await?;
    let mut told = Vec::new();
    let copied = copy(&*one, &*other, |records| told.push(records)).await.map_err(|error| failed(&error))?;
    assert!(told.is_sorted() && told.last() == Some(&copied.records), "{told:?}");
    let digest = prove_equal(&*one, &*other).await.map_err(|error| failed(&error))?;
    assert_eq!(digest.records(), copied.records);
    assert!(digest.parts().all(|(_, part)| part.records > 0), "something of every kind: {digest:?}");
    let (one_said, other_said) = (exported(&*one).await?, exported(&*other).await?);
    assert!(one_said == other_said, "equal digests speak of equal records");
    // Both go on in the same way: numbers, versions and sequences are those of the first.
    for store in [&one, &other] {
        assert_eq!(commit_one(&**store, a.commit(1, 1)).await?, CommitOutcome::Committed);
        let new = Node::register(&**store, "new").await?;
        assert_eq!(commit_one(&**store, new.commit(0, 0)).await?, CommitOutcome::Committed);
        store.owners(&[owner("new", ""), owner("anna", "")]).await?;
    }
    prove_equal(&*one, &*other).await.map_err(|error| failed(&error))?;
    Ok(())
}

pub async fn one_row_makes_two_ledgers_different(bed: &dyn Bed) -> Outcome {
    let (one, other) = (bed.open().await?, bed.open_second().await?);
    let a = filled(&*one).await?;
    copy(&*one, &*other, |_| {}).await.map_err(|error| failed(&error))?;
    let mut late = a.commit(1, 1);
    late.gpu_hours.clear();
    commit_one(&*one, late.clone()).await?;
    late.node_hours[0].1.cpu_known_ms.0 += 1;
    commit_one(&*other, late).await?;
    let refused = prove_equal(&*one, &*other).await;
    assert!(matches!(refused, Err(TransferError::Different { what: "node hours", .. })), "{refused:?}");
    Ok(())
}

pub async fn an_export_is_in_order_and_ends_with_its_count(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    assert_eq!(exported(&*store).await?, [Record::End(0)]);
    filled(&*store).await?;
    let mut records = exported(&*store).await?;
    let end = records.pop();
    assert_eq!(end, Some(Record::End(u64::try_from(records.len()).unwrap_or(0))));
    let place = |record: &Record| match record {
        Record::ArchiveLocation(_) => (0, String::new()),
        Record::Node { record, .. } => (1, format!("{:08}", record.key.0)),
        Record::Gpu(record) => (2, format!("{:08}", record.key.0)),
        Record::Owner(record) => (3, format!("{:08}", record.key.0)),
        Record::Epoch { node, epoch, .. } => (4, format!("{:08} {epoch}", node.0)),
        Record::Asset(asset) => (5, asset.serial.clone()),
        Record::LastVersion { table, day, .. } => (6, format!("{table:?} {:08}", day.0)),
        Record::File(file) => (7, format!("{:?} {:08} {:08}", file.table, file.day.0, file.version)),
        Record::ExpiredGpu(total) => (8, format!("{:08}", total.gpu.0)),
        Record::ExpiredNode { node, .. } => (9, format!("{:08}", node.0)),
        Record::GpuHour(key, _) => (10, format!("{:08} {:08} {:08}", key.hour.0, key.gpu.0, key.owner.0)),
        Record::NodeHour(hour, node, _) => (11, format!("{:08} {:08}", hour.0, node.0)),
        Record::End(_) => (12, String::new()),
    };
    let places: Vec<_> = records.iter().map(place).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "by kind and key, each once");
    Ok(())
}

pub async fn a_ledger_that_is_not_empty_takes_no_import(bed: &dyn Bed) -> Outcome {
    let (one, other) = (bed.open().await?, bed.open_second().await?);
    filled(&*one).await?;
    other.node(&super::samples::name("b")?).await?;
    let before = digest(&*other).await?;
    let refused = copy(&*one, &*other, |_| {}).await;
    assert!(matches!(refused, Err(TransferError::To(LedgerError::NotEmpty { .. }))), "{refused:?}");
    assert_eq!(digest(&*other).await?, before);
    Ok(())
}

pub async fn an_import_that_is_cut_off_leaves_nothing(bed: &dyn Bed) -> Outcome {
    let (one, other) = (bed.open().await?, bed.open_second().await?);
    filled(&*one).await?;
    let records = exported(&*one).await?;
    let empty = digest(&*other).await?;
    let end = records.len() - 1;
    // Without its end, without all before its end, with a row that cannot be kept, with one too much.
    let unfit = Record::NodeHour(Hour(3), crate::NodeKey(1), node_row());
    let cases = [
        records[..end].to_vec(),
        Vec::new(),
        [&records[..end - 1], &records[end..]].concat(),
        [&records[..end], &[unfit], &records[end..]].concat(),
        [&records[..], &records[..1]].concat(),
    ];
    for (case, records) in cases.into_iter().enumerate() {
        let (out, from) = mpsc::channel(1);
        let send = async {
            for chunk in records.chunks(1_000) {
                if out.send(chunk.to_vec()).await.is_err() {
                    break;
                }
            }
            drop(out);
        };
        let (imported, ()) = tokio::join!(other.import(from), send);
        assert!(imported.is_err(), "case {case}");
        assert_eq!(digest(&*other).await?, empty, "case {case}");
    }
    copy(&*one, &*other, |_| {}).await.map_err(|error| failed(&error))?;
    assert_eq!(other.open_node_hours(ALWAYS).await?.0.len(), 2);
    Ok(())
}

/// Two collectors that name one ledger at once agree; what was copied is another ledger.
pub async fn an_identity_is_given_once_and_not_to_a_copy(bed: &dyn Bed) -> Outcome {
    let (one, other) = (bed.open().await?, bed.open_second().await?);
    filled(&*one).await?;
    assert_eq!(one.identity().await?, None);
    one.set_identity(Some("first")).await?;
    one.set_identity(Some("second")).await?;
    assert_eq!(one.identity().await?.as_deref(), Some("first"));
    copy(&*one, &*other, |_| {}).await.map_err(|error| failed(&error))?;
    assert_eq!(other.identity().await?, None);
    one.set_identity(None).await?;
    assert_eq!(one.identity().await?, None);
    Ok(())
}
