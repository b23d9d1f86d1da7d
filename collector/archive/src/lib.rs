//! Closed days as Parquet files, under a manifest in the ledger.
#![forbid(unsafe_code)]
