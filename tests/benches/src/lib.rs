//! What the benchmarks share: the streams that they work on, and the clock that they go by.
//!
//! - [`stream`]: a busy node as its agent would tell it, and power as it was recorded on real servers;
//! - [`cpu`]: CPU time as criterion's measure, since the wall clock of a shared machine says little.

pub mod cpu;
pub mod stream;
