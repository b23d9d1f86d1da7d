//! The two products of the simulated fleet, with figures from their data sheets.

/// A GPU product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    H100,
    L40s,
}

impl Product {
    pub const ALL: [Self; 2] = [Self::H100, Self::L40s];

    /// The model as the driver would name it, and that it is none.
    pub const fn model(self) -> &'static str {
        match self {
            Self::H100 => "Simulated NVIDIA H100 80GB HBM3",
            Self::L40s => "Simulated NVIDIA L40S",
        }
    }

    /// Part of the nodes' names.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::H100 => "h100",
            Self::L40s => "l40s",
        }
    }

    /// Power of a GPU that nobody uses.
    pub const fn idle_mw(self) -> u64 {
        match self {
            Self::H100 => 72_000,
            Self::L40s => 34_000,
        }
    }

    /// Power of a GPU that holds a model in memory and computes nothing.
    pub const fn held_mw(self) -> u64 {
        match self {
            Self::H100 => 118_000,
            Self::L40s => 61_000,
        }
    }

    /// Least power of the node around the GPUs: processors, memory, fans, disks, network.
    pub const fn host_mw(self) -> u64 {
        match self {
            Self::H100 => 1_650_000,
            Self::L40s => 540_000,
        }
    }

    /// Power limit.
    pub const fn limit_mw(self) -> u64 {
        match self {
            Self::H100 => 700_000,
            Self::L40s => 350_000,
        }
    }

    pub const fn memory_bytes(self) -> u64 {
        match self {
            Self::H100 => 81_559 * 1_048_576,
            Self::L40s => 46_068 * 1_048_576,
        }
    }

    /// Clock of the multiprocessors under load and at rest.
    pub const fn clock_khz(self, busy: bool) -> u64 {
        match (self, busy) {
            (Self::H100, true) => 1_980_000,
            (Self::H100, false) => 345_000,
            (Self::L40s, true) => 2_520_000,
            (Self::L40s, false) => 210_000,
        }
    }

    pub const fn memory_clock_khz(self) -> u64 {
        match self {
            Self::H100 => 2_619_000,
            Self::L40s => 9_001_000,
        }
    }
}
