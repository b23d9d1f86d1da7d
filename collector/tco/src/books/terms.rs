//! How an asset stands in the books: method, convention, and what happened to it since.
//!
//! Changes of estimate, impairments and reversals count from the first day of a month, so that a month
//! that was closed never moves; a disposal counts from its day. Amounts are in the currency of the
//! asset's cost.

use crate::asset::Asset;
use crate::depreciation::Convention;
use crate::error::TcoError;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// Longest life in units: GPU-hours of a large cluster over 50 years fit well.
const UNITS_MAX: Decimal = Decimal::from_parts(0x4876_E800, 0x17, 0, false, 0);

/// How cost − salvage is spread over the life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BookMethod {
    #[default]
    StraightLine,
    /// Of the years of service; within a year evenly. The life must be whole years.
    SumOfYears,
    /// A multiple of the straight line a year, within a year evenly. With the switch each year takes the
    /// straight line of what is left where that is more; without it the last year takes the residue.
    Declining { factor: Decimal, switch: bool },
    /// By use. The convention and the life in months say nothing then.
    Units(Units),
}

/// Units of production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    pub unit: Unit,
    /// Units that the asset is good for.
    pub life: Decimal,
    /// Units of stretches before those that the ledger measured, in the order of time.
    pub before: Vec<UnitsDone>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Active hours of its GPUs.
    GpuHours,
    /// Energy of its GPUs.
    Kwh,
}

impl Unit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::GpuHours => "GPU-hours",
            Self::Kwh => "kWh",
        }
    }
}

/// What an asset did in a stretch of time (ms since the epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitsDone {
    pub from_ms: i64,
    pub to_ms: i64,
    pub units: Decimal,
}

/// Which rules an impairment follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// Never reversed.
    UsGaap,
    /// Reversed where the recoverable amount rises again.
    Ifrs,
}

/// What happened to an asset, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub on: Date,
    pub what: Change,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new estimate: life from the start of service on (months; units where the method counts them)
    /// and salvage. What is left of the book value is spread over what is left of the life.
    Estimate { life: Decimal, salvage: Decimal },
    /// What an impairment test wrote off: see [`crate::depreciation::impairment`].
    Impairment { loss: Decimal, regime: Regime },
    /// IFRS only: at most the book value that there would be without the impairments.
    Reversal { amount: Decimal },
    /// Sale or scrapping of this share of what is there: 1 is all of it, a component its weight.
    Disposal { share: Decimal, proceeds: Decimal, selling_cost: Decimal },
}

impl Change {
    /// Its amounts by a function, such as one into another currency.
    pub(crate) fn convert(
        &mut self,
        of: &impl Fn(Decimal) -> Result<Decimal, TcoError>,
    ) -> Result<(), TcoError> {
        let amounts = match self {
            Self::Estimate { salvage, .. } => [Some(salvage), None],
            Self::Impairment { loss, .. } => [Some(loss), None],
            Self::Reversal { amount } => [Some(amount), None],
            Self::Disposal { proceeds, selling_cost, .. } => [Some(proceeds), Some(selling_cost)],
        };
        for amount in amounts.into_iter().flatten() {
            *amount = of(*amount)?;
        }
        Ok(())
    }
}

/// The time for which an asset stands where its entry says: it moved there, or away, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stay {
    pub from: Option<Date>,
    /// Not in it any more.
    pub to: Option<Date>,
}

/// All of it. By default straight line by actual days, and nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub purchased: Option<Date>,
    pub method: BookMethod,
    pub convention: Convention,
    pub events: Vec<Event>,
    pub stay: Stay,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            purchased: None,
            method: BookMethod::default(),
            convention: Convention::ActualDays,
            events: Vec::new(),
            stay: Stay::default(),
        }
    }
}

impl Terms {
    /// Day on which the whole asset was sold or scrapped.
    pub fn disposed(&self) -> Option<Date> {
        let whole =
            |event: &&Event| matches!(event.what, Change::Disposal { share, .. } if share == Decimal::ONE);
        self.events.iter().filter(whole).map(|event| event.on).min()
    }

    /// Day from which the asset serves no longer where its entry says.
    pub fn ends(&self) -> Option<Date> {
        self.disposed().into_iter().chain(self.stay.to).min()
    }
}

/// The refusal of a fact of an asset.
pub(super) fn wrong<T>(
    asset: &Asset,
    what: &str,
    given: &impl ToString,
    expected: &'static str,
) -> Result<T, TcoError> {
    let what = format!("{what} of asset {} ({})", asset.serial, asset.source);
    Err(TcoError::Invalid { what, given: given.to_string(), expected })
}

/// Refuses terms that make no book, whatever the amounts are.
pub(crate) fn check(asset: &Asset) -> Result<(), TcoError> {
    let terms = &asset.terms;
    if let Some(purchased) = terms.purchased
        && asset.in_service < purchased
    {
        let expected = "a day on or after the purchase: correct the in-service or the purchase date";
        return wrong(asset, "in-service date", &asset.in_service, expected);
    }
    match &terms.method {
        BookMethod::StraightLine => {}
        BookMethod::Declining { factor, .. } if *factor <= Decimal::ZERO || *factor > Decimal::TEN => {
            return wrong(
                asset,
                "factor",
                factor,
                "more than 0 and at most 10, such as 2 for double declining",
            );
        }
        BookMethod::SumOfYears | BookMethod::Declining { .. } => {
            if asset.life_months.checked_rem(12) != Some(0) {
                let expected = "whole years (a multiple of 12), or the straight-line method";
                return wrong(asset, "life in months", &asset.life_months, expected);
            }
        }
        BookMethod::Units(units) => check_units(asset, units)?,
    }
    if let (Some(from), Some(to)) = (terms.stay.from, terms.stay.to)
        && to <= from
    {
        return wrong(asset, "end of its stay", &to, "a day after the one on which it came");
    }
    terms.events.iter().try_for_each(|event| check_event(asset, event))
}

fn check_units(asset: &Asset, units: &Units) -> Result<(), TcoError> {
    if units.life <= Decimal::ZERO || units.life > UNITS_MAX {
        return wrong(asset, "life in units", &units.life, "more than zero and at most 100000000000");
    }
    let mut last = i64::MIN;
    for done in &units.before {
        if done.units < Decimal::ZERO {
            return wrong(asset, "units done", &done.units, "zero or more");
        }
        if done.from_ms < last || done.to_ms <= done.from_ms {
            let stretch = format!("{}..{} ms", done.from_ms, done.to_ms);
            return wrong(
                asset,
                "stretch of units done",
                &stretch,
                "stretches in the order of time that do not overlap",
            );
        }
        last = done.to_ms;
    }
    Ok(())
}

fn check_event(asset: &Asset, event: &Event) -> Result<(), TcoError> {
    if event.on < asset.in_service {
        return wrong(asset, "date of an event", &event.on, "a day on or after its in-service date");
    }
    let first_of_month = |what: &str| {
        if event.on.day() == 1 {
            return Ok(());
        }
        wrong(
            asset,
            what,
            &event.on,
            "the first day of a month, from which it counts: closed months never move",
        )
    };
    let amount = |what: &str, value: Decimal| {
        if value >= Decimal::ZERO { Ok(()) } else { wrong(asset, what, &value, "zero or more") }
    };
    match &event.what {
        Change::Estimate { life, salvage } => {
            first_of_month("date of a change of estimate")?;
            if *life <= Decimal::ZERO || *life > UNITS_MAX {
                return wrong(asset, "new life", life, "more than zero: all of its life, not what is left");
            }
            if !matches!(asset.terms.method, BookMethod::Units(_)) && !life.fract().is_zero() {
                return wrong(asset, "new life", life, "whole months");
            }
            amount("new salvage", *salvage)
        }
        Change::Impairment { loss, .. } => {
            first_of_month("date of an impairment")?;
            amount("impairment loss", *loss)
        }
        Change::Reversal { amount: reversed } => {
            first_of_month("date of a reversal")?;
            amount("reversal", *reversed)
        }
        Change::Disposal { share, proceeds, selling_cost } => {
            if *share <= Decimal::ZERO || *share > Decimal::ONE {
                return wrong(asset, "disposed share", share, "more than 0 and at most 1 (100 %)");
            }
            amount("proceeds", *proceeds)?;
            amount("selling cost", *selling_cost)
        }
    }
}
