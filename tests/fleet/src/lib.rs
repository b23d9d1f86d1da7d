//! A simulated fleet through the real wire: what `quickstart` and `gpuledger-fleet` share.
//!
//! ```text
//! model (pure) ─▶ frames ─▶ agents: the agent's own recorder, spool and upload ─▶ any collector
//!      └───────────────────▶ truth ◀─ compared with ─ ledger
//! ```
//!
//! Invariants: what a simulated GPU does at an instant is a pure function of seed, GPU and time; its
//! energy is exact in millijoules; every simulated GPU says that it is simulated, in its inventory
//! and in its name.

pub mod agents;
pub mod clock;
pub mod collector;
pub mod frames;
pub mod killable;
pub mod load;
pub mod local;
pub mod model;
pub mod progress;
pub mod register;
pub mod replay;
pub mod simulate;
pub mod synthesize;
pub mod truth;

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Sends warnings to standard error; `RUST_LOG` asks for more.
pub fn log() {
    log_of("warn");
}

/// Sends to standard error what a filter lets through, as `RUST_LOG` has it, which stands above it.
pub fn log_of(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    // Only the first call in a process counts, which is the binary's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}
