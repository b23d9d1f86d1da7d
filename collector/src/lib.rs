//! The collector: takes readings from agents into a ledger, computes what GPUs cost, reports.
#![forbid(unsafe_code)]

pub mod fold;
pub mod import;
