//! Which wall-clock time has been counted already: a set of half-open intervals.
//!
//! Invariants: spans are sorted, not empty, and neither overlap nor touch; at most [`SPANS_MAX`]. The
//! usual claim extends the last span and costs nothing else. What was claimed since [`Coverage::begin`]
//! can be undone, which costs nothing either as long as only the last span grows.

/// More interruptions than a node sees in years. When there are more, the narrowest gap is closed:
/// its time then counts as covered, so that it can be lost but never counted twice.
pub const SPANS_MAX: usize = 1_024;

/// `from` is in it, `to` is not; milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

impl Span {
    pub const fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Coverage {
    spans: Vec<Span>,
    before: Option<Before>,
}

/// What the spans were: the first so many are the same, and the last of them was this, unless all had to
/// be kept.
#[derive(Debug, Clone)]
struct Before {
    length: usize,
    last: Option<Span>,
    all: Option<Vec<Span>>,
}

impl PartialEq for Coverage {
    fn eq(&self, other: &Self) -> bool {
        self.spans == other.spans
    }
}

impl Eq for Coverage {}

impl Coverage {
    /// Takes spans in any order and shape, as they come from a stored state.
    pub fn from_spans(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut coverage = Self::default();
        let mut ignored = Vec::new();
        for span in spans {
            coverage.claim(span.from, span.to, &mut ignored);
            ignored.clear();
        }
        coverage
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// From here on can be undone.
    pub fn begin(&mut self) {
        self.before = Some(Before { length: self.spans.len(), last: self.spans.last().copied(), all: None });
    }

    /// What was claimed since [`Coverage::begin`] stays.
    pub fn keep(&mut self) {
        self.before = None;
    }

    /// What was claimed since [`Coverage::begin`] was never claimed.
    pub fn undo(&mut self) {
        match self.before.take() {
            Some(Before { all: Some(all), .. }) => self.spans = all,
            Some(before) => self.spans = before.of(&self.spans),
            None => {}
        }
    }

    /// Spans from here on are about to change.
    fn about_to_change(&mut self, first: usize) {
        if let Some(before) = &mut self.before
            && before.all.is_none()
            && first + 1 < before.length
        {
            before.all = Some(before.of(&self.spans));
        }
    }

    /// Whether the last span ends there, so that time from there on extends it.
    pub fn ends_at(&self, at: u64) -> bool {
        self.spans.last().is_some_and(|last| last.to == at)
    }

    /// Covers the time from the end of the last span on.
    pub fn extend(&mut self, to: u64) {
        if let Some(last) = self.spans.last_mut() {
            last.to = last.to.max(to);
        }
    }

    /// Appends the parts of `[from, to)` that are not covered, in order.
    pub fn uncovered(&self, from: u64, to: u64, parts: &mut Vec<Span>) {
        let mut at = from;
        let first = self.spans.partition_point(|s| s.to <= from);
        for span in &self.spans[first..] {
            if span.from >= to {
                break;
            }
            if span.from > at {
                parts.push(Span { from: at, to: span.from });
            }
            at = at.max(span.to);
        }
        if at < to {
            parts.push(Span { from: at, to });
        }
    }

    /// Covers `[from, to)` and appends the parts of it that were not covered before.
    pub fn claim(&mut self, from: u64, to: u64, parts: &mut Vec<Span>) {
        if from >= to {
            return;
        }
        if self.ends_at(from) {
            self.extend(to);
            parts.push(Span { from, to });
            return;
        }
        self.uncovered(from, to, parts);
        // Everything that overlaps or touches becomes one span with the new one.
        let first = self.spans.partition_point(|s| s.to < from);
        let behind = self.spans.partition_point(|s| s.from <= to);
        self.about_to_change(first);
        let joined = self.spans[first..behind].iter().fold(Span { from, to }, |joined, span| Span {
            from: joined.from.min(span.from),
            to: joined.to.max(span.to),
        });
        self.spans.splice(first..behind, [joined]);
        if self.spans.len() > SPANS_MAX {
            self.close_narrowest_gap();
        }
    }

    fn close_narrowest_gap(&mut self) {
        let gaps = self.spans.windows(2).map(|pair| pair[1].from - pair[0].to);
        if let Some((position, _)) = gaps.enumerate().min_by_key(|&(_, gap)| gap) {
            self.about_to_change(position);
            self.spans[position].to = self.spans[position + 1].to;
            self.spans.remove(position + 1);
        }
    }
}

impl Before {
    /// The spans as they were, from spans of which only the last of before and what is behind it changed.
    fn of(&self, spans: &[Span]) -> Vec<Span> {
        let mut spans = spans[..self.length].to_vec();
        if let (Some(to), Some(last)) = (spans.last_mut(), self.last) {
            *to = last;
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(coverage: &mut Coverage, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        coverage.claim(from, to, &mut parts);
        parts.into_iter().map(|s| (s.from, s.to)).collect()
    }

    #[test]
    fn a_second_claim_of_the_same_time_gets_nothing() {
        let mut coverage = Coverage::default();
        assert_eq!(claim(&mut coverage, 10, 20), [(10, 20)]);
        assert_eq!(claim(&mut coverage, 10, 20), []);
        assert_eq!(claim(&mut coverage, 5, 25), [(5, 10), (20, 25)]);
        assert_eq!(coverage.spans(), [Span { from: 5, to: 25 }]);
    }

    #[test]
    fn an_empty_or_backward_claim_gets_nothing() {
        let mut coverage = Coverage::default();
        assert_eq!(claim(&mut coverage, 7, 7), []);
        assert_eq!(claim(&mut coverage, 8, 7), []);
        assert_eq!(coverage, Coverage::default());
    }

    #[test]
    fn too_many_gaps_close_the_narrowest_and_never_count_twice() {
        let mut coverage = Coverage::default();
        let spans = u64::try_from(SPANS_MAX).unwrap() + 1;
        for i in 0..spans {
            let gap = u64::from(i == 3);
            claim(&mut coverage, i * 100 - gap, i * 100 + 10);
        }
        assert_eq!(coverage.spans().len(), SPANS_MAX);
        // The narrowest gap lay before the fourth span, which began a millisecond early.
        assert_eq!(claim(&mut coverage, 210, 299), []);
        assert_eq!(claim(&mut coverage, 310, 311), [(310, 311)]);
    }

    proptest! {
        /// Whatever was claimed before and since, and however often the narrowest gap was closed.
        #[test]
        fn what_is_undone_was_never_claimed(
            before in prop::collection::vec((0u64..300, 0u64..40), 0..30),
            since in prop::collection::vec((0u64..400, 0u64..40), 0..30),
            full in any::<bool>(),
        ) {
            let mut coverage = Coverage::default();
            for at in 0..if full { SPANS_MAX as u64 } else { 0 } {
                claim(&mut coverage, 500 + 3 * at, 501 + 3 * at);
            }
            for (from, length) in before {
                claim(&mut coverage, from, from + length);
            }
            let kept = coverage.clone();
            coverage.begin();
            for &(from, length) in &since {
                claim(&mut coverage, from, from + length);
            }
            let changed = coverage.clone();
            coverage.undo();
            prop_assert_eq!(&coverage, &kept);
            coverage.begin();
            for &(from, length) in &since {
                claim(&mut coverage, from, from + length);
            }
            coverage.keep();
            coverage.undo();
            prop_assert_eq!(coverage, changed);
        }

        /// Whatever is claimed, in whatever order: each millisecond is handed out exactly once.
        #[test]
        fn every_millisecond_is_handed_out_once(claims in prop::collection::vec((0u64..300, 0u64..40), 1..60)) {
            let mut coverage = Coverage::default();
            let mut given = [0u32; 400];
            let mut asked = [false; 400];
            for (from, length) in claims {
                for part in claim(&mut coverage, from, from + length) {
                    for ms in part.0..part.1 {
                        given[usize::try_from(ms).unwrap()] += 1;
                    }
                }
                for ms in from..from + length {
                    asked[usize::try_from(ms).unwrap()] = true;
                }
            }
            for ms in 0..400 {
                prop_assert_eq!(given[ms], u32::from(asked[ms]));
            }
            prop_assert!(coverage.spans().windows(2).all(|w| w[0].to < w[1].from));
            prop_assert_eq!(&Coverage::from_spans(coverage.spans().iter().rev().copied()), &coverage);
        }
    }
}
