//! What the ledger says of owning: cost and use of each model, in the terms of a decision.
//!
//! From a statement by model of some period: what does not depend on use is fixed and taken to a year of
//! 8760 hours; electricity of hours that somebody owned is what such an hour costs beyond that.

use super::split::Prices;
use super::way::{Offer, YEAR_HOURS};
use crate::decimal::{add, div, mul, ratio, sub, sum};
use crate::error::TcoError;
use crate::evaluate::{Inputs, evaluate};
use crate::rent::RentPrice;
use crate::statement::{Family, GroupBy};
use rust_decimal::Decimal;

/// One model of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub model: String,
    pub gpus: u64,
    pub hours_in_service: Decimal,
    pub hours_active: Decimal,
    /// Active and held.
    pub hours_owned: Decimal,
    /// Owned ÷ in service; `None` without hours in service.
    pub utilization: Option<Decimal>,
    /// Cost of the period beside electricity, and electricity.
    pub fixed: Decimal,
    pub electricity: Decimal,
    /// Fixed cost of one GPU and year; `None` without hours in service.
    pub fixed_per_gpu_year: Option<Decimal>,
    /// Electricity of an owned hour; `None` without one.
    pub per_owned_hour: Option<Decimal>,
}

impl Measured {
    /// The prices of a split against a rent of the same work; `None` without hours.
    pub fn prices(&self, rent_per_hour: Decimal) -> Option<Prices> {
        let (own_per_year, own_per_hour) = (self.fixed_per_gpu_year?, self.per_owned_hour?);
        Some(Prices { own_per_year, own_per_hour: own_per_hour.max(Decimal::ZERO), rent_per_hour })
    }
}

/// Every model of the inputs, by name.
pub fn measured(inputs: &Inputs) -> Result<Vec<Measured>, TcoError> {
    let statement = evaluate(&Inputs { by: GroupBy::Model, ..inputs.clone() })?;
    let of_model = |group: &crate::statement::Group| {
        let energy =
            statement.lines.iter().filter(|line| line.group == group.name && line.family == Family::Energy);
        let electricity = sum(energy.map(|line| line.amount))?;
        let fixed = sub(group.total.amount, electricity)?;
        let owned = add(group.hours.active, group.hours.held_idle)?;
        let hourly = ratio(fixed, group.hours.in_service)?;
        Ok(Measured {
            model: group.name.clone(),
            gpus: group.gpus,
            hours_in_service: group.hours.in_service,
            hours_active: group.hours.active,
            hours_owned: owned,
            utilization: ratio(owned, group.hours.in_service)?,
            fixed,
            electricity,
            fixed_per_gpu_year: hourly.map(|hour| mul(hour, YEAR_HOURS)).transpose()?,
            per_owned_hour: if owned.is_zero() {
                None
            } else {
                Some(div(electricity, owned, "electricity")?)
            },
        })
    };
    statement.groups.iter().map(of_model).collect()
}

impl Offer {
    /// A price of the list as an offer that leaves nothing out but what the list does not say.
    pub fn of_price(price: &RentPrice) -> Self {
        Self {
            name: format!("{}, {}", price.offer, price.kind.label()),
            per_gpu_hour: price.per_gpu_hour,
            throughput: Decimal::ONE,
            goodput: Decimal::ONE,
            idle: Decimal::ZERO,
            support: Decimal::ZERO,
            egress_per_month: Decimal::ZERO,
            storage_per_month: Decimal::ZERO,
            trend: Decimal::ZERO,
            source: format!(
                "{}, in force from {}, fetched {}",
                price.source, price.effective_from, price.fetched_at
            ),
        }
    }
}
