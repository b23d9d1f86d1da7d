//! What waits for a commit over all nodes together, so that a store that stalls fills no memory.
//!
//! What one node may have waiting is enough for a year of it, and ten thousand times that is not. Beyond
//! the bound over all, a node is read from only while it has less than its share waiting. So those that
//! catch up wait for the store, live ones go on, and none starves: what a node has waiting is in the next
//! commit, which lets it go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows that may wait for a commit over all nodes: eleven times those of 10,000 live nodes with eight GPUs
/// each. About 200 MiB, and with the shares of those that have less at most twice that.
pub const UNCOMMITTED_ROWS_OF_ALL_MAX: usize = 1_000_000;

/// Everything that waits.
#[derive(Debug)]
pub struct Crowd {
    rows_max: usize,
    rows: AtomicUsize,
    /// Nodes that have rows waiting.
    nodes: AtomicUsize,
}

impl Default for Crowd {
    fn default() -> Self {
        Self::of(UNCOMMITTED_ROWS_OF_ALL_MAX)
    }
}

impl Crowd {
    pub const fn of(rows_max: usize) -> Self {
        Self { rows_max, rows: AtomicUsize::new(0), nodes: AtomicUsize::new(0) }
    }

    /// Rows that wait at present.
    #[cfg(test)]
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether a node that has so many rows waiting may add to them. One that has none always may: no commit
    /// would wake it up later.
    fn has_room_beside(&self, rows: usize) -> bool {
        let share = self.rows_max / self.nodes.load(Ordering::Relaxed).max(1);
        rows < share.max(1) || self.rows.load(Ordering::Relaxed) < self.rows_max
    }
}

/// What one node has waiting. It leaves the crowd with the node.
#[derive(Debug, Default)]
pub struct Part {
    crowd: Arc<Crowd>,
    rows: usize,
}

impl Part {
    pub fn of(crowd: &Arc<Crowd>) -> Self {
        Self { crowd: Arc::clone(crowd), rows: 0 }
    }

    /// So many rows wait now.
    pub fn set(&mut self, rows: usize) {
        // Counts alone: nothing else is told by them, so no order among them is needed.
        self.crowd.rows.fetch_add(rows, Ordering::Relaxed);
        self.crowd.rows.fetch_sub(self.rows, Ordering::Relaxed);
        match (self.rows, rows) {
            (0, 1..) => drop(self.crowd.nodes.fetch_add(1, Ordering::Relaxed)),
            (1.., 0) => drop(self.crowd.nodes.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.rows = rows;
    }

    /// Whether the node may be read from.
    pub fn may_grow(&self) -> bool {
        self.crowd.has_room_beside(self.rows)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_a_node_grows_to_its_share_and_no_further() {
        let crowd = Arc::new(Crowd::of(100));
        let mut parts: Vec<Part> = (0..4).map(|_| Part::of(&crowd)).collect();
        parts[0].set(99);
        assert!(parts[0].may_grow(), "there is room");
        parts[1].set(1);
        assert!(!parts[0].may_grow(), "there is none");
        assert!(parts[1].may_grow(), "it has less than half");
        parts[1].set(50);
        assert!(!parts[1].may_grow());
        assert!(parts[2].may_grow(), "nothing of it waits");
        parts[2].set(32);
        assert!(parts[2].may_grow() && !parts[1].may_grow());
    }

    #[test]
    fn a_node_that_has_nothing_waiting_is_read_however_many_others_have() {
        let crowd = Arc::new(Crowd::of(1));
        let mut parts: Vec<Part> = (0..4).map(|_| Part::of(&crowd)).collect();
        parts[..3].iter_mut().for_each(|part| part.set(7));
        assert!(parts[3].may_grow() && !parts[0].may_grow());
    }

    #[test]
    fn what_is_committed_or_dropped_makes_room() {
        let crowd = Arc::new(Crowd::of(100));
        let (mut one, mut other) = (Part::of(&crowd), Part::of(&crowd));
        one.set(100);
        other.set(80);
        assert!(!one.may_grow() && !other.may_grow());
        one.set(10);
        assert!(one.may_grow() && other.may_grow());
        drop(other);
        assert_eq!((crowd.rows(), crowd.nodes.load(Ordering::Relaxed)), (10, 1));
    }
}
