//! The agent: measures a node's GPUs and host once a second and streams the readings to a collector.
//!
//! `main` → [`cli`] → [`config`] → [`app`], which builds the parts, runs them and drains them:
//!
//! ```text
//! collect::gpu (one thread a GPU) ─┐
//! collect::host ───────────────────┴▶ sample ─▶ bounded channel ─▶ record ─▶ spool ─▶ upload ─▶ collector
//! ```
//!
//! Invariants: only `collect::gpu::nvml` imports the NVML wrapper, only `collect::gpu::raw` has
//! unsafe code; nothing listens on a port; every queue is bounded and what it drops is counted;
//! a reading is a value or the reason for its absence.

pub mod app;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod events;
pub mod meter;
pub mod pause;
pub mod probe;
pub mod record;
pub mod sample;
pub mod upload;
