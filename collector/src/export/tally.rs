//! Running totals of every GPU: what the ledger held at one moment, and what was committed since.
//!
//! Adding up the ledger means reading every row that is not in a closed day. That is done seldom, for
//! what other collectors commit; what this one commits is added as it becomes durable. Whether a commit
//! is in what was read is told by the version of its node: [`LedgerTotals`] has the versions of the same
//! moment, and a commit that began from such a version or a later one came after it. So the sums are
//! exact, never count twice and never fall, whatever was committed while the ledger was read. The versions
//! also tell whether others have committed anything: where they have not, nothing is added up again.

use gpuledger_ledger::{
    CommitOutcome, GpuHour, GpuKey, GpuRecord, LedgerTotals, NodeCommit, NodeKey, Registered,
};
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::{GpuUuid, NodeName};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Rows of commits that are kept while the ledger is read, about 64 MiB: a minute of 80,000 GPUs. A
/// reading that takes longer is given up, and tried again later.
const KEPT_ROWS_MAX: usize = 1_000_000;

/// GPUs that are looked up without letting a commit in between.
const GPUS_AT_ONCE: usize = 1_024;

/// What is exported of a GPU's rows, in milliseconds and millijoules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub active_ms: u64,
    pub held_ms: u64,
    pub free_ms: u64,
    pub down_ms: u64,
    pub counter_mj: u64,
    pub gap_mj: u64,
    pub estimated_mj: u64,
}

impl Counts {
    /// A sum that is full stays full: it must not begin anew.
    fn add(&mut self, more: &Self) {
        let sums = [
            (&mut self.active_ms, more.active_ms),
            (&mut self.held_ms, more.held_ms),
            (&mut self.free_ms, more.free_ms),
            (&mut self.down_ms, more.down_ms),
            (&mut self.counter_mj, more.counter_mj),
            (&mut self.gap_mj, more.gap_mj),
            (&mut self.estimated_mj, more.estimated_mj),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

impl From<&GpuHour> for Counts {
    fn from(row: &GpuHour) -> Self {
        Self {
            active_ms: row.active_ms.0,
            held_ms: row.held_ms.0,
            free_ms: row.free_ms.0,
            down_ms: row.down_ms.0,
            counter_mj: row.counter_mj.0,
            gap_mj: row.gap_mj.0,
            estimated_mj: row.estimated_mj.0,
        }
    }
}

/// All GPUs of the ledger together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fleet {
    /// GPUs that the ledger has ever seen.
    pub registered: usize,
    pub counts: Counts,
}

/// What one commit adds.
#[derive(Debug)]
pub struct Added {
    node: NodeKey,
    base_version: u64,
    rows: Vec<(GpuKey, Counts)>,
    taken: Vec<GpuKey>,
    /// Nodes that it took them from, and the versions from which it moved those on.
    taken_from: Vec<(NodeKey, u64)>,
}

impl Added {
    pub fn of(commit: &NodeCommit) -> Self {
        Self {
            node: commit.node,
            base_version: commit.base_version,
            rows: commit.gpu_hours.iter().map(|(key, row)| (key.gpu, Counts::from(row))).collect(),
            taken: commit.taken.iter().flat_map(|taken| &taken.gpus).copied().collect(),
            taken_from: commit.taken.iter().map(|taken| (taken.from, taken.base_version)).collect(),
        }
    }
}

/// A GPU of the ledger.
#[derive(Debug, Clone, Copy)]
struct Known {
    holder: NodeKey,
    counts: Counts,
}

/// The running totals.
#[derive(Debug, Default)]
pub struct Tally {
    inner: Mutex<Inner>,
    /// Told when everything must be read again.
    pub(super) stale: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Numbers as agents have registered.
    nodes: HashMap<NodeName, NodeKey>,
    keys: HashMap<GpuUuid, GpuKey>,
    sums: Sums,
    /// Whether the ledger was ever added up.
    loaded: bool,
    /// What is committed while the ledger is read; `None` while it is not.
    kept: Option<Kept>,
}

/// Both lists by number: the ledger gives them out one after the other.
#[derive(Debug, Default)]
struct Sums {
    gpus: Vec<Option<Known>>,
    /// The version up to which a node's commits are counted.
    versions: Vec<u64>,
    /// A commit began from a later version: there is one before it, of somebody else, that is not counted.
    missed: bool,
    fleet: Fleet,
}

#[derive(Debug, Default)]
struct Kept {
    added: Vec<Added>,
    rows: usize,
}

impl Inner {
    fn counts(&self, node: &NodeName, uuid: &GpuUuid) -> Option<Counts> {
        let known = self.sums.get(*self.keys.get(uuid)?)?;
        let counts = Some(known.counts).filter(|_| self.nodes.get(node) == Some(&known.holder))?;
        Some(counts).filter(|counts| *counts != Counts::default())
    }
}

impl Tally {
    /// A node has this number.
    pub fn node(&self, name: &NodeName, key: NodeKey) {
        self.lock().nodes.insert(name.clone(), key);
    }

    /// GPUs of an inventory have these numbers.
    pub fn gpus(&self, inventory: &Inventory, registered: &[Registered]) {
        let mut inner = self.lock();
        for (gpu, registered) in inventory.gpus.iter().zip(registered) {
            inner.keys.insert(gpu.uuid.clone(), registered.key);
            inner.sums.hold(registered.key, registered.holder);
        }
    }

    /// Counts what has become durable.
    pub fn committed(&self, added: Vec<Added>, outcomes: &[CommitOutcome]) {
        let mut inner = self.lock();
        let committed = added.into_iter().zip(outcomes).filter(|(_, out)| **out == CommitOutcome::Committed);
        for (added, _) in committed {
            inner.sums.count(&added);
            if let Some(kept) = &mut inner.kept {
                kept.rows += added.rows.len();
                if kept.rows <= KEPT_ROWS_MAX {
                    kept.added.push(added);
                }
            }
        }
    }

    /// Another ledger is in this one's place: its numbers mean something else.
    pub fn forget(&self) {
        *self.lock() = Inner::default();
        self.stale.notify_one();
    }

    /// Whether a ledger whose nodes have these versions holds nothing that is not counted.
    pub fn covers(&self, versions: &[(NodeKey, u64)]) -> bool {
        let inner = self.lock();
        let counted = |node: &NodeKey| inner.sums.versions.get(node.0 as usize).copied().unwrap_or(0);
        let is_counted = |(node, version): &(NodeKey, u64)| *version <= counted(node);
        inner.loaded && !inner.sums.missed && versions.iter().all(is_counted)
    }

    /// The sums over all GPUs; `None` until the ledger was added up once.
    pub fn fleet(&self) -> Option<Fleet> {
        let inner = self.lock();
        inner.loaded.then_some(inner.sums.fleet)
    }

    /// The totals of each GPU that a node reports; `None` where it has none, or another node holds it.
    pub fn of<'a>(&self, gpus: impl Iterator<Item = (&'a NodeName, &'a GpuUuid)>) -> Vec<Option<Counts>> {
        let mut gpus = gpus.peekable();
        let mut all = Vec::with_capacity(gpus.size_hint().0);
        while gpus.peek().is_some() {
            let inner = self.lock();
            all.extend(gpus.by_ref().take(GPUS_AT_ONCE).map(|(node, uuid)| inner.counts(node, uuid)));
        }
        all
    }

    /// From now on what is committed is kept, until the ledger was read.
    pub fn begin(&self) -> Reading<'_> {
        self.lock().kept = Some(Kept::default());
        Reading { tally: self }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger is being read.
pub struct Reading<'a> {
    tally: &'a Tally,
}

impl Reading<'_> {
    /// Takes what the ledger held when it was read: the list of GPUs first, then the totals. False where
    /// too much was committed meanwhile, or the ledger is another one by now: then nothing has changed.
    pub fn end(self, gpus: &[GpuRecord], totals: &LedgerTotals) -> bool {
        let mut sums = Sums::of(gpus, totals);
        let mut inner = self.tally.lock();
        let Some(kept) = inner.kept.take().filter(|kept| kept.rows <= KEPT_ROWS_MAX) else { return false };
        // GPUs that were registered after the list was read; what was committed may be theirs.
        let known = inner.sums.gpus.iter().zip(0..).filter_map(|(known, key)| Some((key, (*known)?)));
        known.for_each(|(key, known)| sums.hold_new(GpuKey(key), known.holder));
        kept.added.iter().for_each(|added| sums.count(added));
        inner.sums = sums;
        inner.loaded = true;
        true
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.tally.lock().kept = None;
    }
}

impl Sums {
    fn of(gpus: &[GpuRecord], totals: &LedgerTotals) -> Self {
        let mut sums = Self::default();
        for record in gpus {
            sums.hold(record.key, record.node);
        }
        for &(node, version) in &totals.versions {
            *slot(&mut sums.versions, node.0) = version;
        }
        for total in &totals.gpus {
            sums.add(total.gpu, &Counts::from(&total.total));
        }
        sums
    }

    fn get(&self, key: GpuKey) -> Option<&Known> {
        usize::try_from(key.0).ok().and_then(|at| self.gpus.get(at)).and_then(Option::as_ref)
    }

    /// The GPU is held by this node.
    fn hold(&mut self, key: GpuKey, holder: NodeKey) {
        self.hold_new(key, holder);
        if let Some(known) = slot(&mut self.gpus, key.0) {
            known.holder = holder;
        }
    }

    fn hold_new(&mut self, key: GpuKey, holder: NodeKey) {
        let known = slot(&mut self.gpus, key.0);
        if known.is_none() {
            *known = Some(Known { holder, counts: Counts::default() });
            self.fleet.registered += 1;
        }
    }

    /// Counts a commit that is not in what was read.
    fn count(&mut self, added: &Added) {
        if added.base_version < *slot(&mut self.versions, added.node.0) {
            return;
        }
        self.move_on(added.node, added.base_version);
        added.taken_from.iter().for_each(|(from, base_version)| self.move_on(*from, *base_version));
        added.taken.iter().for_each(|gpu| self.hold(*gpu, added.node));
        added.rows.iter().for_each(|(gpu, counts)| self.add(*gpu, counts));
    }

    /// A commit began from this version of the node.
    fn move_on(&mut self, node: NodeKey, base_version: u64) {
        let counted = slot(&mut self.versions, node.0);
        self.missed |= base_version > *counted;
        *counted = (*counted).max(base_version.saturating_add(1));
    }

    fn add(&mut self, gpu: GpuKey, counts: &Counts) {
        // A GPU has rows only after it was registered.
        if let Some(known) = slot(&mut self.gpus, gpu.0) {
            known.counts.add(counts);
        }
        self.fleet.counts.add(counts);
    }
}

/// The entry of a number.
fn slot<T: Default>(list: &mut Vec<T>, number: u32) -> &mut T {
    let at = number as usize;
    if list.len() <= at {
        list.resize_with(at + 1, T::default);
    }
    &mut list[at]
}

#[cfg(test)]
mod tests;
