//! What the collector tells Prometheus.
//!
//! | file | families | from |
//! |---|---|---|
//! | [`readings`] | every metric of the catalogue, who and what a GPU is | latest readings in memory |
//! | [`totals`] | energy and hours so far, per GPU and for the fleet | the ledger, added up in [`tally`] |
//! | [`cost`] | cost of the month so far, rent beside it | a statement, computed in the background |
//! | [`archive`] | what became of closed days | their keeper |
//! | [`health`], [`process`] | the collector itself | counters, `/proc` |
//!
//! [`families`] declares every family that the catalogue does not; [`text`], [`labels`] and [`number`]
//! write the exposition format; [`select`] says which part of it is asked for; [`prometheus`] puts one
//! scrape together. A scrape reads memory only: it never waits for the ledger or for money, and ingest
//! never waits for it. What is absent has no sample; it is never written as zero.

pub mod archive;
pub mod cost;
mod devices;
pub mod families;
pub mod health;
mod labels;
mod number;
pub mod process;
pub mod prometheus;
pub mod readings;
mod refresh;
pub mod remote_write;
pub mod select;
pub mod sites;
pub mod tally;
pub mod text;
pub mod totals;

pub use cost::{MonthToDate, watch_costs};
pub use health::Health;
pub use prometheus::Exporter;
pub use select::Selection;
pub use sites::Sites;
pub use tally::Tally;
pub use totals::watch_totals;

#[cfg(test)]
mod tests;
