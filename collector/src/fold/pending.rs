//! Rows that wait for the next commit, and what one batch changes of them, which is all or nothing.
//!
//! A live node has a row for each of its GPUs and asks for them in the same order with every batch, so
//! that the next row is where it is looked for first. A node that was away for a year has a million, and
//! an index. What a batch changes is changed in place, since nearly no batch is refused, and undone where
//! one is.

use super::FoldError;
use super::rows::{Shares, split_row};
use gpuledger_ledger::{GpuHour, GpuHourKey, GpuKey, Hour, NodeHour, OwnerKey};
use std::collections::HashMap;
use std::hash::Hash;

/// Rows that one batch may change: the hours of a node with 57 GPUs that was away for a year. About
/// 100 MiB. A clock that jumps to and fro could make a hundred times as many.
pub const ROWS_PER_BATCH_MAX: usize = 500_000;
/// Additions to rows that one batch may cause: two for each value of the largest batch. Jumps over the
/// same year again and again change few rows and take minutes.
const ADDITIONS_PER_BATCH_MAX: usize = 8_000_000;
/// Rows that are looked through; more are found by an index.
const LOOKED_THROUGH_MAX: usize = 32;

/// Rows by key.
#[derive(Debug)]
pub struct Rows<K, R> {
    each: Vec<(K, R)>,
    /// Where each row is, once there are more than [`LOOKED_THROUGH_MAX`].
    index: HashMap<K, usize>,
    /// The row that was asked for last in this batch.
    last: Option<usize>,
    /// How many rows there were before this batch, and what it changed of them.
    before: usize,
    changed: Vec<(usize, R)>,
    /// For each of them, whether it is among the changed.
    is_changed: Vec<bool>,
    /// Rows of the commit before: what there will be again.
    usual: usize,
}

impl<K, R> Default for Rows<K, R> {
    fn default() -> Self {
        Self {
            each: Vec::new(),
            index: HashMap::new(),
            last: None,
            before: 0,
            changed: Vec::new(),
            is_changed: Vec::new(),
            usual: 0,
        }
    }
}

impl<K: Copy + Ord + Hash, R: Copy + Default> Rows<K, R> {
    fn begin(&mut self) {
        self.last = None;
        self.before = self.each.len();
        self.is_changed.resize(self.before, false);
    }

    fn keep(&mut self) {
        for (at, _) in self.changed.drain(..) {
            self.is_changed[at] = false;
        }
    }

    fn undo(&mut self) {
        for (key, _) in self.each.drain(self.before..) {
            self.index.remove(&key);
        }
        for (at, row) in self.changed.drain(..) {
            self.is_changed[at] = false;
            self.each[at].1 = row;
        }
    }

    /// Rows that this batch has changed or added.
    fn touched(&self) -> usize {
        self.changed.len() + self.each.len() - self.before
    }

    /// The row of a key, a new one where there is none. Refused where it is one more than may be touched.
    fn row(&mut self, key: K, may_grow: impl FnOnce() -> bool) -> Option<&mut R> {
        let next = self.last.map_or(0, |last| last + 1);
        let is_at = |at: &usize| self.each.get(*at).is_some_and(|row| row.0 == key);
        if let Some(last) = self.last.filter(is_at) {
            return self.each.get_mut(last).map(|row| &mut row.1);
        }
        let found = Some(next).filter(is_at).or_else(|| self.find(key));
        let is_known = |at: usize| at >= self.before || self.is_changed[at];
        if !found.is_some_and(is_known) && !may_grow() {
            return None;
        }
        let at = found.unwrap_or_else(|| self.add(key));
        if at < self.before && !self.is_changed[at] {
            self.changed.push((at, self.each[at].1));
            self.is_changed[at] = true;
        }
        self.last = Some(at);
        self.each.get_mut(at).map(|row| &mut row.1)
    }

    fn find(&self, key: K) -> Option<usize> {
        if self.each.len() > LOOKED_THROUGH_MAX {
            return self.index.get(&key).copied();
        }
        self.each.iter().rposition(|row| row.0 == key)
    }

    fn add(&mut self, key: K) -> usize {
        let at = self.each.len();
        if at == 0 {
            self.each.reserve_exact(self.usual);
        }
        self.each.push((key, R::default()));
        match at {
            ..LOOKED_THROUGH_MAX => {}
            LOOKED_THROUGH_MAX => self.index = self.each.iter().map(|row| row.0).zip(0..).collect(),
            _ => drop(self.index.insert(key, at)),
        }
        at
    }

    /// All rows, by key; none are left.
    fn take(&mut self) -> Vec<(K, R)> {
        let usual = self.each.len().min(LOOKED_THROUGH_MAX);
        let mut rows = std::mem::replace(self, Self { usual, ..Self::default() }).each;
        rows.sort_unstable_by_key(|row| row.0);
        rows
    }
}

/// First and last instant that rows speak of.
type Span = (u64, u64);

#[derive(Debug, Default)]
struct Seen {
    gpus: Vec<(GpuKey, u64, u64)>,
    node: Option<Span>,
    /// What was seen before this batch.
    before: (Vec<(GpuKey, u64, u64)>, Option<Span>),
    /// The GPU that was seen last.
    last: usize,
}

impl Seen {
    fn begin(&mut self) {
        self.before.0.clone_from(&self.gpus);
        self.before.1 = self.node;
    }

    fn undo(&mut self) {
        std::mem::swap(&mut self.gpus, &mut self.before.0);
        self.node = self.before.1;
    }

    fn gpu(&mut self, gpu: GpuKey, at_ms: u64) {
        let is_at = |at: &usize| self.gpus.get(*at).is_some_and(|seen| seen.0 == gpu);
        let hinted = Some(self.last).filter(is_at).or_else(|| Some(self.last + 1).filter(is_at));
        let found = hinted.or_else(|| self.gpus.iter().position(|seen| seen.0 == gpu));
        self.last = found.unwrap_or(self.gpus.len());
        match self.gpus.get_mut(self.last) {
            Some((_, first, last)) => (*first, *last) = widen((*first, *last), at_ms),
            None => self.gpus.push((gpu, at_ms, at_ms)),
        }
    }
}

fn widen((first, last): Span, at_ms: u64) -> Span {
    (first.min(at_ms), last.max(at_ms))
}

/// What a node has added since its last commit.
#[derive(Debug, Default)]
pub struct Pending {
    gpu_hours: Rows<GpuHourKey, GpuHour>,
    node_hours: Rows<Hour, NodeHour>,
    seen: Seen,
    /// Additions of this batch.
    additions: usize,
}

/// Everything that waited, in the order of its keys.
pub struct Taken {
    pub gpu_hours: Vec<(GpuHourKey, GpuHour)>,
    pub node_hours: Vec<(Hour, NodeHour)>,
    pub gpus_seen: Vec<(GpuKey, u64, u64)>,
    pub seen: Option<(u64, u64)>,
}

impl Pending {
    /// A batch begins, which [`Pending::keep`] or [`Pending::undo`] ends.
    pub fn begin(&mut self) {
        self.gpu_hours.begin();
        self.node_hours.begin();
        self.seen.begin();
        self.additions = 0;
    }

    /// Additions of the last batch.
    pub fn additions(&self) -> usize {
        self.additions
    }

    /// What came since [`Pending::begin`] stays.
    pub fn keep(&mut self) {
        self.gpu_hours.keep();
        self.node_hours.keep();
    }

    /// What came since [`Pending::begin`] never came.
    pub fn undo(&mut self) {
        self.gpu_hours.undo();
        self.node_hours.undo();
        self.seen.undo();
    }

    pub fn take(&mut self) -> Taken {
        let mut gpus_seen = std::mem::take(&mut self.seen.gpus);
        gpus_seen.sort_unstable_by_key(|seen| seen.0);
        Taken {
            gpu_hours: self.gpu_hours.take(),
            node_hours: self.node_hours.take(),
            gpus_seen,
            seen: self.seen.node.take(),
        }
    }

    pub fn rows(&self) -> usize {
        self.gpu_hours.each.len() + self.node_hours.each.len()
    }

    pub fn gpu_row(&mut self, hour: Hour, gpu: GpuKey, owner: OwnerKey) -> Result<&mut GpuHour, FoldError> {
        self.add()?;
        let (gpus, nodes) = (self.gpu_hours.touched(), self.node_hours.touched());
        let may_grow = || gpus + nodes < ROWS_PER_BATCH_MAX;
        self.gpu_hours.row(GpuHourKey { hour, gpu, owner }, may_grow).ok_or(FoldError::Rows)
    }

    pub fn node_row(&mut self, hour: Hour) -> Result<&mut NodeHour, FoldError> {
        self.add()?;
        let (gpus, nodes) = (self.gpu_hours.touched(), self.node_hours.touched());
        self.node_hours.row(hour, || gpus + nodes < ROWS_PER_BATCH_MAX).ok_or(FoldError::Rows)
    }

    /// Adds one contribution to the rows of all owners, each quantity split by their shares.
    pub fn add_shared(
        &mut self,
        hour: Hour,
        gpu: GpuKey,
        shares: &Shares,
        row: &GpuHour,
    ) -> Result<(), FoldError> {
        if let [(owner, _)] = shares {
            self.gpu_row(hour, gpu, *owner)?.merge(row)?;
            return Ok(());
        }
        for (part, &(owner, _)) in split_row(row, shares)?.iter().zip(shares) {
            self.gpu_row(hour, gpu, owner)?.merge(part)?;
        }
        Ok(())
    }

    pub fn saw_gpu(&mut self, gpu: GpuKey, at_ms: u64) {
        self.seen.gpu(gpu, at_ms);
    }

    pub fn saw_node(&mut self, at_ms: u64) {
        self.seen.node = Some(widen(self.seen.node.unwrap_or((at_ms, at_ms)), at_ms));
    }

    fn add(&mut self) -> Result<(), FoldError> {
        self.additions += 1;
        if self.additions > ADDITIONS_PER_BATCH_MAX {
            return Err(FoldError::Rows);
        }
        Ok(())
    }
}
