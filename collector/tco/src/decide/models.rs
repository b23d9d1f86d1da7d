//! Business models on one page: the same work by each of them, side by side.
//!
//! Own in an own hall, own in colocation, lease, GPU cloud, hyperscaler, a small site near the users:
//! each is a [`Way`] with facts of its own, so that a page is a list of ways and this file knows none of
//! their prices.

use super::case::levelised_of;
use super::way::{Way, Work};
use crate::decimal::{mul, sub, sum};
use crate::error::TcoError;
use crate::finance::{minus, npv_own_after_tax, npv_rent_after_tax};
use rust_decimal::Decimal;

/// One model on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    pub name: String,
    /// Cash before the first hour.
    pub upfront: Decimal,
    pub first_year: Decimal,
    /// All cash of the horizon, before tax and without interest; the sale deducted.
    pub total: Decimal,
    /// Present value after tax; the highest is the best.
    pub present_value: Decimal,
    /// Levelised cost of a useful hour, before tax.
    pub per_useful_hour: Decimal,
    /// Against the best: how much more a useful hour costs, as a share.
    pub over_best: Decimal,
    /// Useful hours that its GPUs can do at most; `None` where hours are rented one by one.
    pub capacity: Option<Decimal>,
    /// True where its GPUs cannot do the work.
    pub too_small: bool,
}

/// The page, the best first; ways that cannot do the work come last.
pub fn compare_models(ways: &[(String, Way)], work: &Work) -> Result<Vec<ModelRow>, TcoError> {
    work.check()?;
    let mut rows = ways.iter().map(|(name, way)| row(name, way, work)).collect::<Result<Vec<_>, _>>()?;
    let best = rows.iter().filter(|row| !row.too_small).map(|row| row.per_useful_hour).min();
    if let Some(best) = best.filter(|best| *best > Decimal::ZERO) {
        for row in &mut rows {
            row.over_best = sub(crate::decimal::div(row.per_useful_hour, best, "a cost")?, Decimal::ONE)?;
        }
    }
    rows.sort_by(|a, b| {
        (a.too_small, a.per_useful_hour, &a.name).cmp(&(b.too_small, b.per_useful_hour, &b.name))
    });
    Ok(rows)
}

fn row(name: &str, way: &Way, work: &Work) -> Result<ModelRow, TcoError> {
    way.check()?;
    let costs = way.costs(work)?;
    let capacity = match way {
        Way::Own(own) => Some(mul(own.fleet.available_hours()?, own.fleet.goodput)?),
        Way::Lease(lease) => Some(mul(lease.fleet.available_hours()?, lease.fleet.goodput)?),
        Way::Rent(_) => None,
    };
    let years: Vec<Decimal> = costs.iter().skip(1).copied().collect();
    let present_value = match way {
        Way::Own(own) => npv_own_after_tax(
            work.discount,
            work.tax_rate,
            own.purchase,
            &own.periods(work.years)?,
            own.sale()?,
        )?,
        Way::Lease(lease) => {
            let kept = sub(Decimal::ONE, work.tax_rate)?;
            let upfront = mul(minus(lease.upfront), kept)?;
            crate::decimal::add(upfront, npv_rent_after_tax(work.discount, work.tax_rate, &years)?)?
        }
        Way::Rent(_) => npv_rent_after_tax(work.discount, work.tax_rate, &years)?,
    };
    Ok(ModelRow {
        name: name.to_owned(),
        upfront: costs.first().copied().unwrap_or_default(),
        first_year: years.first().copied().unwrap_or_default(),
        total: sum(costs.iter().copied())?,
        present_value,
        per_useful_hour: levelised_of(way, work)?,
        over_best: Decimal::ZERO,
        too_small: capacity.is_some_and(|capacity| capacity < work.useful_hours),
        capacity,
    })
}
