//! What each thing cost in each calendar month of the period, before anybody shares it.
//!
//! A pool's amount does not depend on what the statement is grouped by, and neither does its
//! rounding: so every grouping of one period has the same total.

use crate::asset::Asset;
use crate::calendar::{Calendar, HOUR_MS, Month, Segment};
use crate::decimal::{Fraction, hours, kwh, mul, ratio, round, sub, sum};
use crate::depreciation::accumulated;
use crate::energy;
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::facility::{CapitalRate, capital_charge, portion, year_of, year_share};
use crate::money::Money;
use crate::service::{Fleet, site_position};
use crate::statement::{Family, Input};
use crate::tally::{Tally, plus, plus_signed};
use rust_decimal::Decimal;

/// How the holders of a pool's GPUs share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// By time in service.
    Time,
    /// By the priced energy of the cells, times this (the PUE; zero where energy is not paid).
    Energy(Decimal),
}

/// The cost of one thing in one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub family: Family,
    /// Name of the thing, unique within its family.
    pub item: String,
    pub label: String,
    pub formula: &'static str,
    /// Position in the list of months.
    pub month: usize,
    pub amount: Decimal,
    pub basis: Basis,
    /// GPUs whose holders share it; never empty.
    pub gpus: Vec<usize>,
    /// What holds in every month: cost, rate, price.
    pub facts: Vec<Input>,
    /// What holds in this month: its depreciation, energy, share of the year.
    pub of_month: Vec<Input>,
}

/// One calendar month's part of the period.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    position: usize,
    month: Month,
    from_ms: i64,
    to_ms: i64,
}

pub(crate) fn input(name: impl Into<String>, value: Decimal, unit: impl Into<String>, source: &str) -> Input {
    Input { name: name.into(), value, unit: unit.into(), source: source.to_owned() }
}

/// Every pool of the period, in the order of family, thing and month.
pub fn pools(
    inputs: &Inputs,
    fleet: &Fleet,
    tally: &Tally,
    months: &[Month],
    segments: &[Segment],
) -> Result<Vec<Pool>, TcoError> {
    let stretches = stretches(months, segments, inputs)?;
    let mut pools = Vec::new();
    for (asset, gpus) in inputs.assets.iter().zip(&fleet.asset_gpus) {
        for stretch in &stretches {
            pools.extend(depreciation(asset, gpus, &inputs.calendar, *stretch)?);
        }
    }
    if let Some(rate) = &inputs.capital_rate {
        for (asset, gpus) in inputs.assets.iter().zip(&fleet.asset_gpus) {
            for stretch in &stretches {
                pools.extend(capital(asset, rate, gpus, &inputs.calendar, *stretch)?);
            }
        }
    }
    for node in 0..fleet.nodes.len() {
        for stretch in &stretches {
            pools.extend(electricity(inputs, fleet, tally, segments, node, *stretch)?);
        }
    }
    for stretch in &stretches {
        pools.extend(colocation(inputs, fleet, *stretch)?);
        pools.extend(overheads(inputs, fleet, *stretch)?);
    }
    Ok(pools)
}

/// The months' parts of the period. A month that begins within an hour begins there again, although
/// its first row is of the next hour: so the months of a year are the year.
fn stretches(months: &[Month], segments: &[Segment], inputs: &Inputs) -> Result<Vec<Stretch>, TcoError> {
    let calendar = &inputs.calendar;
    let mut stretches = Vec::new();
    for (position, &month) in months.iter().enumerate() {
        let of_month = || segments.iter().filter(move |segment| segment.month == position);
        let from_ms = of_month().map(|segment| segment.from.start_ms()).min();
        let to_ms = of_month().map(|segment| segment.to.start_ms()).max();
        let (Some(from_ms), Some(to_ms)) = (from_ms, to_ms) else { continue };
        let at = |ms: i64, start: i64| {
            if (start..start.saturating_add(HOUR_MS)).contains(&ms) { start } else { ms }
        };
        let from_ms = at(from_ms, calendar.month_start_ms(month)?);
        let to_ms = at(to_ms, calendar.month_start_ms(month.plus(1)?)?).min(inputs.until_ms());
        if from_ms < to_ms {
            stretches.push(Stretch { position, month, from_ms, to_ms });
        }
    }
    Ok(stretches)
}

fn depreciation(
    asset: &Asset,
    gpus: &[usize],
    calendar: &Calendar,
    stretch: Stretch,
) -> Result<Option<Pool>, TcoError> {
    let before = accumulated(asset, calendar, stretch.from_ms)?;
    let amount = sub(accumulated(asset, calendar, stretch.to_ms)?, before)?;
    if amount.is_zero() {
        return Ok(None);
    }
    let (unit, source) = (asset.cost.currency.code(), asset.source.as_str());
    Ok(Some(Pool {
        family: Family::Depreciation,
        item: asset.serial.clone(),
        label: format!("Depreciation of {}", asset.serial),
        formula: "(cost − salvage) ÷ life for each month in service, the residue in the last month",
        month: stretch.position,
        amount,
        basis: Basis::Time,
        gpus: gpus.to_vec(),
        facts: vec![
            input("cost", asset.cost.amount, unit, source),
            input("salvage", asset.salvage.amount, unit, source),
            input("life", Decimal::from(asset.life_months), "months", source),
        ],
        of_month: vec![
            input(format!("depreciation in {}", stretch.month), amount, unit, &in_service_source(asset)),
            input(format!("depreciated before {}", start_name(calendar, stretch)?), before, unit, source),
        ],
    }))
}

fn in_service_source(asset: &Asset) -> String {
    format!("{}, in service {}", asset.source, asset.in_service)
}

/// The day on which a stretch begins; with the time, where it is not midnight of the calendar's zone.
fn start_name(calendar: &Calendar, stretch: Stretch) -> Result<String, TcoError> {
    let day = calendar.date(stretch.from_ms);
    if calendar.day_start_ms(day)? == stretch.from_ms {
        return Ok(day.to_string());
    }
    jiff::Timestamp::from_millisecond(stretch.from_ms)
        .map(|instant| instant.to_string())
        .map_err(|_| TcoError::Overflow("an instant"))
}

fn capital(
    asset: &Asset,
    rate: &CapitalRate,
    gpus: &[usize],
    calendar: &Calendar,
    stretch: Stretch,
) -> Result<Option<Pool>, TcoError> {
    let charge = capital_charge(asset, rate.rate, calendar, stretch.from_ms, stretch.to_ms)?;
    let Some(charge) = charge.filter(|charge| !charge.amount.is_zero()) else { return Ok(None) };
    let (unit, month) = (asset.cost.currency.code(), stretch.month);
    Ok(Some(Pool {
        family: Family::CapitalCharge,
        item: asset.serial.clone(),
        label: format!("Capital charge on {}", asset.serial),
        formula: "rate × average net book value × years, for each month",
        month: stretch.position,
        amount: charge.amount,
        basis: Basis::Time,
        gpus: gpus.to_vec(),
        facts: vec![input("rate", rate.rate, "per year", &rate.source)],
        of_month: vec![
            input(
                format!("average net book value in {month}"),
                charge.average_book_value,
                unit,
                &asset.source,
            ),
            input(format!("time in {month}"), charge.years.value()?, "years", "calendar"),
        ],
    }))
}

fn electricity(
    inputs: &Inputs,
    fleet: &Fleet,
    tally: &Tally,
    segments: &[Segment],
    node: usize,
    stretch: Stretch,
) -> Result<Option<Pool>, TcoError> {
    let Some(node) = fleet.nodes.get(node) else { return Ok(None) };
    let Some(site) = inputs.sites.get(node.site) else { return Ok(None) };
    let (mut mj, mut priced) = (0, 0);
    for (position, _) in segments.iter().enumerate().filter(|(_, segment)| segment.month == stretch.position)
    {
        for &gpu in &node.gpus {
            for (_, cell) in tally.cells(position, gpu) {
                plus(&mut mj, cell.energy_mj)?;
                plus_signed(&mut priced, cell.priced)?;
            }
        }
    }
    if mj == 0 {
        return Ok(None);
    }
    let month = stretch.month;
    let (unit, energy) = (inputs.currency.code(), kwh(mj.into())?);
    let paid = site.tariff.is_some() && !site.power_included();
    let (mut facts, mut of_month) =
        (Vec::new(), vec![input(format!("energy in {month}"), energy, "kWh", "ledger")]);
    let (formula, factor) = if paid {
        facts.push(input("PUE", site.pue, "", &site.source));
        let mean = ratio(energy::amount(priced)?, energy)?.unwrap_or_default();
        let source = site.tariff.as_ref().map(energy::Tariff::source).unwrap_or_default();
        of_month.push(input(format!("mean price in {month}"), mean, format!("{unit}/kWh"), source));
        ("energy × PUE × price of the hour, for each month", site.pue)
    } else if site.power_included() {
        ("energy, included in the colocation price", Decimal::ZERO)
    } else {
        ("energy, without a price: the site has no tariff", Decimal::ZERO)
    };
    Ok(Some(Pool {
        family: Family::Energy,
        item: format!("{}/{}", site.name, node.name),
        label: format!("Electricity of {} at {}", node.name, site.name),
        formula,
        month: stretch.position,
        amount: mul(energy::amount(priced)?, factor)?,
        basis: Basis::Energy(factor),
        gpus: node.gpus.clone(),
        facts,
        of_month,
    }))
}

fn colocation(inputs: &Inputs, fleet: &Fleet, stretch: Stretch) -> Result<Vec<Pool>, TcoError> {
    let mut pools = Vec::new();
    for (position, site) in inputs.sites.iter().enumerate() {
        let Some(contract) = &site.colocation else { continue };
        let part = stretch.to_ms.saturating_sub(stretch.from_ms);
        let months = Fraction { part, whole: inputs.calendar.month_ms(stretch.month)? };
        let price = contract.price_per_kw_month;
        let per_month = Money::new(mul(contract.contracted_kw, price.amount)?, price.currency);
        let start = inputs.calendar.month_start_ms(stretch.month)?;
        let whole = (start, start.saturating_add(months.whole));
        let amount = portion(per_month, whole, stretch.from_ms, stretch.to_ms)?;
        let unit = format!("{}/kW-month", price.currency);
        pools.push(Pool {
            family: Family::Colocation,
            item: site.name.clone(),
            label: format!("Colocation at {}", site.name),
            formula: "contracted power × price × months",
            month: stretch.position,
            amount,
            basis: Basis::Time,
            gpus: fleet.of_site(position),
            facts: vec![
                input("contracted power", contract.contracted_kw, "kW", &contract.source),
                input("price", price.amount, unit, &contract.source),
            ],
            of_month: vec![input(
                format!("time in {}", stretch.month),
                months.value()?,
                "months",
                "calendar",
            )],
        });
    }
    Ok(pools)
}

fn overheads(inputs: &Inputs, fleet: &Fleet, stretch: Stretch) -> Result<Vec<Pool>, TcoError> {
    let mut pools = Vec::new();
    for overhead in &inputs.overheads {
        let gpus = match &overhead.site {
            Some(site) => {
                fleet.of_site(site_position(&inputs.sites, &format!("overhead {}", overhead.kind), site)?)
            }
            None => (0..fleet.gpus.len()).collect(),
        };
        let years = year_share(&inputs.calendar, stretch.from_ms, stretch.to_ms)?;
        let year = year_of(&inputs.calendar, stretch.from_ms)?;
        let amount = portion(overhead.per_year, year, stretch.from_ms, stretch.to_ms)?;
        let item = match &overhead.site {
            Some(site) => format!("{site}/{}", overhead.kind),
            None => overhead.kind.clone(),
        };
        let unit = format!("{}/year", overhead.per_year.currency);
        pools.push(Pool {
            family: Family::Overhead,
            label: match &overhead.site {
                Some(site) => format!("{} at {site}", overhead.kind),
                None => overhead.kind.clone(),
            },
            item,
            formula: "yearly amount × years",
            month: stretch.position,
            amount,
            basis: Basis::Time,
            gpus,
            facts: vec![input("yearly amount", overhead.per_year.amount, unit, &overhead.source)],
            of_month: vec![input(format!("time in {}", stretch.month), years.value()?, "years", "calendar")],
        });
    }
    Ok(pools)
}

/// Rounded cost of each family in each month: what its lines must sum to.
pub(crate) fn rounded_total<'a>(
    pools: impl Iterator<Item = &'a Pool>,
    digits: u32,
) -> Result<Decimal, TcoError> {
    Ok(round(sum(pools.map(|pool| pool.amount))?, digits))
}

/// GPU-hours as an input of a line.
pub(crate) fn hours_input(name: String, ms: u128) -> Result<Input, TcoError> {
    Ok(input(name, hours(ms)?, "GPU-hours", "ledger and register"))
}
