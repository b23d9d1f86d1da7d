//! What the end-to-end tests share: real binaries, real processes, real judges.
//!
//! - [`built`]: the binaries and the simulated NVML of this build;
//! - [`process`]: a child process with its output in a file, ended when dropped;
//! - [`tool`]: programs of others, and the one rule for what is missing;
//! - [`net`]: free ports, waiting with a limit, plain HTTP;
//! - [`monitored`]: a small fleet under a real Prometheus;
//! - [`days`]: a ledger whose days are all closed, and foreign readers of their files;
//! - [`fake`]: a node's simulated GPUs and the truth about what they told;
//! - [`killing`]: collectors, agents and a database that are killed while they count;
//! - [`world`]: a collector and nodes as real processes, and what their ledger has counted;
//! - [`peer`]: a peer that speaks the protocol by hand;
//! - [`secure`]: a collector and agents that know each other by certificates;
//! - [`receiver`]: real receivers of remote write;
//! - [`spooled`]: what an agent has left in its spool;
//! - [`parts`]: what `tests/parts` has put in place.
//!
//! Tests return `anyhow::Result<()>`; nothing here panics.

pub mod built;
pub mod days;
pub mod fake;
pub mod killing;
pub mod monitored;
pub mod net;
pub mod parts;
pub mod peer;
pub mod process;
pub mod receiver;
pub mod secure;
pub mod spooled;
pub mod tool;
pub mod world;
