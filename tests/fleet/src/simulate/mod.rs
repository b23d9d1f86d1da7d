//! A deterministic simulation of agents, links, collectors and either of their stores.
//!
//! ```text
//! plan ◀─ seed                                          oracle: every sample taken, every commit
//!   │                                                     ▲                        │
//!   ▼                                                     │                        ▼ at the end
//! run ─▶ machines: hardware ─▶ the agent's own recorder, spool, uplink      the ledger, verify
//!   │                              │ disk in memory
//!   ├──▶ link: slow, cut, held ◀───┘
//!   ├──▶ collector: the product's own ingest and fold behind gRPC
//!   └──▶ store: the product's own, SQLite or PostgreSQL, with faults in front of it
//! ```
//!
//! A run is one thread with a clock that stands still while anything works and jumps when all wait,
//! so that hours pass in a fraction of a second and every run of a seed is the same: its events have
//! one digest. What would differ is shut out: calls to the store run while the thread waits, the disk
//! answers at once, identities and pauses come from the seed, every `select!` is biased.
//!
//! On PostgreSQL each run has a schema of its own, and each collector its own connections; the run of
//! a seed is the same there as on SQLite, but for the faults that need the ledger's files.
//!
//! Checked in every run: no acknowledgement before its commit; every sample that was safe is in the
//! ledger once, unless an agent says that it dropped it; energy, time by state and samples of every
//! device are what an independent look at its chain of samples says, and never more than what was
//! truly used; `verify` holds; all spools drain.

mod agent;
mod collector;
mod command;
mod dice;
mod hardware;
mod link;
mod machine;
mod many;
mod oracle;
pub(crate) mod place;
mod plan;
mod run;
mod store;
mod trail;

pub use command::Simulate;
pub use many::{Many, ManyError, Summary, run_all};
pub use place::{Place, PlaceError};
pub use run::RunError;
