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
//! What goes in, and what else comes out:
//!
//! | modules | |
//! |---|---|
//! | [`register`], [`asset`] | what was bought: components, stays, financing; what the engine takes of it |
//! | [`books`] | book, tax and economic value of an asset, side by side |
//! | [`energy`], [`time_of_use`], [`supply`], [`power_bill`], [`carbon`] | electricity: prices by hour, demand, taxes, emissions |
//! | [`facility`], [`failures`] | sites, colocation, overheads and their keys, capital charge, spares |
//! | [`centres`], [`shares`], [`showback`], [`concentration`] | who pays: cost centres, bases, idle time apart, tenants |
//! | [`exchange`], [`money`] | amounts in their currency, and dated conversions |
//! | [`decide`], [`scenario`] | own or rent, sensitivity, best split, business models; claims put to the test |
//! | [`statement`], [`sheet`], [`sheets`], [`formulas`] | results: lines and rows, each with formula, inputs and sources |
//!
//! Beside that way stand the functions of a spreadsheet, each with its formula, range and source:
//! [`finance`] (time value of money) and [`depreciation`].
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]
// Tests compute what they expect in the plain way.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod allocation;
pub mod asset;
pub mod books;
pub mod calendar;
pub mod carbon;
pub mod centres;
mod compare;
pub mod concentration;
pub mod decide;
pub mod decimal;
pub mod depreciation;
pub mod energy;
mod error;
pub mod evaluate;
pub mod exchange;
pub mod facility;
pub mod failures;
mod figures;
pub mod finance;
pub mod formulas;
pub mod money;
mod notes;
pub mod pools;
pub mod power_bill;
mod powers;
pub mod register;
pub mod rent;
pub mod scenario;
pub mod service;
pub mod shares;
pub mod sheet;
pub mod sheets;
pub mod showback;
pub mod statement;
pub mod supply;
pub mod tally;
pub mod time_of_use;
pub mod usage;
mod view;

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
