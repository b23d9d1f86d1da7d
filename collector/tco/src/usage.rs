//! What the ledger holds of a period, in the form that [`evaluate`](crate::evaluate()) reads.
//!
//! Rows may come in any order: everything that is made of them is a sum.

use crate::calendar::UtcHour;

/// Owner number of nobody: the GPU was free or down, or its energy fell into a gap.
pub const NOBODY: u32 = 0;
/// Owner number of somebody whose name could not be read.
pub const UNKNOWN: u32 = 1;

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    pub nodes: Vec<NodeUse>,
    pub gpus: Vec<GpuUse>,
    /// Names by owner number; several numbers may have one name. The first two are
    /// [`NOBODY`] and [`UNKNOWN`], whatever they are called here.
    pub owners: Vec<String>,
    pub gpu_rows: Vec<GpuRow>,
    pub node_rows: Vec<NodeRow>,
    /// True when any reading came from a simulation.
    pub simulated: bool,
}

/// A node that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUse {
    pub name: String,
    /// Position in the list of sites.
    pub site: usize,
    /// First and last instant that anything is known of, in ms since the epoch.
    pub seen_ms: Option<(u64, u64)>,
    /// What the register says of GPUs that no agent reports, where it says so.
    pub declared: Option<Declared>,
}

/// GPUs of a node as the register declares them, for nodes of which only the power is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub gpus: u32,
    pub model: String,
    /// True when its GPUs count as active while the node was observed; else they are unmonitored.
    pub active: bool,
}

/// A GPU that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuUse {
    pub uuid: String,
    pub serial: Option<String>,
    /// Position in the list of nodes.
    pub node: usize,
    pub model: String,
    pub seen_ms: Option<(u64, u64)>,
}

/// What one owner had of one GPU in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuRow {
    pub hour: UtcHour,
    /// Position in the list of GPUs.
    pub gpu: u32,
    /// Owner number.
    pub owner: u32,
    pub active_ms: u64,
    pub held_ms: u64,
    pub free_ms: u64,
    pub down_ms: u64,
    /// By the hardware counter.
    pub counter_mj: u64,
    /// The part of `counter_mj` used while nobody looked.
    pub gap_mj: u64,
    /// Integrated from power; not in `counter_mj`.
    pub estimated_mj: u64,
}

/// What is known of a whole node in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRow {
    pub hour: UtcHour,
    /// Position in the list of nodes.
    pub node: u32,
    pub observed_ms: u64,
    /// Time for which the node's own energy is known.
    pub metered_ms: u64,
    pub counter_mj: u64,
    pub gap_mj: u64,
    pub estimated_mj: u64,
}
