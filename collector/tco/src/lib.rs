//! Total cost of ownership: pure, decimal and explained. No I/O, no clock, no floats, no hash order.
//!
//! [`evaluate()`] turns [`Inputs`] into a [`statement::Statement`]; a what-if is the same call on changed
//! inputs. The way through the modules:
//!
//! 1. [`service`] decides which GPUs were in service when, from assets and from what was seen;
//! 2. [`tally`] adds up time, energy and its price in integers, one pass over the rows;
//! 3. [`pools`] writes down what each thing cost in each month (an asset, a node's electricity, …);
//! 4. [`allocation`] splits the pools over months, models, nodes, owners or sites, to the smallest unit;
//! 5. [`rent`] says what renting would have cost; [`evaluate`](mod@evaluate) puts it together.
//!
//! Beside that way stand the functions of a spreadsheet, each with its formula, range and source:
//! [`finance`] (time value of money) and [`depreciation`]; and [`shares`], [`failures`] and
//! [`power_bill`], the parts of other computations.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]
// Tests compute what they expect in the plain way.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod allocation;
pub mod asset;
pub mod books;
pub mod calendar;
pub mod carbon;
mod compare;
pub mod decimal;
pub mod depreciation;
pub mod energy;
mod error;
pub mod evaluate;
pub mod facility;
pub mod failures;
mod figures;
pub mod finance;
pub mod formulas;
pub mod money;
pub mod pools;
pub mod power_bill;
mod powers;
pub mod register;
pub mod rent;
pub mod service;
pub mod shares;
pub mod statement;
pub mod supply;
pub mod tally;
pub mod time_of_use;
pub mod usage;

pub use depreciation::{
    TaxConvention, db, ddb, macrs, macrs_percentages, macrs_without_tables, sln, syd, units_of_production,
    vdb,
};
pub use error::TcoError;
pub use evaluate::{Inputs, evaluate};
pub use finance::{
    When, capital_recovery, fv, ipmt, irr, irr_all, levelised, mirr, nper, npv, npv_at_start,
    payback_periods, pmt, ppmt, pv, rate, wacc, xirr, xnpv,
};
