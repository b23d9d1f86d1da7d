//! Cases of rows that come as a stream.

use super::samples::{ALWAYS, HOUR, Node, commit_one, owner, row};
use super::{Bed, Outcome};
use crate::{
    Day, GpuHour, GpuHourKey, GpuHours, GpuKey, Hour, HourRange, LedgerError, NodeCommit, OwnerKey,
    PIECE_ROWS, Store, Wanted,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Owners of every hour of a day: more rows than a piece has.
const OWNERS: usize = 400;
/// More streams than a store has connections.
const STREAMS: usize = 20;

/// Two days: in the first each hour of the first GPU has many owners; in both the second GPU has one.
async fn fill(store: &dyn Store) -> Result<(Node, NodeCommit), LedgerError> {
    let node = Node::register(store, "a").await?;
    let named: Vec<_> = (0..OWNERS).map(|n| owner(&format!("user{n}"), "")).collect();
    let owners = store.owners(&named).await?;
    let mut commit = node.commit(0, 0);
    let key = |hour: u32, gpu: GpuKey, owner| GpuHourKey { hour: Hour(HOUR.0 + hour), gpu, owner };
    commit.gpu_hours = (0..24)
        .flat_map(|hour| owners.iter().map(move |&owner| (hour, owner)))
        .map(|(hour, owner)| (key(hour, node.gpus[0], owner), row()))
        .chain((0..48).map(|hour| (key(hour, node.gpus[1], OwnerKey::NOBODY), row())))
        .collect();
    commit_one(store, commit.clone()).await?;
    Ok((node, commit))
}

async fn pieces(store: &dyn Store, wanted: &Wanted) -> Result<Vec<GpuHours>, LedgerError> {
    let mut stream = store.gpu_hours(wanted).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await? {
        pieces.push(piece);
    }
    Ok(pieces)
}

fn rows(pieces: &[GpuHours]) -> Vec<(GpuHourKey, GpuHour)> {
    pieces.iter().flat_map(GpuHours::iter).collect()
}

pub async fn a_stream_goes_day_by_day_in_bounded_pieces(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    assert_eq!(pieces(&*store, &Wanted::all(ALWAYS)).await?, []);
    let (_, commit) = fill(&*store).await?;
    let pieces = pieces(&*store, &Wanted::all(ALWAYS)).await?;
    assert!(pieces.len() > 2, "{}", pieces.len());
    for piece in &pieces {
        assert!((1..=PIECE_ROWS).contains(&piece.rows), "{}", piece.rows);
        assert!(piece.iter().all(|(key, _)| Day::of(key.hour) == piece.day));
    }
    let place = |key: GpuHourKey| (Day::of(key.hour), key.gpu, key.hour, key.owner);
    let found = rows(&pieces);
    assert!(found.is_sorted_by(|one, other| place(one.0) < place(other.0)));
    let mut expected = commit.gpu_hours;
    expected.sort_by_key(|(key, _)| place(*key));
    assert!(found == expected);
    expected.sort_by_key(|(key, _)| *key);
    assert!(store.gpu_rows(&Wanted::all(ALWAYS)).await? == expected, "all at once, by hour");
    Ok(())
}

pub async fn a_stream_gives_the_wanted_gpus_and_hours_only(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let (node, commit) = fill(&*store).await?;
    let gpus = Some(Arc::new(BTreeSet::from([node.gpus[1], GpuKey(900_000)])));
    let range = HourRange { from: Hour(HOUR.0 + 20), to: Hour(HOUR.0 + 30) };
    let found = rows(&pieces(&*store, &Wanted { range, gpus, ..Wanted::all(range) }).await?);
    let mut expected = commit.gpu_hours;
    expected.retain(|(key, _)| key.gpu == node.gpus[1] && range.from <= key.hour && key.hour < range.to);
    expected.sort_by_key(|(key, _)| *key);
    assert_eq!(expected.len(), 10);
    assert_eq!(found, expected);
    Ok(())
}

pub async fn a_stream_is_of_the_moment_in_which_it_began(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let (node, before) = fill(&*store).await?;
    let (mut stream, files) = store.open_gpu_hours(&Wanted::all(ALWAYS)).await?;
    assert_eq!(files, []);
    let mut found = stream.next().await?.map(|piece| rows(&[piece])).unwrap_or_default();
    // What is committed meanwhile changes the last row of what is still to come.
    let mut commit = node.commit(1, 1);
    commit.gpu_hours =
        vec![(GpuHourKey { hour: Hour(HOUR.0 + 47), gpu: node.gpus[1], owner: OwnerKey::NOBODY }, row())];
    commit_one(&*store, commit).await?;
    while let Some(piece) = stream.next().await? {
        found.extend(piece.iter());
    }
    assert_eq!(found.len(), before.gpu_hours.len());
    assert!(found.iter().all(|(_, found)| *found == row()), "no row is of a later moment");
    Ok(())
}

pub async fn a_stream_that_is_dropped_holds_nothing(bed: &dyn Bed) -> Outcome {
    let store = bed.open().await?;
    let (node, commit) = fill(&*store).await?;
    for _ in 0..STREAMS {
        let mut stream = store.gpu_hours(&Wanted::all(ALWAYS)).await?;
        assert!(stream.next().await?.is_some());
    }
    commit_one(&*store, node.commit(1, 1)).await?;
    let rows = store.gpu_rows(&Wanted::all(ALWAYS)).await?;
    assert_eq!(rows.len(), commit.gpu_hours.len() + 1);
    Ok(())
}
