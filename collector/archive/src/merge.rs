//! Rows of two sources in one order, those of one key added up.

use crate::table::{Kind, Row};
use gpuledger_units::Overflow;
use std::iter::Peekable;

/// Both sources are sorted by their keys, and each has a key once.
pub struct Merge<A: Iterator, B: Iterator> {
    one: Peekable<A>,
    other: Peekable<B>,
}

impl<A: Iterator, B: Iterator> Merge<A, B> {
    pub fn new(one: A, other: B) -> Self {
        Self { one: one.peekable(), other: other.peekable() }
    }
}

impl<K, E, A, B> Iterator for Merge<A, B>
where
    K: Kind,
    E: From<Overflow>,
    A: Iterator<Item = Result<Row<K>, E>>,
    B: Iterator<Item = Result<Row<K>, E>>,
{
    type Item = Result<Row<K>, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let (one, other) = match (self.one.peek(), self.other.peek()) {
            (Some(Ok(one)), Some(Ok(other))) => (one.key, other.key),
            // What has failed is told at once.
            (Some(Err(_)), _) | (_, None) => return self.one.next(),
            (_, Some(Err(_))) | (None, _) => return self.other.next(),
        };
        if one < other {
            return self.one.next();
        }
        if other < one {
            return self.other.next();
        }
        let both = self.one.next()?.and_then(|mut row| {
            if let Some(other) = self.other.next().transpose()? {
                row.values.add(&other.values)?;
            }
            Ok(row)
        });
        Some(both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::RowKey;
    use gpuledger_ledger::GpuHour;
    use gpuledger_units::Millijoules;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Drawn = BTreeMap<(u32, u32, u32), u64>;
    type Given = Result<Row<GpuHour>, Overflow>;

    fn rows(drawn: &Drawn) -> impl Iterator<Item = Given> {
        drawn.iter().map(|(&(subject, hour, owner), &energy)| {
            let values = GpuHour { counter_mj: Millijoules(energy), ..GpuHour::default() };
            Ok(Row { key: RowKey { subject, hour, owner }, values })
        })
    }

    fn drawn() -> impl Strategy<Value = Drawn> {
        proptest::collection::btree_map((0_u32..4, 0_u32..4, 0_u32..3), 0_u64..1_000, 0..20)
    }

    proptest! {
        #[test]
        fn merged_rows_are_those_of_both_added_up_by_key(one in drawn(), other in drawn()) {
            let mut naive = one.clone();
            for (&key, &energy) in &other {
                *naive.entry(key).or_default() += energy;
            }
            let merged: Vec<_> = Merge::new(rows(&one), rows(&other)).map(Result::unwrap).collect();
            let expected: Vec<_> = rows(&naive).map(Result::unwrap).collect();
            prop_assert!(merged == expected);
        }
    }

    #[test]
    fn a_sum_that_overflows_is_told_and_what_failed_ends_it() {
        let large = Drawn::from([((1, 1, 1), u64::MAX)]);
        assert!(Merge::new(rows(&large), rows(&large)).next().unwrap().is_err());
        let failing = std::iter::once(Err(Overflow("test")));
        assert!(Merge::new(rows(&large), failing).next().unwrap().is_err());
    }
}
