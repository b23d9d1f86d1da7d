//! Load: many agents into one collector, and what it costs.
//!
//! ```text
//! this process                                            a process of its own
//! values ─▶ agent: the agent's own recorder, spool, upload ══ TLS ══▶ gpuledger serve ─▶ ledger
//!    │        │ disk in memory                                 │                           │
//!    │        └─▶ view ─▶ acknowledgements, trials             └─▶ usage: CPU, memory      │
//!    └─────────▶ sent ◀──────────────────────────── verdict ◀──────────────────────────────┘
//! ```
//!
//! What is real: encoder, batches, spool, protocol, sockets, TLS, the collector and its store. What is
//! simulated: what GPUs read, and the disks of the agents' spools, which are memory.
//!
//! Every node takes one sample a second and sends ten of them as a batch; the phases of the nodes fill
//! the ten seconds, so that load is even. Figures are taken between the beginning, when every agent is
//! connected and known, and the last acknowledgement: processor time of the collector as the kernel
//! counts it, and the generator's own apart, since both run on one machine. Seconds of processor time
//! for a million points hold on any machine; times until an acknowledgement hold on this one.
//!
//! At the end the ledger is compared with what was sent: each GPU's energy to the millijoule, its time
//! and its samples.

mod agent;
mod built;
mod certificates;
mod collector;
mod command;
mod disk;
mod ledger;
mod links;
mod progress;
mod report;
mod run;
mod trial;
mod usage;
mod values;
mod verdict;
mod view;

pub use command::{Load, Misuse};
