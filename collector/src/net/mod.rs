//! Connections of agents, from the port to the first request: who may come in, and how many.
//!
//! ```text
//! port ─▶ [`accept`]: a place, a handshake within its time ─▶ [`io::Io`] ─▶ HTTP/2 (tonic) ─▶ ingest
//!            │               ▲                                    │
//!       [`places`]     [`certificates`]: the files in force   a place that serves no stream for long
//!       counts by      are replaced while all goes on         is given back
//!       address, node
//! ```
//!
//! Invariants: a connection has a place from before its handshake until its socket is closed; none is read
//! from before it has one; what a peer sends before it is known is bounded in bytes and in time; who is
//! turned away is counted by reason, and told where its protocol allows it.

mod accept;
pub mod certificates;
mod events;
mod io;
mod places;
mod refuse;
#[cfg(test)]
mod tests;

pub use accept::{Door, Incoming};
pub use certificates::Certificates;
pub use events::TURNED_AWAY;
pub use io::{Connection, Occupied};
pub use places::Limits;

use std::time::Duration;

/// Connections at one time: twice the largest fleet that one collector is meant for, as streams are.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Of one address (of one /64 in IPv6): a whole fleet may come from behind one gateway, and what is left
/// is still room for others.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 16_384;
/// Of one node: an agent has one, and each that it lost without the collector's having noticed stays for
/// half a minute.
pub const CONNECTIONS_PER_NODE_MAX: usize = 8;
/// Handshakes at one time: two seconds of work for two cores when a fleet comes back. Who comes while all
/// are taken waits in the kernel's queue.
pub const HANDSHAKES_MAX: usize = 4_096;
/// Of one address, so that one that never speaks leaves room for all others.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 3_072;
/// A handshake takes two round trips; agents themselves give up after ten seconds.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// A connection without a stream: an agent opens one at once. Less than HTTP/2's keep-alive takes to miss
/// an answer, so that who holds a connection and says nothing is always cut off, and counted, for that.
pub const IDLE_WITHIN: Duration = Duration::from_secs(20);
/// Descriptors that are kept for the ledger, closed days, the other port and what a library opens.
pub const DESCRIPTORS_KEPT: u64 = 512;
