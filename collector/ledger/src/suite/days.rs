//! Cases of closed days.

use super::samples::{ALWAYS, HOUR, Node, commit_one, node_row, row};
use super::{Bed, Outcome};
use crate::transfer::copy;
use crate::{
    CommitOutcome, Day, DayFile, DayRows, FileStatus, GpuHourKey, GpuTotal, Hour, HourRange, LedgerError,
    NodeCommit, OwnerKey, PendingFile, Publish, Store, Sums, Table, Wanted,
};
use gpuledger_proto::ids::Sequence;
use std::sync::Arc;

const DAY: Day = Day::of(HOUR);
const NOW: u64 = 1_780_000_000_000;

/// The publication of all that lies in the store of this day.
async fn publication(store: &dyn Store, file: PendingFile, replaces: u32) -> Result<Publish, LedgerError> {
    let mut sums = Sums::default();
    let rows = match file.table {
        Table::GpuHours => {
            let (rows, _) = store.open_gpu_rows(&Wanted::all(file.day.hours())).await?;
            rows.iter().try_for_each(|(_, row)| sums.add_gpu(row))?;
            DayRows::Gpu(rows)
        }
        Table::NodeHours => {
            let (rows, _) = store.open_node_hours(file.day.hours()).await?;
            rows.iter().try_for_each(|(_, _, row)| sums.add_node(row))?;
            DayRows::Node(rows)
        }
    };
    Ok(Publish { file, replaces, bytes: 1_234, sha256: [7; 32], sums, rows: Arc::new(rows), now_ms: NOW + 1 })
}

/// Closes a day whose current file has this version.
async fn close(store: &dyn Store, table: Table, day: Day, replaces: u32) -> Result<DayFile, LedgerError> {
    let file = store.begin_file(table, day, NOW).await?;
    let publish = publication(store, file, replaces).await?;
    let path = publish.file.path.clone();
    assert_eq!(store.publish(publish).await?, CommitOutcome::Committed);
    let mut files = store.files().await?;
    files.retain(|file| file.path == path);
    assert_eq!(files.len(), 1, "{path}");
    Ok(files.remove(0))
}

async fn statuses(store: &dyn Store) -> Result<Vec<(u32, FileStatus)>, LedgerError> {
    Ok(store.files().await?.into_iter().map(|file| (file.version, file.status)).collect())
}

/// Another commit of the node's row, this many hours after the others.
fn at_hour(node: &Node, at: u64, hours: u32) -> NodeCommit {
    let mut commit = node.commit(at, at);
    commit.gpu_hours[0].0.hour.0 += hours;
    commit.node_hours[0].0.0 += hours;
    let last = commit.gpu_hours[0].0.hour.end_ms();
    commit.gpus_seen[0].2 = last;
    commit.seen = Some((HOUR.start_ms(), last));
    commit
}

pub async fn a_published_day_leaves_the_store(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    commit_one(&*store, at_hour(&node, 1, 24)).await?;
    let file = close(&*store, Table::GpuHours, DAY, 0).await?;
    let mut sums = Sums::default();
    sums.add_gpu(&row())?;
    let expected = DayFile {
        table: Table::GpuHours,
        day: DAY,
        version: 1,
        path: file.path.clone(),
        status: FileStatus::Current,
        since_ms: NOW + 1,
        bytes: 1_234,
        sha256: [7; 32],
        sums,
    };
    assert!(file.path.starts_with("gpu_hours/2026-03-29.v0001-"), "{}", file.path);
    assert_eq!(file, expected);
    let (rows, files) = store.open_gpu_rows(&Wanted::all(ALWAYS)).await?;
    assert_eq!((rows.len(), rows[0].0.hour), (1, Hour(HOUR.0 + 24)), "the next day's row stays");
    assert_eq!(files, [expected]);
    let (rows, files) = store.open_node_hours(ALWAYS).await?;
    assert_eq!((rows.len(), files.len()), (2, 0), "rows of nodes are closed by themselves");
    let nodes = close(&*store, Table::NodeHours, DAY, 0).await?;
    assert_eq!((nodes.version, nodes.sums.observed_ms), (1, node_row().observed_ms.0));
    assert_eq!(store.open_node_hours(ALWAYS).await?.0.len(), 1);
    let sound: [String; 0] = [];
    assert_eq!(store.check().await?, sound);
    Ok(())
}

pub async fn files_are_given_for_the_days_of_a_range(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    for at in 0..3 {
        commit_one(&*store, at_hour(&node, at, u32::try_from(at).unwrap_or(0) * 24)).await?;
        close(&*store, Table::GpuHours, Day(DAY.0 + u32::try_from(at).unwrap_or(0)), 0).await?;
    }
    let day = |n: u32| Hour(HOUR.0 + 24 * n);
    let table = [
        (HourRange { from: day(0), to: day(3) }, vec![0, 1, 2]),
        (HourRange { from: Hour(day(1).0 - 1), to: Hour(day(1).0 + 1) }, vec![0, 1]),
        (HourRange { from: day(1), to: day(2) }, vec![1]),
        (HourRange { from: day(1), to: day(1) }, vec![]),
        (HourRange { from: day(2), to: day(1) }, vec![]),
        (HourRange { from: day(3), to: Hour(u32::MAX) }, vec![]),
        (HourRange { from: Hour(0), to: day(0) }, vec![]),
        (ALWAYS, vec![0, 1, 2]),
    ];
    for (range, expected) in table {
        let (_, files) = store.open_gpu_rows(&Wanted::all(range)).await?;
        let days: Vec<_> = files.iter().map(|file| file.day.0 - DAY.0).collect();
        assert_eq!(days, expected, "{range:?}");
    }
    assert_eq!(store.open_totals().await?.1.len(), 3);
    Ok(())
}

pub async fn a_store_alone_refuses_to_read_closed_days(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    commit_one(&*store, at_hour(&node, 1, 24)).await?;
    store.begin_file(Table::GpuHours, DAY, NOW).await?;
    assert_eq!(store.gpu_rows(&Wanted::all(ALWAYS)).await?.len(), 2, "a pending file holds nothing");
    close(&*store, Table::GpuHours, DAY, 0).await?;
    let after = HourRange { from: Hour(HOUR.0 + 24), to: Hour(u32::MAX) };
    let archived = |result: Result<usize, LedgerError>| matches!(result, Err(LedgerError::Archived { .. }));
    assert!(archived(store.gpu_rows(&Wanted::all(ALWAYS)).await.map(|rows| rows.len())));
    assert!(archived(store.gpu_totals().await.map(|totals| totals.len())));
    assert_eq!(store.gpu_rows(&Wanted::all(after)).await?.len(), 1);
    assert_eq!(store.node_hours(ALWAYS).await?.len(), 2);
    close(&*store, Table::NodeHours, DAY, 0).await?;
    assert!(archived(store.node_hours(ALWAYS).await.map(|rows| rows.len())));
    assert_eq!(store.node_hours(after).await?.len(), 1);
    Ok(())
}

pub async fn a_row_that_changed_since_it_was_read_is_not_published(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    commit_one(&*store, at_hour(&node, 1, 1)).await?;
    for table in Table::ALL {
        let file = store.begin_file(table, DAY, NOW).await?;
        let publish = publication(&*store, file, 0).await?;
        let at = store.state(node.key).await?.version;
        commit_one(&*store, at_hour(&node, at, 1)).await?;
        let before = (store.open_gpu_rows(&Wanted::all(ALWAYS)).await?, store.open_node_hours(ALWAYS).await?);
        assert_eq!(store.publish(publish.clone()).await?, CommitOutcome::Moved, "{table:?}");
        let after = (store.open_gpu_rows(&Wanted::all(ALWAYS)).await?, store.open_node_hours(ALWAYS).await?);
        assert_eq!(after, before, "{table:?}: all or nothing");
        // The right to publish is not lost: read again, and it is done.
        let publish = publication(&*store, publish.file, 0).await?;
        assert_eq!(store.publish(publish.clone()).await?, CommitOutcome::Committed);
        assert_eq!(store.publish(publish).await?, CommitOutcome::Moved, "{table:?}: once only");
    }
    Ok(())
}

pub async fn a_row_that_came_since_stays_in_the_store(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    let file = store.begin_file(Table::GpuHours, DAY, NOW).await?;
    let publish = publication(&*store, file, 0).await?;
    commit_one(&*store, at_hour(&node, 1, 1)).await?;
    assert_eq!(store.publish(publish).await?, CommitOutcome::Committed);
    let (rows, files) = store.open_gpu_rows(&Wanted::all(DAY.hours())).await?;
    assert_eq!((rows.len(), rows[0].0.hour), (1, Hour(HOUR.0 + 1)));
    assert_eq!(files[0].sums.rows, 1);
    // What lies in the store again comes beside what is in the file.
    commit_one(&*store, at_hour(&node, 2, 0)).await?;
    assert_eq!(store.open_gpu_rows(&Wanted::all(DAY.hours())).await?.0.len(), 2);
    assert_eq!(store.open_days(Table::GpuHours, Day(DAY.0 + 1)).await?, [DAY]);
    Ok(())
}

pub async fn a_newer_file_supersedes_the_current_one(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    close(&*store, Table::GpuHours, DAY, 0).await?;
    commit_one(&*store, at_hour(&node, 1, 0)).await?;
    // Who did not read the current file must not replace it.
    for replaces in [0, 2] {
        let file = store.begin_file(Table::GpuHours, DAY, NOW).await?;
        let stale = publication(&*store, file, replaces).await?;
        assert_eq!(store.publish(stale).await?, CommitOutcome::Moved, "{replaces}");
    }
    assert_eq!(store.open_gpu_rows(&Wanted::all(ALWAYS)).await?.0.len(), 1, "nothing was taken");
    let second = close(&*store, Table::GpuHours, DAY, 1).await?;
    assert!(second.version > 1, "versions rise");
    let (rows, files) = store.open_gpu_rows(&Wanted::all(ALWAYS)).await?;
    assert_eq!((rows.len(), files), (0, vec![second.clone()]));
    assert_eq!(
        statuses(&*store).await?,
        [(1, FileStatus::Superseded), (second.version, FileStatus::Current)]
    );
    assert_eq!(store.files().await?[0].since_ms, NOW + 1, "since the newer one");
    Ok(())
}

pub async fn a_second_writer_of_a_day_displaces_the_first(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    let first = store.begin_file(Table::GpuHours, DAY, NOW).await?;
    let other_day = store.begin_file(Table::GpuHours, Day(DAY.0 + 1), NOW).await?;
    let other_table = store.begin_file(Table::NodeHours, DAY, NOW).await?;
    let second = store.begin_file(Table::GpuHours, DAY, NOW).await?;
    assert_ne!(first.path, second.path);
    assert!(second.version > first.version);
    let mut paths: Vec<_> = store.files().await?.into_iter().map(|file| file.path).collect();
    paths.sort();
    let mut expected = [other_day.path, other_table.path, second.path.clone()];
    expected.sort();
    assert_eq!(paths, expected);
    let displaced = publication(&*store, first, 0).await?;
    assert_eq!(store.publish(displaced).await?, CommitOutcome::Moved);
    let publish = publication(&*store, second, 0).await?;
    assert_eq!(store.publish(publish).await?, CommitOutcome::Committed);
    Ok(())
}

pub async fn a_writer_whose_entry_was_cleared_away_publishes_nothing(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    let file = store.begin_file(Table::GpuHours, DAY, NOW).await?;
    let publish = publication(&*store, file.clone(), 0).await?;
    store.forget_files(&[file.path, "nobody's".to_owned()]).await?;
    assert_eq!(store.publish(publish).await?, CommitOutcome::Moved);
    assert_eq!((store.files().await?, store.gpu_rows(&Wanted::all(ALWAYS)).await?.len()), (vec![], 1));
    Ok(())
}

pub async fn only_pending_and_superseded_files_are_forgotten(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    commit_one(&*store, at_hour(&node, 0, 0)).await?;
    close(&*store, Table::GpuHours, DAY, 0).await?;
    commit_one(&*store, at_hour(&node, 1, 24)).await?;
    let expired = close(&*store, Table::GpuHours, Day(DAY.0 + 1), 0).await?;
    assert_eq!(store.expire(&expired, Vec::new(), Vec::new(), NOW).await?, CommitOutcome::Committed);
    close(&*store, Table::GpuHours, DAY, 1).await?;
    store.begin_file(Table::GpuHours, DAY, NOW).await?;
    let paths: Vec<_> = store.files().await?.into_iter().map(|file| file.path).collect();
    assert_eq!(paths.len(), 4);
    store.forget_files(&paths).await?;
    assert_eq!(statuses(&*store).await?, [(2, FileStatus::Current), (1, FileStatus::Expired)]);
    Ok(())
}

pub async fn a_version_is_never_given_again(bed: &dyn Bed) -> Outcome {
    let (one, other) = (bed.open().await?, bed.open_second().await?);
    for version in 1..4 {
        let file = one.begin_file(Table::GpuHours, DAY, NOW).await?;
        assert_eq!(file.version, version);
        one.forget_files(&[file.path]).await?;
    }
    assert_eq!(one.begin_file(Table::NodeHours, DAY, NOW).await?.version, 1);
    assert_eq!(one.begin_file(Table::GpuHours, Day(DAY.0 + 1), NOW).await?.version, 1);
    // Nor by a copy: it writes into the same archive.
    let copied = copy(&*one, &*other, |_| {}).await;
    copied.map_err(|error| LedgerError::Failed { operation: "copy", reason: error.to_string() })?;
    for store in [one, other] {
        let file = store.begin_file(Table::GpuHours, DAY, NOW).await?;
        assert_eq!(file.version, 4);
        assert!(file.path.contains(".v0004-"), "{}", file.path);
        assert_eq!(store.begin_file(Table::GpuHours, DAY, NOW).await?.version, 5, "displaced, not forgotten");
    }
    Ok(())
}

pub async fn an_expired_day_leaves_its_totals(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    let total = GpuTotal { gpu: node.gpus[0], total: row() };
    let mut sum = row();
    for (at, days) in [(0, 0), (1, 1)] {
        commit_one(&*store, at_hour(&node, at, 24 * days)).await?;
        let file = close(&*store, Table::GpuHours, Day(DAY.0 + days), 0).await?;
        let expire = || store.expire(&file, vec![total.clone()], Vec::new(), NOW + 5);
        assert_eq!(expire().await?, CommitOutcome::Committed);
        assert_eq!(expire().await?, CommitOutcome::Moved, "once only");
    }
    sum.merge(&row())?;
    let expected = [GpuTotal { gpu: node.gpus[0], total: sum }];
    assert_eq!(store.expired().await?, (expected.to_vec(), vec![]));
    assert_eq!(store.gpu_rows(&Wanted::all(ALWAYS)).await?, [], "the file leaves the reports");
    assert_eq!(statuses(&*store).await?, [(1, FileStatus::Expired), (1, FileStatus::Expired)]);
    let entry = &store.files().await?[0];
    assert_eq!((entry.since_ms, entry.sums.rows), (NOW + 5, 1), "its sums stay");
    // What comes for the day after that is added, and closed again under a version of its own.
    commit_one(&*store, at_hour(&node, 2, 0)).await?;
    sum.merge(&row())?;
    let totals = [GpuTotal { gpu: node.gpus[0], total: sum }];
    let (open, files) = store.open_totals().await?;
    assert_eq!((open.gpus, files), (totals.to_vec(), vec![]));
    assert_eq!(store.gpu_totals().await?, totals);
    assert_eq!(close(&*store, Table::GpuHours, DAY, 0).await?.version, 2);
    let nodes = close(&*store, Table::NodeHours, DAY, 0).await?;
    let mut twice = node_row();
    twice.merge(&node_row())?;
    store.expire(&nodes, Vec::new(), vec![(node.key, twice)], NOW).await?;
    assert_eq!(store.expired().await?.1, [(node.key, twice)]);
    let sound: [String; 0] = [];
    assert_eq!(store.check().await?, sound);
    Ok(())
}

pub async fn open_days_are_those_before_a_day_oldest_first(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    assert_eq!(store.open_days(Table::GpuHours, Day(u32::MAX)).await?, []);
    for (at, hours) in (0..).zip([72, 0, 23, 24, 47, 71]) {
        commit_one(&*store, at_hour(&node, at, hours)).await?;
    }
    let days = |n: u32| (0..n).map(|day| Day(DAY.0 + day)).collect::<Vec<_>>();
    for table in Table::ALL {
        assert_eq!(store.open_days(table, Day(u32::MAX)).await?, days(4));
        assert_eq!(store.open_days(table, Day(DAY.0 + 2)).await?, days(2));
        assert_eq!(store.open_days(table, DAY).await?, []);
    }
    Ok(())
}

pub async fn rows_and_files_are_of_one_moment(bed: &dyn Bed) -> Outcome {
    const DAYS: u32 = 24;
    let store = bed.open().await?;
    let node = Node::register(&*store, "a").await?;
    let mut commit = node.commit(0, 0);
    commit.gpu_hours = (0..DAYS)
        .map(|day| (GpuHourKey { hour: Hour(HOUR.0 + 24 * day), ..commit.gpu_hours[0].0 }, row()))
        .collect();
    commit.node_hours = (0..DAYS).map(|day| (Hour(HOUR.0 + 24 * day), node_row())).collect();
    commit_one(&*store, commit).await?;
    let closing = async {
        for day in 0..DAYS {
            close(&*store, Table::GpuHours, Day(DAY.0 + day), 0).await?;
            close(&*store, Table::NodeHours, Day(DAY.0 + day), 0).await?;
        }
        Ok::<(), LedgerError>(())
    };
    let reading = async {
        loop {
            let (rows, files) = store.open_gpu_rows(&Wanted::all(ALWAYS)).await?;
            assert_eq!(rows.len() + files.len(), DAYS as usize, "each day in one place");
            let (rows, closed) = store.open_node_hours(ALWAYS).await?;
            assert_eq!(rows.len() + closed.len(), DAYS as usize);
            let (totals, files) = store.open_totals().await?;
            let open = totals.gpus.first().map_or(0, |gpu| gpu.total.samples);
            let in_files: u64 = files.iter().map(|file| file.sums.samples).sum();
            assert_eq!(open + in_files, u64::from(DAYS) * row().samples);
            if closed.len() == DAYS as usize {
                return Ok::<(), LedgerError>(());
            }
        }
    };
    let (closed, read) = tokio::join!(closing, reading);
    closed.and(read)
}

pub async fn only_the_gpus_that_are_wanted_are_read(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let (a, b) = (Node::register(&*store, "a").await?, Node::register(&*store, "b").await?);
    store.commit(vec![a.commit(0, 0), b.commit(0, 0)]).await?;
    let wanted = |gpus: &[crate::GpuKey]| Wanted {
        gpus: Some(Arc::new(gpus.iter().copied().collect())),
        ..Wanted::all(ALWAYS)
    };
    let only_b = [(b.row_key(HOUR, OwnerKey::NOBODY), row())];
    assert_eq!(store.gpu_rows(&wanted(&b.gpus)).await?, only_b);
    assert_eq!(store.open_gpu_rows(&wanted(&b.gpus)).await?.0, only_b);
    assert_eq!(store.gpu_rows(&wanted(&[])).await?, []);
    assert_eq!(store.gpu_rows(&wanted(&[a.gpus[0], b.gpus[0]])).await?.len(), 2);
    Ok(())
}

pub async fn the_archives_location_is_kept(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    assert_eq!(store.archive_location().await?, None);
    store.set_archive_location("ledger.db.days").await?;
    store.set_archive_location("s3://bucket/prefix").await?;
    drop(store);
    let store = bed.open().await?;
    assert_eq!(store.archive_location().await?.as_deref(), Some("s3://bucket/prefix"));
    let node = Node::register(&*store, "a").await?;
    assert_eq!(store.sequence(node.key, node.epoch()).await?, Sequence::NONE);
    Ok(())
}
