//! Joins the ledger with the register and has the money engine evaluate both. The only place that
//! knows the ledger and the engine.

mod assets;
mod count;
mod month;
pub mod reports;
#[cfg(test)]
mod tests;
mod trace;
mod usage;

use crate::fleet::{Fleet, FleetError};
use count::count;
use gpuledger_ledger::{Hour, HourRange, Ledger, LedgerError};
use gpuledger_tco::TcoError;
use gpuledger_tco::asset::{Asset, Place};
use gpuledger_tco::calendar::{Calendar, Month, UtcHour};
use gpuledger_tco::statement::{GroupBy, Statement};
use jiff::Timestamp;

pub use assets::{ImportAssetsError, holdings, import_assets};
pub use gpuledger_tco::calendar::Period;
pub use month::MonthCosts;
pub use trace::{Scope, rows_of};

/// Why a statement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CostingError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The register, or an asset in the ledger, has a mistake.
    #[error(transparent)]
    Register(#[from] FleetError),
    #[error(transparent)]
    Money(#[from] TcoError),
    #[error(
        "node {node} fits no [[node]] of the register, which has several sites; add one with its name and site"
    )]
    NoSite { node: String },
    /// A report needs something that the register does not say.
    #[error("{report} needs {what}, which the register does not say: add {key}")]
    Missing { report: &'static str, what: String, key: &'static str },
    #[error("{what} {given:?} is not there; there are {known}")]
    Unknown { what: &'static str, given: String, known: String },
}

impl CostingError {
    /// True where what the user gave is wrong, and not this run.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Ledger(_))
    }
}

/// The statement of a period that is over.
pub async fn statement(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    by: GroupBy,
) -> Result<Statement, CostingError> {
    evaluate_as_of(ledger, fleet, period, by, None).await
}

/// The statement of a period that may not be over: nothing is counted after `now`.
pub async fn statement_as_of(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    by: GroupBy,
    now: Timestamp,
) -> Result<Statement, CostingError> {
    evaluate_as_of(ledger, fleet, period, by, Some(now)).await
}

/// What the current calendar month of the register's time zone has cost so far.
pub async fn month_to_date(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    by: GroupBy,
    now: Timestamp,
) -> Result<Statement, CostingError> {
    statement_as_of(ledger, fleet, month_of(fleet, now)?, by, now).await
}

/// The calendar month of the register's time zone that an instant lies in.
fn month_of(fleet: &Fleet, now: Timestamp) -> Result<Period, CostingError> {
    let calendar = Calendar::new(fleet.time_zone.clone());
    let month = Month::of(calendar.date(now.as_millisecond()));
    // A month that begins within an hour begins with the hour after it, as in every statement.
    let start = full_hour_from(calendar.month_start_ms(month)?);
    let end = full_hour_from(calendar.month_start_ms(month.plus(1)?)?);
    Ok(Period::new(start, end)?)
}

fn full_hour_from(ms: i64) -> Timestamp {
    let hour = gpuledger_tco::calendar::HOUR_MS;
    let ms = ms.div_euclid(hour) * hour + if ms.rem_euclid(hour) > 0 { hour } else { 0 };
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

async fn evaluate_as_of(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    by: GroupBy,
    now: Option<Timestamp>,
) -> Result<Statement, CostingError> {
    let counted = count(ledger, fleet, period, now).await?;
    Ok(counted.evaluation.statement(&counted.inputs, by)?)
}

fn notes(fleet: &Fleet) -> Vec<String> {
    let zone = fleet.time_zone.iana_name().unwrap_or("UTC");
    let mut notes = vec![format!("Months and days are those of {zone}.")];
    if fleet.prices.is_empty() {
        notes.push("The register has no rent prices: owning is not compared with renting.".to_owned());
    }
    notes
}

fn range(period: Period) -> HourRange {
    let hour = |hour: UtcHour| Hour(hour.0);
    HourRange { from: hour(period.from()), to: hour(period.to()) }
}

/// Names of nodes that only assets know.
fn nodes_of(assets: &[Asset]) -> impl Iterator<Item = &str> {
    assets.iter().filter_map(|asset| match &asset.place {
        Place::Node(node) => Some(node.as_str()),
        Place::Site(_) => None,
    })
}
