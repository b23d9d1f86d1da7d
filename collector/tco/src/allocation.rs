//! Splits pools over months, models, nodes, owners or sites, to the smallest unit of the currency.
//!
//! - Cost of time is shared by time in service, GPU by GPU; energy is its holder's own. By owner, the
//!   holder pays for held idle time, and free, down and unmonitored time are groups of their own,
//!   written in brackets.
//! - The pools of a family in a month are rounded once, together; the shares are then rounded down and
//!   what is left goes to the largest remainders. So shares sum to pools, and every grouping to the same
//!   total.

use crate::calendar::{Month, Segment};
use crate::decimal::{add, div, floor, from_u128, mul, sub, sum};
use crate::energy;
use crate::error::TcoError;
use crate::facility::Key;
use crate::pools::{Basis, Pool, rounded_total};
use crate::service::Fleet;
use crate::statement::{Family, GroupBy};
use crate::tally::{Cell, Holder, Peak, Tally, plus, plus_signed};
use crate::usage::{UNKNOWN, Usage};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::BTreeMap;

/// Splits an amount in units of 10⁻`digits` so that the shares sum to it: each exact share rounded down,
/// the units left over to the largest remainders, ties to the earlier share. The exact shares sum to
/// the amount to within rounding; a share of exactly zero gets nothing.
pub fn settle(total: Decimal, exact: &[Decimal], digits: u32) -> Result<Vec<Decimal>, TcoError> {
    let unit = Decimal::new(1, digits);
    let mut shares: Vec<Decimal> = exact.iter().map(|&share| floor(share, digits)).collect();
    let mut order: Vec<(Decimal, usize)> = Vec::new();
    for (position, (&share, &down)) in exact.iter().zip(&shares).enumerate() {
        if !share.is_zero() {
            order.push((sub(share, down)?, position));
        }
    }
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let left = div(sub(total, sum(shares.iter().copied())?)?, unit, "what is left")?;
    let left = left.to_i64().ok_or(TcoError::Overflow("what is left"))?;
    // Shares that do not quite sum to the total can leave one unit too few: the smallest remainder gives it.
    let step = if left < 0 { sub(Decimal::ZERO, unit)? } else { unit };
    if left < 0 {
        order.reverse();
    }
    let count = usize::try_from(left.unsigned_abs()).unwrap_or(usize::MAX);
    for (_, position) in order.iter().cycle().take(if order.is_empty() { 0 } else { count }) {
        if let Some(share) = shares.get_mut(*position) {
            *share = add(*share, step)?;
        }
    }
    Ok(shares)
}

/// The groups of a statement and which cell belongs to which.
pub struct Groups<'a> {
    by: GroupBy,
    fleet: &'a Fleet,
    segments: &'a [Segment],
    /// In the order of the statement: as time runs, else by name with those in brackets last.
    pub names: Vec<String>,
    /// Group of each month, GPU (model, node, site) or owner number.
    of: Vec<usize>,
    free: usize,
    down: usize,
    unmonitored: usize,
}

impl<'a> Groups<'a> {
    pub fn new(
        by: GroupBy,
        usage: &Usage,
        fleet: &'a Fleet,
        site_names: &[String],
        months: &[Month],
        segments: &'a [Segment],
    ) -> Self {
        let node = |gpu: &crate::service::Gpu| fleet.nodes.get(gpu.node).map(|node| node.name.clone());
        let site = |gpu: usize| site_names.get(fleet.site_of(gpu)).cloned();
        let raw: Vec<String> = match by {
            GroupBy::Month => months.iter().map(ToString::to_string).collect(),
            GroupBy::Model => fleet.gpus.iter().map(|gpu| gpu.model.clone()).collect(),
            GroupBy::Node => fleet.gpus.iter().map(|gpu| node(gpu).unwrap_or_default()).collect(),
            GroupBy::Site => (0..fleet.gpus.len()).map(|gpu| site(gpu).unwrap_or_default()).collect(),
            GroupBy::Owner => owner_names(usage),
        };
        let states = ["(free)", "(down)", "(unmonitored)"];
        let mut names = raw.clone();
        if by == GroupBy::Owner {
            names.extend(states.map(str::to_owned));
        }
        names.sort_by(|a, b| (a.starts_with('('), a).cmp(&(b.starts_with('('), b)));
        names.dedup();
        let position = |name: &str| names.iter().position(|known| known == name).unwrap_or_default();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let of = raw.iter().map(|name| *known.entry(name).or_insert_with(|| position(name))).collect();
        let [free, down, unmonitored] = states.map(position);
        Self { by, fleet, segments, names, of, free, down, unmonitored }
    }

    /// The group of a cell.
    pub fn of(&self, segment: usize, gpu: usize, holder: Holder) -> usize {
        let position = match (self.by, holder) {
            (GroupBy::Month, _) => self.segments.get(segment).map_or(0, |segment| segment.month),
            (GroupBy::Owner, Holder::Free) => return self.free,
            (GroupBy::Owner, Holder::Down) => return self.down,
            (GroupBy::Owner, Holder::Unmonitored) => return self.unmonitored,
            (GroupBy::Owner, Holder::Owner(number)) => usize::try_from(number).unwrap_or(usize::MAX),
            (GroupBy::Model | GroupBy::Node | GroupBy::Site, _) => gpu,
        };
        let unknown = usize::try_from(UNKNOWN).unwrap_or_default();
        self.of.get(position).or_else(|| self.of.get(unknown)).copied().unwrap_or_default()
    }

    /// Walks the cells of a month, or of all, with the group of each.
    pub fn cells<'t>(
        &'t self,
        tally: &'t Tally,
        gpus: &'t [usize],
        month: Option<usize>,
    ) -> impl Iterator<Item = (usize, usize, usize, &'t Cell)> + 't {
        let segments = self.segments.iter().enumerate();
        let segments = segments.filter(move |(_, segment)| month.is_none_or(|month| segment.month == month));
        segments.flat_map(move |(segment, _)| {
            gpus.iter().flat_map(move |&gpu| {
                let cells = tally.cells(segment, gpu).iter();
                cells.map(move |(holder, cell)| (self.of(segment, gpu, *holder), segment, gpu, cell))
            })
        })
    }

    /// The group that carries what has no cell at all.
    fn fallback(&self, gpus: &[usize], month: usize) -> usize {
        let segment = self.segments.iter().position(|segment| segment.month == month).unwrap_or_default();
        self.of(segment, gpus.first().copied().unwrap_or_default(), Holder::Unmonitored)
    }

    /// All GPUs of the fleet.
    pub fn all(&self) -> Vec<usize> {
        (0..self.fleet.gpus.len()).collect()
    }
}

/// The name of every owner number.
fn owner_names(usage: &Usage) -> Vec<String> {
    let unknown = "(unknown)".to_owned();
    let mut names = vec![unknown.clone(), unknown];
    names.extend(usage.owners.iter().skip(2).cloned());
    names
}

/// What one group pays of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Position in the list of pools.
    pub pool: usize,
    pub group: usize,
    pub exact: Decimal,
    /// In the smallest unit; shares of a family and month sum to its rounded total.
    pub amount: Decimal,
    /// GPU-time (ms) or energy (mJ) of the group, and of all that share the pool.
    pub part: u128,
    pub whole: u128,
}

/// Splits every pool over the groups.
pub fn allocate(
    pools: &[Pool],
    tally: &Tally,
    groups: &Groups<'_>,
    digits: u32,
) -> Result<Vec<Share>, TcoError> {
    let mut shares: Vec<Share> = Vec::new();
    let mut together: BTreeMap<(Family, usize), Vec<usize>> = BTreeMap::new();
    for (position, pool) in pools.iter().enumerate() {
        for share in split(position, pool, tally, groups)? {
            together.entry((pool.family, pool.month)).or_default().push(shares.len());
            shares.push(share);
        }
    }
    for ((family, month), members) in together {
        let of_family = pools.iter().filter(|pool| pool.family == family && pool.month == month);
        let total = rounded_total(of_family, digits)?;
        let exact: Vec<Decimal> =
            members.iter().filter_map(|&m| shares.get(m)).map(|share| share.exact).collect();
        for (member, amount) in members.into_iter().zip(settle(total, &exact, digits)?) {
            if let Some(share) = shares.get_mut(member) {
                share.amount = amount;
            }
        }
    }
    Ok(shares)
}

/// Weight and priced energy of each group, and all of the weight.
type Weights = (BTreeMap<usize, (u64, i128)>, u64);

fn weigh(pool: &Pool, basis: Basis, tally: &Tally, groups: &Groups<'_>) -> Result<Weights, TcoError> {
    let (mut parts, mut whole): (BTreeMap<usize, (u64, i128)>, u64) = (BTreeMap::new(), 0);
    let mut give = |group: usize, weight: u64, more: i128| -> Result<(), TcoError> {
        if weight > 0 {
            let (part, priced) = parts.entry(group).or_default();
            plus(part, weight)?;
            plus_signed(priced, more)?;
            plus(&mut whole, weight)?;
        }
        Ok(())
    };
    if let Basis::Peak(peak) = basis {
        for (segment, gpu, holder, mj) in tally.peaks.get(peak).into_iter().flat_map(Peak::loads) {
            give(groups.of(segment, gpu, holder), mj, 0)?;
        }
    } else {
        for (group, _, _, cell) in groups.cells(tally, &pool.gpus, Some(pool.month)) {
            give(group, weight(basis, cell), cell.priced)?;
        }
    }
    Ok((parts, whole))
}

fn weight(basis: Basis, cell: &Cell) -> u64 {
    match basis {
        Basis::Hours(Key::InService) => cell.time_ms(),
        Basis::Hours(Key::Owned) => cell.active_ms.saturating_add(cell.held_ms),
        Basis::Hours(Key::Active) => cell.active_ms,
        Basis::Hours(Key::Energy) | Basis::Energy(_) | Basis::EnergyUsed | Basis::Peak(_) => cell.energy_mj,
    }
}

fn split(position: usize, pool: &Pool, tally: &Tally, groups: &Groups<'_>) -> Result<Vec<Share>, TcoError> {
    let (mut parts, mut whole) = weigh(pool, pool.basis, tally, groups)?;
    if whole == 0 {
        // Where the key finds nobody, time in service is the key; where that finds nobody, too, the
        // group without time carries it.
        (parts, whole) = weigh(pool, Basis::Hours(Key::InService), tally, groups)?;
    }
    if whole == 0 {
        parts.insert(groups.fallback(&pool.gpus, pool.month), (1, 0));
        whole = 1;
    }
    let mut shares = Vec::new();
    for (group, (part, priced)) in parts {
        let exact = match pool.basis {
            Basis::Energy(factor) => mul(energy::amount(priced)?, factor)?,
            _ if part == whole => pool.amount,
            _ => {
                let weighted = mul(pool.amount, from_u128(part.into())?)?;
                div(weighted, from_u128(whole.into())?, "time")?
            }
        };
        let (part, whole) = (part.into(), whole.into());
        shares.push(Share { pool: position, group, exact, amount: Decimal::ZERO, part, whole });
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cents(amounts: &[i64]) -> Vec<Decimal> {
        amounts.iter().map(|&a| Decimal::new(a, 2)).collect()
    }

    #[test]
    fn a_share_of_zero_gets_no_cent() {
        let third = Decimal::from(100) / Decimal::from(3);
        let shares = settle(Decimal::from(100), &[Decimal::ZERO, third, third, third], 2).unwrap();
        assert_eq!(shares, cents(&[0, 3334, 3333, 3333]));
    }

    #[test]
    fn negative_shares_settle_too() {
        let shares = settle(Decimal::new(-1, 2), &[Decimal::new(-15, 3), Decimal::new(5, 3)], 2).unwrap();
        assert_eq!(shares.iter().sum::<Decimal>(), Decimal::new(-1, 2));
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_total_and_differ_from_the_exact_by_less_than_a_unit(
            exact in proptest::collection::vec(-1_000_000_000_i64..1_000_000_000, 1..40)
        ) {
            let exact: Vec<Decimal> = exact.into_iter().map(|e| Decimal::new(e, 6)).collect();
            let total = crate::decimal::round(exact.iter().sum(), 2);
            let shares = settle(total, &exact, 2).unwrap();
            prop_assert_eq!(shares.iter().sum::<Decimal>(), total);
            let unit = Decimal::new(1, 2);
            prop_assert!(exact.iter().zip(&shares).all(|(e, s)| (e - s).abs() <= unit));
        }
    }
}
