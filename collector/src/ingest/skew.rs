//! How far a node's clock is off the collector's.
//!
//! A message says when it was sent. What the collector's clock says less that is the time on the way
//! and the skew of both clocks; the time on the way is never negative. So the largest lead of the
//! node's clock among recent messages is the one with the shortest way, and is below the skew by just
//! that.

use std::collections::VecDeque;

/// Messages that are remembered: those of a live agent within [`RECENT_MS`].
const RECENT_MESSAGES: usize = 16;
/// A clock that was set right shows as such after this.
const RECENT_MS: u64 = 120_000;

/// What the messages of one stream say.
#[derive(Debug, Default)]
pub struct Skew {
    /// When a message came, and how far its clock was ahead then.
    recent: VecDeque<(u64, i64)>,
}

impl Skew {
    /// Takes a message in that did not wait for the collector. Gives the skew: positive where the node
    /// is ahead.
    pub fn note(&mut self, now_ms: u64, sent_ms: u64) -> i64 {
        // A collector's clock that was set back leaves messages of the future.
        self.recent.retain(|&(at_ms, _)| (now_ms.saturating_sub(RECENT_MS)..=now_ms).contains(&at_ms));
        if self.recent.len() == RECENT_MESSAGES {
            self.recent.pop_front();
        }
        self.recent.push_back((now_ms, difference(sent_ms, now_ms)));
        self.ms().unwrap_or_default()
    }

    /// The skew as last known.
    pub fn ms(&self) -> Option<i64> {
        self.recent.iter().map(|&(_, ahead_ms)| ahead_ms).max()
    }
}

fn difference(a: u64, b: u64) -> i64 {
    let distance = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { distance } else { -distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_with_the_shortest_way_tells_the_skew() {
        let mut skew = Skew::default();
        assert_eq!(skew.ms(), None);
        for (now_ms, sent_ms) in [(10_000, 14_100), (20_000, 24_900), (30_000, 22_000)] {
            skew.note(now_ms, sent_ms);
        }
        assert_eq!(skew.ms(), Some(4_900));
    }

    #[test]
    fn a_clock_that_was_set_right_is_forgotten_after_two_minutes() {
        let mut skew = Skew::default();
        assert_eq!(skew.note(1_000, 61_000), 60_000);
        assert_eq!(skew.note(121_000, 120_990), 60_000);
        assert_eq!(skew.note(121_001, 120_991), -10);
    }

    #[test]
    fn a_collector_s_clock_that_was_set_back_starts_anew() {
        let mut skew = Skew::default();
        skew.note(1_000_000, 1_000_000);
        assert_eq!(skew.note(400_000, 1_000_000), 600_000);
        assert_eq!(skew.note(500, 500), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_no_clock_overflows() {
        let mut skew = Skew::default();
        for _ in 0..1_000 {
            skew.note(5, u64::MAX);
        }
        assert_eq!((skew.recent.len(), skew.ms()), (RECENT_MESSAGES, Some(i64::MAX)));
        assert_eq!(Skew::default().note(u64::MAX, 0), -i64::MAX);
    }
}
