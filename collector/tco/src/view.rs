//! One evaluation as the parts of a result look at it: lines, figures and groups.

use crate::allocation::{Groups, Share};
use crate::calendar::{Month, Segment};
use crate::decimal::{add, kwh, mul, ratio, sum};
use crate::energy;
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::figures::Figures;
use crate::money::Money;
use crate::pools::{Basis, Pool, hours_input, input};
use crate::service::Fleet;
use crate::statement::{Family, Group, GroupBy, Input, Line, Rates, StateHours};
use crate::tally::Tally;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// A sum of settled amounts, written with all its places.
pub(crate) fn money(amount: Decimal, inputs: &Inputs) -> Money {
    Money::new(amount, inputs.currency).rounded()
}

/// What all parts of the evaluation look at.
pub(crate) struct View<'a> {
    pub inputs: &'a Inputs,
    pub fleet: &'a Fleet,
    pub tally: &'a Tally,
    pub months: &'a [Month],
    pub segments: &'a [Segment],
    pub pools: &'a [Pool],
}

impl View<'_> {
    pub fn groups(&self, by: GroupBy) -> Groups<'_> {
        let sites: Vec<String> = self.inputs.sites.iter().map(|site| site.name.clone()).collect();
        Groups::new(by, &self.inputs.usage, self.fleet, &sites, self.months, self.segments)
    }

    /// One line a group, family and thing; in that order.
    pub fn lines(&self, groups: &Groups<'_>, shares: &[Share]) -> Result<Vec<Line>, TcoError> {
        let mut merged: BTreeMap<(usize, Family, &str), Vec<&Share>> = BTreeMap::new();
        for share in shares {
            if let Some(pool) = self.pools.get(share.pool) {
                merged.entry((share.group, pool.family, &pool.item)).or_default().push(share);
            }
        }
        merged.into_iter().map(|((group, ..), shares)| self.line(groups, group, &shares)).collect()
    }

    fn line(&self, groups: &Groups<'_>, group: usize, shares: &[&Share]) -> Result<Line, TcoError> {
        let group = groups.names.get(group).cloned().unwrap_or_default();
        let mut of = shares.iter().filter_map(|share| self.pools.get(share.pool).map(|pool| (*share, pool)));
        let Some((_, first)) = of.clone().next() else { return Err(TcoError::Overflow("a line")) };
        let split = of.clone().any(|(share, _)| share.part != share.whole);
        let mut inputs = first.facts.clone();
        for (share, pool) in of.by_ref() {
            self.month_inputs(&mut inputs, &group, share, pool)?;
        }
        let formula = match (split, first.basis) {
            (false, _) => first.formula.text.to_owned(),
            (true, Basis::Energy(_)) => format!("{}, of the group", first.formula.text),
            (true, Basis::EnergyUsed) => format!("{}, × energy of the group ÷ energy", first.formula.text),
            (true, Basis::Peak(_)) => {
                format!("{}, × load of the group in the peak hour ÷ load", first.formula.text)
            }
            (true, _) => format!("{}, × GPU-hours of the group ÷ GPU-hours", first.formula.text),
        };
        let family = family_name(first.family);
        let own = first.item == group || first.item.ends_with(&format!("/{group}"));
        Ok(Line {
            id: if own {
                format!("{family}/{}", first.item)
            } else {
                format!("{family}/{}/{group}", first.item)
            },
            label: first.label.clone(),
            group,
            family: first.family,
            amount: money(sum(shares.iter().map(|share| share.amount))?, self.inputs).amount,
            exact: sum(shares.iter().map(|share| share.exact))?.normalize(),
            currency: self.inputs.currency,
            formula_id: first.formula,
            formula,
            inputs,
        })
    }

    /// What a month adds to the inputs of a line.
    fn month_inputs(
        &self,
        inputs: &mut Vec<Input>,
        group: &str,
        share: &Share,
        pool: &Pool,
    ) -> Result<(), TcoError> {
        let month = self.months.get(pool.month).map(ToString::to_string).unwrap_or_default();
        match pool.basis {
            Basis::Hours(key) => {
                inputs.extend(pool.of_month.iter().cloned());
                if share.part != share.whole {
                    inputs.push(hours_input(format!("GPU-hours of {group} in {month}"), share.part)?);
                    inputs.push(hours_input(format!("GPU-hours {} in {month}", key.name()), share.whole)?);
                }
            }
            Basis::EnergyUsed | Basis::Peak(_) => {
                inputs.extend(pool.of_month.iter().cloned());
                if share.part != share.whole {
                    let what =
                        if pool.basis == Basis::EnergyUsed { "energy" } else { "load in the peak hour" };
                    inputs.push(input(
                        format!("{what} of {group} in {month}"),
                        kwh(share.part)?,
                        "kWh",
                        "ledger",
                    ));
                    inputs.push(input(format!("{what} in {month}"), kwh(share.whole)?, "kWh", "ledger"));
                }
            }
            Basis::Energy(_) if share.part == share.whole => inputs.extend(pool.of_month.iter().cloned()),
            Basis::Energy(factor) => {
                // The group's own energy and mean price, not those of the node.
                let energy = kwh(share.part)?;
                inputs.push(input(format!("energy in {month}"), energy, "kWh", "ledger"));
                for price in pool.of_month.iter().skip(1) {
                    let mean = ratio(share.exact, mul(energy, factor)?)?.unwrap_or_default();
                    inputs.push(Input { value: mean, ..price.clone() });
                }
            }
        }
        Ok(())
    }

    pub fn figures(&self, groups: &Groups<'_>) -> Result<Vec<Figures>, TcoError> {
        let mut figures = vec![Figures::default(); groups.names.len()];
        for (group, _, gpu, cell) in groups.cells(self.tally, &groups.all(), None) {
            if let Some(figures) = figures.get_mut(group) {
                figures.add(gpu, self.fleet.site_of(gpu), cell)?;
            }
        }
        Ok(figures)
    }

    pub fn group_list(
        &self,
        groups: &Groups<'_>,
        lines: &[Line],
        figures: &[Figures],
    ) -> Result<Vec<Group>, TcoError> {
        let mut list = Vec::new();
        for (name, figures) in groups.names.iter().zip(figures) {
            let own = lines.iter().filter(|line| line.group == *name);
            let any_line = own.clone().next().is_some();
            if !any_line && figures.time_ms() == 0 && figures.energy_mj == 0 {
                continue;
            }
            let (hours, total) = (figures.hours()?, sum(own.map(|line| line.amount))?);
            list.push(Group {
                name: name.clone(),
                gpus: u64::try_from(figures.gpus.len()).unwrap_or(u64::MAX),
                hours,
                energy_kwh: kwh(figures.energy_mj)?,
                carbon_kg: self.carbon(figures)?,
                total: money(total, self.inputs),
                rates: rates(total, &hours, self.inputs)?,
            });
        }
        Ok(list)
    }

    /// Location-based emissions, PUE included; `None` where the intensity of any energy is unknown.
    pub fn carbon(&self, figures: &Figures) -> Result<Option<Decimal>, TcoError> {
        let mut grams = Decimal::ZERO;
        for (&site, &integral) in &figures.carbon {
            let known = self.tally.carbon_unknown.get(site).is_some_and(Option::is_none);
            let Some(site) = self.inputs.sites.get(site).filter(|_| known) else { return Ok(None) };
            grams = add(grams, mul(energy::amount(integral)?, site.pue_factor())?)?;
        }
        crate::decimal::div(grams, Decimal::ONE_THOUSAND, "grams").map(|kg| Some(kg.normalize()))
    }
}

pub(crate) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Depreciation => "depreciation",
        Family::CapitalCharge => "capital_charge",
        Family::Energy => "energy",
        Family::Colocation => "colocation",
        Family::Overhead => "overhead",
    }
}

/// Places after the point of a cost per GPU-hour.
const RATE_EXTRA_DIGITS: u32 = 4;

pub(crate) fn rates(total: Decimal, hours: &StateHours, inputs: &Inputs) -> Result<Rates, TcoError> {
    let digits = inputs.currency.minor_digits().saturating_add(RATE_EXTRA_DIGITS);
    let per = |hours: Decimal| -> Result<Option<Decimal>, TcoError> {
        Ok(ratio(total, hours)?.map(|rate| crate::decimal::round(rate, digits)))
    };
    Ok(Rates {
        per_hour_in_service: per(hours.in_service)?,
        per_hour_active: per(hours.active)?,
        per_hour_owned: per(add(hours.active, hours.held_idle)?)?,
    })
}
