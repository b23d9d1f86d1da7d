//! What is booked beside depreciation: impairments, reversals and the gains and losses of disposals.

use super::terms::Regime;
use crate::decimal::{add, sub};
use crate::error::TcoError;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// What kind of entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    Impairment(Regime),
    Reversal,
    Disposal { proceeds: Decimal, selling_cost: Decimal, book_value: Decimal },
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    pub on: Date,
    pub at_ms: i64,
    pub what: Booked,
    /// The loss of an impairment, what a reversal brings back, the gain of a disposal (negative: a loss).
    pub amount: Decimal,
    pub net_before: Decimal,
    pub net_after: Decimal,
    /// True where nothing of the asset is left.
    pub closes: bool,
    pub source: String,
}

impl Booking {
    /// What it costs: a loss is positive, a gain negative.
    pub fn cost(&self) -> Result<Decimal, TcoError> {
        match self.what {
            Booked::Impairment(_) => Ok(self.amount),
            Booked::Reversal | Booked::Disposal { .. } => sub(Decimal::ZERO, self.amount),
        }
    }

    /// What the asset brought in money on that day: proceeds less selling cost.
    pub fn cash(&self) -> Result<Decimal, TcoError> {
        match self.what {
            Booked::Disposal { proceeds, selling_cost, .. } => sub(proceeds, selling_cost),
            Booked::Impairment(_) | Booked::Reversal => Ok(Decimal::ZERO),
        }
    }

    pub const fn name(&self) -> &'static str {
        match self.what {
            Booked::Impairment(Regime::UsGaap) => "impairment (US GAAP)",
            Booked::Impairment(Regime::Ifrs) => "impairment (IFRS)",
            Booked::Reversal => "reversal of impairment",
            Booked::Disposal { .. } => "disposal",
        }
    }
}

/// Sum of what entries within a stretch of time cost; the start is in it, the end is not.
pub fn cost_between(bookings: &[Booking], from_ms: i64, to_ms: i64) -> Result<Decimal, TcoError> {
    let within = bookings.iter().filter(|booking| (from_ms..to_ms).contains(&booking.at_ms));
    within.map(Booking::cost).try_fold(Decimal::ZERO, |sum, cost| add(sum, cost?))
}
