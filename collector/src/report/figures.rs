//! Sums of a statement's lines, as several formats show them. Sums only: nothing is priced here.

use super::FAMILIES;
use gpuledger_tco::statement::{Family, Statement};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// What each group spent on each family.
pub struct ByFamily<'a> {
    sums: BTreeMap<(&'a str, Family), Decimal>,
    /// Families that have a line, in the order of the statement.
    pub families: Vec<Family>,
}

impl<'a> ByFamily<'a> {
    pub fn of(statement: &'a Statement) -> Self {
        let mut sums: BTreeMap<(&str, Family), Decimal> = BTreeMap::new();
        for line in &statement.lines {
            let sum = sums.entry((line.group.as_str(), line.family)).or_default();
            // The statement's total holds every line, so no part of it leaves the range.
            *sum = sum.saturating_add(line.amount);
        }
        let present = |family: &Family| sums.keys().any(|(_, f)| f == family);
        let families = FAMILIES.into_iter().filter(present).collect();
        Self { sums, families }
    }

    pub fn of_group(&self, group: &str, family: Family) -> Decimal {
        self.sums.get(&(group, family)).copied().unwrap_or_default()
    }

    pub fn total(&self, family: Family) -> Decimal {
        let of_family = self.sums.iter().filter(|((_, f), _)| *f == family);
        of_family.fold(Decimal::ZERO, |sum, (_, amount)| sum.saturating_add(*amount))
    }
}

/// `part / whole`, or nothing where the whole is nothing.
pub fn ratio(part: Decimal, whole: Decimal) -> Option<Decimal> {
    if whole.is_zero() { None } else { part.checked_div(whole) }
}
