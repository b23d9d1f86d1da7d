//! The collector: takes readings from agents into a ledger, computes what GPUs cost, reports.
#![forbid(unsafe_code)]

pub mod app;
pub mod ca;
pub mod cli;
pub mod config;
pub mod costing;
pub mod export;
pub mod fleet;
pub mod fold;
pub mod http;
pub mod import;
pub mod ingest;
pub mod latest;
pub mod net;
pub mod report;
pub mod store;
pub mod verify;
