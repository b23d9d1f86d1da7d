//! From inputs to a statement. A what-if is the same call on changed inputs.

use crate::allocation::{Groups, Share, allocate};
use crate::asset::Asset;
use crate::calendar::{Calendar, Month, Period, Segment};
use crate::compare;
use crate::decimal::{add, kwh, mul, ratio, sum};
use crate::energy;
use crate::error::TcoError;
use crate::facility::{CapitalRate, Overhead, Site};
use crate::figures::Figures;
use crate::money::{Currency, Money};
use crate::pools::{Basis, Pool, hours_input, input, pools};
use crate::rent::RentPrice;
use crate::service::{Fleet, resolve};
use crate::statement::{Family, Group, GroupBy, Input, Line, Rates, StateHours, Statement};
use crate::tally::{Tally, tally};
use crate::usage::Usage;
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a statement is computed from.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub title: String,
    pub period: Period,
    /// Instant (ms) to which time has run, where that is before the end of the period: nothing is in
    /// service or costs anything after it.
    pub as_of_ms: Option<i64>,
    pub calendar: Calendar,
    pub by: GroupBy,
    pub currency: Currency,
    /// At least one.
    pub sites: Vec<Site>,
    pub assets: Vec<Asset>,
    pub overheads: Vec<Overhead>,
    pub capital_rate: Option<CapitalRate>,
    pub prices: Vec<RentPrice>,
    pub usage: Usage,
    /// What the caller has to say to the reader; comes before the engine's own notes.
    pub notes: Vec<String>,
}

impl Inputs {
    /// End of what is counted.
    pub fn until_ms(&self) -> i64 {
        let end = self.period.to().start_ms();
        self.as_of_ms.map_or(end, |as_of| as_of.min(end))
    }
}

/// Computes the statement.
pub fn evaluate(inputs: &Inputs) -> Result<Statement, TcoError> {
    let prepared = Prepared::new(inputs)?;
    let view = prepared.view(inputs);
    let groups = view.groups(inputs.by);
    let shares = allocate(view.pools, view.tally, &groups, inputs.currency.minor_digits())?;
    let lines = view.lines(&groups, &shares)?;
    let figures = view.figures(&groups)?;
    let total = money(sum(lines.iter().map(|line| line.amount))?, inputs);
    let mut whole = Figures::default();
    for figure in &figures {
        whole.merge(figure)?;
    }
    let mut notes = inputs.notes.clone();
    let comparisons = compare::comparisons(&view, &mut notes)?;
    notes.extend(view.notes());
    let hours = whole.hours()?;
    Ok(Statement {
        title: inputs.title.clone(),
        from: inputs.period.from().to_string(),
        to: inputs.period.to().to_string(),
        currency: inputs.currency,
        by: inputs.by,
        groups: view.group_list(&groups, &lines, &figures)?,
        lines,
        hours,
        energy_kwh: kwh(whole.energy_mj)?,
        carbon_kg: view.carbon(&whole)?,
        total,
        rates: rates(total.amount, &hours, inputs)?,
        coverage: whole.coverage()?,
        comparisons,
        notes,
        simulated: inputs.usage.simulated,
    })
}

/// A sum of settled amounts, written with all its places.
fn money(amount: Decimal, inputs: &Inputs) -> Money {
    Money::new(amount, inputs.currency).rounded()
}

/// Refuses what cannot be computed, before anything is.
fn check(inputs: &Inputs) -> Result<(), TcoError> {
    let expected = inputs.currency;
    let own = |what: String, found: Currency| {
        if found == expected { Ok(()) } else { Err(TcoError::ForeignCurrency { what, found, expected }) }
    };
    let invalid = |what: String, given: String, expected| Err(TcoError::Invalid { what, given, expected });
    if inputs.sites.is_empty() {
        return invalid("number of sites".to_owned(), "0".to_owned(), "at least one");
    }
    let mut serials = BTreeSet::new();
    for asset in &inputs.assets {
        asset.check()?;
        if !serials.insert(asset.serial.as_str()) {
            return invalid(
                format!("serial {} ({})", asset.serial, asset.source),
                "used twice".to_owned(),
                "one asset",
            );
        }
        own(format!("the cost of asset {}", asset.serial), asset.cost.currency)?;
    }
    for site in &inputs.sites {
        if site.pue < Decimal::ONE {
            return invalid(format!("PUE of site {}", site.name), site.pue.to_string(), "1 or more");
        }
        if let Some(contract) = &site.colocation {
            own(format!("the colocation of site {}", site.name), contract.price_per_kw_month.currency)?;
            if let Some(overage) = contract.overage {
                own(format!("the overage of site {}", site.name), overage.per_kwh.currency)?;
            }
        }
        site.supply.check(&site.name)?;
        site.tariff.as_ref().map_or(Ok(()), energy::Tariff::check)?;
        for money in site.supply.money() {
            own(format!("the electricity contract of site {}", site.name), money.currency)?;
        }
    }
    for overhead in &inputs.overheads {
        overhead.check()?;
        if let Some(money) = overhead.charge.money() {
            own(format!("the overhead {}", overhead.kind), money.currency)?;
        }
    }
    for price in &inputs.prices {
        own(format!("the price of {} ({})", price.offer, price.entry), price.currency)?;
        if price.per_gpu_hour <= Decimal::ZERO {
            let what = format!("price of {} ({})", price.offer, price.entry);
            return invalid(what, price.per_gpu_hour.to_string(), "more than zero");
        }
    }
    Ok(())
}

/// Everything that is the same whatever a result is grouped by.
pub(crate) struct Prepared {
    fleet: Fleet,
    tally: Tally,
    months: Vec<Month>,
    segments: Vec<Segment>,
    pools: Vec<Pool>,
}

impl Prepared {
    pub(crate) fn new(inputs: &Inputs) -> Result<Self, TcoError> {
        check(inputs)?;
        let price_days: Vec<Date> = inputs.prices.iter().map(|price| price.effective_from).collect();
        let (months, segments) = inputs.calendar.segments(inputs.period, &price_days)?;
        let fleet = resolve(inputs)?;
        let tally = tally(inputs, &fleet, &segments)?;
        let pools = pools(inputs, &fleet, &tally, &months, &segments)?;
        Ok(Self { fleet, tally, months, segments, pools })
    }

    pub(crate) fn view<'a>(&'a self, inputs: &'a Inputs) -> View<'a> {
        let Self { fleet, tally, months, segments, pools } = self;
        View { inputs, fleet, tally, months, segments, pools }
    }
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
    fn lines(&self, groups: &Groups<'_>, shares: &[Share]) -> Result<Vec<Line>, TcoError> {
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

    fn figures(&self, groups: &Groups<'_>) -> Result<Vec<Figures>, TcoError> {
        let mut figures = vec![Figures::default(); groups.names.len()];
        for (group, _, gpu, cell) in groups.cells(self.tally, &groups.all(), None) {
            if let Some(figures) = figures.get_mut(group) {
                figures.add(gpu, self.fleet.site_of(gpu), cell)?;
            }
        }
        Ok(figures)
    }

    fn group_list(
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
    fn carbon(&self, figures: &Figures) -> Result<Option<Decimal>, TcoError> {
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

fn rates(total: Decimal, hours: &StateHours, inputs: &Inputs) -> Result<Rates, TcoError> {
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
