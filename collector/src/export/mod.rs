//! What the collector tells Prometheus.
//!
//! | file | families | from |
//! |---|---|---|
//! | [`readings`] | every metric of the catalogue, who and what a GPU is | latest readings in memory |
//! | [`totals`] | energy and hours so far, per GPU and for the fleet | the ledger, read in the background |
//! | [`cost`] | cost of the month so far, rent beside it | a statement, computed in the background |
//! | [`health`], [`process`] | the collector itself | counters, `/proc` |
//!
//! [`families`] declares every family that the catalogue does not; [`text`] writes the exposition
//! format; [`prometheus`] puts one scrape together. A scrape reads memory only: it never waits for
//! the ledger or for money. What is absent has no sample; it is never written as zero.

pub mod cost;
pub mod families;
pub mod health;
pub mod process;
pub mod prometheus;
pub mod readings;
mod refresh;
pub mod text;
pub mod totals;

pub use cost::{MonthToDate, watch_costs};
pub use health::Health;
pub use prometheus::Exporter;
pub use totals::watch_totals;

#[cfg(test)]
mod tests;
