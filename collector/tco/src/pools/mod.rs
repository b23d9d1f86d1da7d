//! What each thing cost in each calendar month of the period, before anybody shares it.
//!
//! A pool's amount does not depend on what the statement is grouped by, and neither does its
//! rounding: so every grouping of one period has the same total.

mod assets;
mod electricity;
mod running;
mod supply;

use crate::asset::Asset;
use crate::books::Book;
use crate::calendar::{HOUR_MS, Month, Segment};
use crate::decimal::{hours, round, sum};
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::facility::Key;
use crate::formulas::Formula;
use crate::service::Fleet;
use crate::statement::{Family, Input};
use crate::tally::Tally;
use assets::{OfAsset, measured_units};
use electricity::electricity;
use running::Running;
use rust_decimal::Decimal;

/// How the holders of a pool's GPUs share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// By GPU-hours of a kind.
    Hours(Key),
    /// By energy.
    EnergyUsed,
    /// By the load in a peak hour: position in [`Tally::peaks`].
    Peak(usize),
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
    pub formula: Formula,
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
    let books = books(inputs, fleet, tally, months, segments)?;
    let mut pools = Vec::new();
    let mut charges = Vec::new();
    for ((asset, gpus), book) in inputs.assets.iter().zip(&fleet.asset_gpus).zip(&books) {
        let of = OfAsset { asset, book, gpus, calendar: &inputs.calendar };
        for stretch in &stretches {
            let Some(stretch) = of.stay(*stretch)? else { continue };
            pools.extend(of.depreciation(stretch)?);
            pools.extend(of.booked(stretch)?);
            if let Some(rate) = &inputs.capital_rate {
                charges.extend(of.capital(rate, stretch)?);
            }
        }
    }
    pools.extend(charges);
    for node in 0..fleet.nodes.len() {
        for stretch in &stretches {
            pools.extend(electricity(inputs, fleet, tally, segments, node, *stretch)?);
        }
    }
    let view = Running { inputs, fleet, tally, segments };
    pools.extend(view.supply(&stretches, &pools)?);
    for stretch in &stretches {
        pools.extend(view.colocation(*stretch)?);
        pools.extend(view.overheads(*stretch)?);
    }
    Ok(pools)
}

/// The book of each asset, in their order.
pub(crate) fn books(
    inputs: &Inputs,
    fleet: &Fleet,
    tally: &Tally,
    months: &[Month],
    segments: &[Segment],
) -> Result<Vec<Book>, TcoError> {
    let stretches = stretches(months, segments, inputs)?;
    let book = |(asset, gpus): (&Asset, &Vec<usize>)| {
        let measured = measured_units(asset, gpus, tally, segments, &stretches)?;
        Book::new(asset, &inputs.calendar, &measured)
    };
    inputs.assets.iter().zip(&fleet.asset_gpus).map(book).collect()
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
