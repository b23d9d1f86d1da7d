//! What the ledger says of owning: cost and use of each model, in the terms of a decision.
//!
//! From a statement by model of some period: what does not depend on use is fixed and taken to a year of
//! 8760 hours; electricity of hours that somebody owned is what such an hour costs beyond that.

use super::split::Prices;
use super::way::{Offer, YEAR_HOURS};
use crate::decimal::{add, div, hours, kwh, mul, ratio, sub, sum};
use crate::error::TcoError;
use crate::evaluate::{Evaluation, Inputs};
use crate::rent::RentPrice;
use crate::statement::{Family, Group, GroupBy, Statement};
use crate::tally::Holder;
use crate::view::View;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// One model of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub model: String,
    pub gpus: u64,
    pub hours_in_service: Decimal,
    /// In service and not unmonitored.
    pub hours_observed: Decimal,
    pub hours_active: Decimal,
    /// Active and held.
    pub hours_owned: Decimal,
    /// Owned ÷ in service; `None` without hours in service.
    pub utilization: Option<Decimal>,
    /// Cost of the period beside electricity, and electricity.
    pub fixed: Decimal,
    pub electricity: Decimal,
    /// The part of `fixed` that is cash: neither depreciation nor capital charge.
    pub fixed_cash: Decimal,
    pub energy_kwh: Decimal,
    /// Mean PUE of its sites, by energy; `None` without energy.
    pub pue: Option<Decimal>,
    /// Mean power of a GPU with its share of the host, owned and free; `None` where there was no such time.
    pub kw_owned: Option<Decimal>,
    pub kw_free: Option<Decimal>,
    /// Cost of what was bought for it and still stands there, and what that will bring at the end of its life.
    pub purchase: Decimal,
    pub salvage: Decimal,
    /// Serial of each of these assets, and the share of it that is this model's.
    pub assets: Vec<(String, Decimal)>,
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
    measured_of(&Evaluation::of(inputs)?, inputs)
}

/// The same of an evaluation of the inputs.
pub fn measured_of(evaluation: &Evaluation, inputs: &Inputs) -> Result<Vec<Measured>, TcoError> {
    let statement = evaluation.statement(inputs, GroupBy::Model)?;
    let view = evaluation.view(inputs);
    statement.groups.iter().map(|group| of_model(&view, &statement, group)).collect()
}

fn of_model(view: &View<'_>, statement: &Statement, group: &Group) -> Result<Measured, TcoError> {
    let family = |wanted: fn(Family) -> bool| {
        let lines = statement.lines.iter().filter(|line| line.group == group.name && wanted(line.family));
        sum(lines.map(|line| line.amount))
    };
    let electricity = family(|family| family == Family::Energy)?;
    let fixed = sub(group.total.amount, electricity)?;
    let owned = add(group.hours.active, group.hours.held_idle)?;
    let hourly = ratio(fixed, group.hours.in_service)?;
    let power = Power::of(view, &group.name)?;
    let bought = Bought::of(view, &group.name)?;
    Ok(Measured {
        model: group.name.clone(),
        gpus: group.gpus,
        hours_in_service: group.hours.in_service,
        hours_observed: sub(group.hours.in_service, group.hours.unmonitored)?,
        hours_active: group.hours.active,
        hours_owned: owned,
        utilization: ratio(owned, group.hours.in_service)?,
        fixed,
        electricity,
        fixed_cash: family(|family| matches!(family, Family::Colocation | Family::Overhead))?,
        energy_kwh: group.energy_kwh,
        pue: power.pue,
        kw_owned: power.owned,
        kw_free: power.free,
        purchase: bought.purchase,
        salvage: bought.salvage,
        assets: bought.assets,
        fixed_per_gpu_year: hourly.map(|hour| mul(hour, YEAR_HOURS)).transpose()?,
        per_owned_hour: if owned.is_zero() { None } else { Some(div(electricity, owned, "electricity")?) },
    })
}

struct Power {
    pue: Option<Decimal>,
    owned: Option<Decimal>,
    free: Option<Decimal>,
}

impl Power {
    fn of(view: &View<'_>, model: &str) -> Result<Self, TcoError> {
        // Energy and time, owned and free; energy by site.
        let mut of = [(0_u128, 0_u128); 2];
        let mut sites: BTreeMap<usize, u128> = BTreeMap::new();
        for (gpu, known) in view.fleet.gpus.iter().enumerate().filter(|(_, gpu)| gpu.model == model) {
            let site = view.fleet.nodes.get(known.node).map_or(0, |node| node.site);
            for (holder, cell) in (0..view.segments.len()).flat_map(|segment| view.tally.cells(segment, gpu))
            {
                let energy = sites.entry(site).or_default();
                *energy = energy.saturating_add(cell.energy_mj.into());
                let [owned, free] = &mut of;
                let (mj, ms) = match holder {
                    Holder::Owner(_) => owned,
                    Holder::Free => free,
                    Holder::Down | Holder::Unmonitored => continue,
                };
                *mj = mj.saturating_add(cell.energy_mj.into());
                *ms = ms.saturating_add(cell.time_ms().into());
            }
        }
        let [owned, free] = of.map(|(mj, ms)| ratio(kwh(mj)?, hours(ms)?));
        let (mut weighted, mut whole) = (Decimal::ZERO, Decimal::ZERO);
        for (site, mj) in sites {
            let pue = view.inputs.sites.get(site).map_or(Decimal::ONE, |site| site.pue);
            weighted = add(weighted, mul(kwh(mj)?, pue)?)?;
            whole = add(whole, kwh(mj)?)?;
        }
        Ok(Self { pue: ratio(weighted, whole)?, owned: owned?, free: free? })
    }
}

#[derive(Default)]
struct Bought {
    purchase: Decimal,
    salvage: Decimal,
    assets: Vec<(String, Decimal)>,
}

impl Bought {
    /// What serves this model at the end of what is counted, each asset by the share of its GPUs.
    fn of(view: &View<'_>, model: &str) -> Result<Self, TcoError> {
        let mut bought = Self::default();
        let end = view.inputs.calendar.date(view.inputs.until_ms().saturating_sub(1));
        for (asset, gpus) in view.inputs.assets.iter().zip(&view.fleet.asset_gpus) {
            let stay = asset.terms.stay;
            let here = stay.from.is_none_or(|from| from <= end) && stay.to.is_none_or(|to| to > end);
            let sold = asset.terms.disposed().is_some_and(|day| day <= end);
            let own =
                gpus.iter().filter(|gpu| view.fleet.gpus.get(**gpu).is_some_and(|gpu| gpu.model == model));
            let own = own.count();
            if own == 0 || !here || sold || asset.in_service > end {
                continue;
            }
            let share = div(Decimal::from(own), Decimal::from(gpus.len()), "an asset")?;
            bought.purchase = add(bought.purchase, mul(asset.cost.amount, share)?)?;
            bought.salvage = add(bought.salvage, mul(asset.salvage.amount, share)?)?;
            bought.assets.push((asset.of_register().to_owned(), share));
        }
        Ok(bought)
    }
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
