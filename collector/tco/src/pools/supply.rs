//! What electricity costs beside the price of each kWh: demand, fixed amounts and taxes, site by site.

use super::{Basis, Pool, Running, Stretch, input};
use crate::decimal::{Fraction, mul};
use crate::error::TcoError;
use crate::facility::{Key, Site, portion};
use crate::formulas;
use crate::money::Money;
use crate::statement::Family;
use crate::supply::Demand;
use rust_decimal::Decimal;

impl Running<'_> {
    /// Every month's; `energy` are the pools of the energy itself, for the taxes.
    pub(super) fn supply(&self, stretches: &[Stretch], energy: &[Pool]) -> Result<Vec<Pool>, TcoError> {
        let mut pools = Vec::new();
        for (number, site) in self.inputs.sites.iter().enumerate() {
            if site.power_included() {
                continue;
            }
            let mut of_site = Vec::new();
            for stretch in stretches {
                if let Some(demand) = &site.supply.demand {
                    of_site.extend(self.demand(number, site, demand, *stretch, stretches)?);
                }
                of_site.extend(self.fixed(number, site, *stretch)?);
            }
            let nodes = format!("{}/", site.name);
            let own = energy.iter().filter(|p| p.family == Family::Energy && p.item.starts_with(&nodes));
            let taxes = own.chain(&of_site).map(|pool| taxed(site, pool)).collect::<Result<Vec<_>, _>>()?;
            of_site.extend(taxes.into_iter().flatten());
            pools.extend(of_site);
        }
        Ok(pools)
    }

    fn pool_of_site(&self, number: usize, site: &Site, what: &str, stretch: Stretch) -> Pool {
        Pool {
            family: Family::Energy,
            item: format!("{}/{what}", site.name),
            label: format!("Electricity at {}: {what}", site.name),
            formula: formulas::SUPPLY_FIXED,
            month: stretch.position,
            amount: Decimal::ZERO,
            basis: Basis::Hours(Key::InService),
            gpus: self.fleet.of_site(number),
            facts: Vec::new(),
            of_month: Vec::new(),
        }
    }

    /// Highest power (kW) of the months of the period, by the utility's meter or else the ledger.
    fn peaks(
        &self,
        number: usize,
        demand: &Demand,
        stretches: &[Stretch],
    ) -> Vec<(crate::calendar::Month, Decimal)> {
        let of = |stretch: &Stretch| {
            let seen = self.tally.peaks.iter().find(|p| p.site == number && p.month == stretch.position);
            demand.metered(stretch.month).or(seen.map(|peak| peak.kw)).map(|kw| (stretch.month, kw))
        };
        stretches.iter().filter_map(of).collect()
    }

    fn demand(
        &self,
        number: usize,
        site: &Site,
        demand: &Demand,
        stretch: Stretch,
        stretches: &[Stretch],
    ) -> Result<Option<Pool>, TcoError> {
        let position = self.tally.peaks.iter().position(|p| p.site == number && p.month == stretch.position);
        let seen = self.peaks(number, demand, stretches);
        let own = seen.iter().find(|(month, _)| *month == stretch.month).map_or(Decimal::ZERO, |(_, kw)| *kw);
        let billed = demand.billed_kw(stretch.month, own, &seen)?;
        let per_month = Money::new(mul(billed, demand.per_kw.amount)?, demand.per_kw.currency);
        let (amount, months) = self.of_month(per_month, stretch)?;
        if amount.is_zero() {
            return Ok(None);
        }
        let (unit, month) = (format!("{}/kW-month", demand.per_kw.currency), stretch.month);
        let source = match (demand.metered(month), position.and_then(|p| self.tally.peaks.get(p))) {
            (Some(_), _) => format!("meter of the utility: {}", demand.source),
            (None, Some(peak)) => format!("ledger: highest hourly mean, {}", peak.hour),
            (None, None) => "ledger: nothing was used in the hours that count".to_owned(),
        };
        Ok(Some(Pool {
            formula: formulas::DEMAND,
            amount,
            basis: position.map_or(Basis::EnergyUsed, Basis::Peak),
            facts: vec![
                input("price", demand.per_kw.amount, unit, &demand.source),
                input("ratchet", demand.ratchet, "", &demand.source),
            ],
            of_month: vec![
                input(format!("highest power in {month}"), own, "kW", &source),
                input(format!("billed power in {month}"), billed, "kW", &demand.source),
                input(format!("time in {month}"), months.value()?, "months", "calendar"),
            ],
            ..self.pool_of_site(number, site, "demand", stretch)
        }))
    }

    fn fixed(&self, number: usize, site: &Site, stretch: Stretch) -> Result<Option<Pool>, TcoError> {
        let Some((per_month, source)) = &site.supply.fixed_per_month else { return Ok(None) };
        let (amount, months) = self.of_month(*per_month, stretch)?;
        let unit = format!("{}/month", per_month.currency);
        Ok(Some(Pool {
            amount,
            facts: vec![input("monthly amount", per_month.amount, unit, source)],
            of_month: vec![input(
                format!("time in {}", stretch.month),
                months.value()?,
                "months",
                "calendar",
            )],
            ..self.pool_of_site(number, site, "fixed", stretch)
        }))
    }

    /// The part of a monthly amount that a stretch has.
    pub(super) fn of_month(
        &self,
        per_month: Money,
        stretch: Stretch,
    ) -> Result<(Decimal, Fraction), TcoError> {
        let start = self.inputs.calendar.month_start_ms(stretch.month)?;
        let whole = self.inputs.calendar.month_ms(stretch.month)?;
        let months = Fraction { part: sub_ms(stretch.to_ms, stretch.from_ms), whole };
        let amount =
            portion(per_month, (start, start.saturating_add(whole)), stretch.from_ms, stretch.to_ms)?;
        Ok((amount, months))
    }
}

fn sub_ms(to: i64, from: i64) -> i64 {
    to.saturating_sub(from)
}

/// The taxes on one pool; shared as the pool itself.
fn taxed(site: &Site, pool: &Pool) -> Result<Option<Pool>, TcoError> {
    let share = site.supply.tax_share()?;
    let amount = mul(pool.amount, share)?;
    if amount.is_zero() {
        return Ok(None);
    }
    let basis = match pool.basis {
        Basis::Energy(factor) => Basis::Energy(mul(factor, share)?),
        other => other,
    };
    let facts = site.supply.taxes.iter().map(|tax| input(&tax.name, tax.share, "", &tax.source)).collect();
    Ok(Some(Pool {
        item: format!("{}/tax", pool.item),
        label: format!("Taxes on {}", lower(&pool.label)),
        formula: formulas::ENERGY_TAX,
        amount,
        basis,
        facts,
        of_month: vec![input("amount taxed", pool.amount, "", &pool.item)],
        ..pool.clone()
    }))
}

fn lower(label: &str) -> String {
    let mut letters = label.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
