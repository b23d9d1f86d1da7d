//! Decisions: own or rent, how many, and by which business model.
//!
//! The same work is held against the same work: hours that are useful are counted, not hours that are
//! paid, and GPUs of different models by their throughput. Every figure says what it was computed from.
//!
//! | module | |
//! |---|---|
//! | [`way`] | ways to get the work done (own, lease, rent) and their yearly cash |
//! | [`case`] | own against rent: break-even, payback, present value, rate of return, levelised cost |
//! | [`split`] | the best split for a measured load curve: own the base, rent the peaks |
//! | [`sensitivity`] | one lever at a time, and P10/P50/P90 from a seed |
//! | [`measured`] | cost and use of each model as the ledger has them |
//! | [`models`] | business models on one page |
//! | [`market`] | what free hours would have earned |
//! | [`dice`] | the deterministic generator behind seeds |

pub mod case;
pub mod dice;
pub mod market;
pub mod measured;
pub mod models;
pub mod sensitivity;
pub mod split;
pub mod way;

pub use case::{Case, Verdict, judge};
pub use market::{FreeHours, FreeTime, market_value};
pub use models::{ModelRow, compare_models};
pub use sensitivity::{Quantiles, Swing, quantiles, tornado};
pub use split::{LoadCurve, Split, best_split, load_curve};
pub use way::{Fleet, Lease, Offer, Own, Running, Way, Work};

use crate::formulas::Formula;
use crate::statement::Input;
use rust_decimal::Decimal;
use serde::Serialize;

/// One figure of a result and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Derived {
    /// Stable name within its result: `npv_own`.
    pub id: String,
    /// For people.
    pub label: String,
    /// `None` where there is no such number; the label says why.
    pub value: Option<Decimal>,
    /// "EUR", "EUR/GPU-hour", "months"; empty for a pure number.
    pub unit: String,
    pub formula_id: Formula,
    pub inputs: Vec<Input>,
}

impl Derived {
    pub(crate) fn new(
        id: &str,
        label: &str,
        value: Option<Decimal>,
        unit: &str,
        formula_id: Formula,
        inputs: Vec<Input>,
    ) -> Self {
        Self { id: id.to_owned(), label: label.to_owned(), value, unit: unit.to_owned(), formula_id, inputs }
    }
}

#[cfg(test)]
mod tests;
