//! What the ledger holds. A row only ever adds: every column is an integral over time, a count or a
//! maximum, so merging two rows is addition, in any order.

use gpuledger_proto::frame::{Gpu, Host, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, Overflow, PpmMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Hours since the Unix epoch, UTC: the grid of every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(pub u32);

/// Milliseconds of an hour: what a GPU can be observed for at most.
pub const HOUR_MS: u64 = 3_600_000;

impl Hour {
    /// The hour that holds this instant; the last representable hour for instants beyond.
    pub fn of(wall_ms: u64) -> Self {
        Self(u32::try_from(wall_ms / HOUR_MS).unwrap_or(u32::MAX))
    }

    pub const fn start_ms(self) -> u64 {
        self.0 as u64 * HOUR_MS
    }

    pub const fn end_ms(self) -> u64 {
        self.start_ms() + HOUR_MS
    }
}

/// Days since the Unix epoch, UTC: what is closed and moved out of the store as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub u32);

impl Day {
    /// The day that an hour lies in.
    pub const fn of(hour: Hour) -> Self {
        Self(hour.0 / 24)
    }

    /// Its first hour.
    pub const fn first_hour(self) -> Hour {
        Hour(self.0.saturating_mul(24))
    }

    /// Its 24 hours.
    pub const fn hours(self) -> crate::HourRange {
        crate::HourRange { from: self.first_hour(), to: Hour(self.first_hour().0.saturating_add(24)) }
    }
}

/// Its date, as in `2026-03-29`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years that begin in March, in eras of 400 years: the leap day is the last of its year.
        const ERA_DAYS: u32 = 146_097;
        let shifted = u64::from(self.0) + 719_468;
        let era = shifted / u64::from(ERA_DAYS);
        let day = shifted % u64::from(ERA_DAYS);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(f, "{:04}-{month:02}-{day_of_month:02}", era * 400 + year + carry)
    }
}

/// The ledger's own number of a node; stable for the life of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeKey(pub u32);

/// The ledger's own number of a GPU, below 2^20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GpuKey(pub u32);

/// The ledger's own number of an owner, below 2^24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerKey(pub u32);

impl OwnerKey {
    /// Nobody: the GPU was free, or down, or the energy fell into a gap.
    pub const NOBODY: Self = Self(0);
    /// Somebody whose name could not be read: processes of unknown users, or no permission.
    pub const UNKNOWN: Self = Self(1);
    /// First number that a named owner gets.
    pub const FIRST_NAMED: Self = Self(2);
}

/// What one owner had of one GPU in one hour.
///
/// `active + held + free + down` is the observed time of the row; over all owners of a GPU and hour
/// it is at most [`HOUR_MS`]. The rest of the hour is unmonitored and is nowhere stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GpuHour {
    /// Work ran.
    pub active_ms: Millis,
    /// Somebody owned the GPU and nothing ran.
    pub held_ms: Millis,
    /// Nobody owned it and nothing ran.
    pub free_ms: Millis,
    /// The GPU was lost or hung.
    pub down_ms: Millis,
    /// Energy by the hardware counter, in observed time and in gaps: over all rows of a GPU it is
    /// the counter's increase.
    pub counter_mj: Millijoules,
    /// The part of `counter_mj` that was used while nobody looked (agent away, batches dropped).
    pub gap_mj: Millijoules,
    /// Energy integrated from power, for GPUs without a counter and for the tail that a counter
    /// reset swallowed. Not in `counter_mj`.
    pub estimated_mj: Millijoules,
    /// The part of `counter_mj + estimated_mj` that was used in `active_ms`.
    pub active_mj: Millijoules,
    /// Utilisation × time, over `busy_known_ms`.
    pub busy_ppm_ms: PpmMillis,
    /// Time for which utilisation was known.
    pub busy_known_ms: Millis,
    /// Memory in use × time.
    pub memory_byte_ms: ByteMillis,
    /// Time in which the clock was held down by power or heat.
    pub throttled_ms: Millis,
    pub power_max_mw: Option<Milliwatts>,
    pub temperature_max_mc: Option<Millicelsius>,
    /// Samples that say something about this row.
    pub samples: u64,
}

impl GpuHour {
    /// Adds another row of the same key.
    pub fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        self.active_ms.add(other.active_ms)?;
        self.held_ms.add(other.held_ms)?;
        self.free_ms.add(other.free_ms)?;
        self.down_ms.add(other.down_ms)?;
        self.counter_mj.add(other.counter_mj)?;
        self.gap_mj.add(other.gap_mj)?;
        self.estimated_mj.add(other.estimated_mj)?;
        self.active_mj.add(other.active_mj)?;
        self.busy_ppm_ms.add(other.busy_ppm_ms)?;
        self.busy_known_ms.add(other.busy_known_ms)?;
        self.memory_byte_ms.add(other.memory_byte_ms)?;
        self.throttled_ms.add(other.throttled_ms)?;
        self.power_max_mw = self.power_max_mw.max(other.power_max_mw);
        self.temperature_max_mc = self.temperature_max_mc.max(other.temperature_max_mc);
        self.samples = self.samples.checked_add(other.samples).ok_or(Overflow("samples"))?;
        Ok(())
    }

    /// Time in which the GPU was observed.
    pub fn observed(&self) -> Result<Millis, Overflow> {
        self.active_ms.plus(self.held_ms)?.plus(self.free_ms)?.plus(self.down_ms)
    }

    /// All energy of the row.
    pub fn energy(&self) -> Result<Millijoules, Overflow> {
        self.counter_mj.plus(self.estimated_mj)
    }
}

/// What a node had in one hour, beside its GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeHour {
    /// Time in which the node was observed.
    pub observed_ms: Millis,
    /// Energy of the whole node by a meter's counter.
    pub counter_mj: Millijoules,
    /// The part of `counter_mj` that was used while nobody looked.
    pub gap_mj: Millijoules,
    /// Energy of the whole node integrated from power readings.
    pub estimated_mj: Millijoules,
    /// Time for which the node's own energy is known; the rest of `observed_ms` knows only GPUs.
    pub metered_ms: Millis,
    /// CPU utilisation × time.
    pub cpu_ppm_ms: PpmMillis,
    /// Time for which CPU utilisation was known.
    pub cpu_known_ms: Millis,
    /// Host memory in use × time.
    pub memory_byte_ms: ByteMillis,
    pub power_max_mw: Option<Milliwatts>,
    pub samples: u64,
}

impl NodeHour {
    /// Adds another row of the same key.
    pub fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        self.observed_ms.add(other.observed_ms)?;
        self.counter_mj.add(other.counter_mj)?;
        self.gap_mj.add(other.gap_mj)?;
        self.estimated_mj.add(other.estimated_mj)?;
        self.metered_ms.add(other.metered_ms)?;
        self.cpu_ppm_ms.add(other.cpu_ppm_ms)?;
        self.cpu_known_ms.add(other.cpu_known_ms)?;
        self.memory_byte_ms.add(other.memory_byte_ms)?;
        self.power_max_mw = self.power_max_mw.max(other.power_max_mw);
        self.samples = self.samples.checked_add(other.samples).ok_or(Overflow("samples"))?;
        Ok(())
    }

    /// All energy of the row.
    pub fn energy(&self) -> Result<Millijoules, Overflow> {
        self.counter_mj.plus(self.estimated_mj)
    }
}

/// Key of a GPU row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GpuHourKey {
    pub hour: Hour,
    pub gpu: GpuKey,
    pub owner: OwnerKey,
}

/// A node as the register knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    pub key: NodeKey,
    pub name: NodeName,
    pub host: Host,
    /// First and last instant that any row of the node speaks of; `None` before the first commit.
    pub first_ms: Option<u64>,
    pub last_ms: Option<u64>,
}

/// A GPU as the register knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuRecord {
    pub key: GpuKey,
    /// The node that holds it: the one that last committed for it.
    pub node: NodeKey,
    pub gpu: Gpu,
    pub first_ms: Option<u64>,
    pub last_ms: Option<u64>,
}

/// An owner as the register knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRecord {
    pub key: OwnerKey,
    pub owner: Owner,
}

/// The fold's memory of a node: opaque to the ledger, replaced as a whole with every commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeState {
    /// Rises by one with every commit of the node. 0 before the first.
    pub version: u64,
    pub blob: Vec<u8>,
}

/// Everything one node adds in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCommit {
    pub node: NodeKey,
    /// The version that the fold started from; the stored one must be equal.
    pub base_version: u64,
    /// The fold's memory after these rows.
    pub state: Vec<u8>,
    /// Each epoch that moved: the sequence that the fold started from (the stored one must be
    /// equal; 0 when none is stored) and the sequence that it reached.
    pub epochs: Vec<EpochAdvance>,
    pub gpu_hours: Vec<(GpuHourKey, GpuHour)>,
    pub node_hours: Vec<(Hour, NodeHour)>,
    /// GPUs that this node takes over: they, and the memory of their chains, leave the node that held
    /// them in the same transaction.
    pub taken: Vec<Taken>,
    /// Span of time that each GPU's rows speak of: for the register's first and last instant.
    pub gpus_seen: Vec<(GpuKey, u64, u64)>,
    /// The same for the node.
    pub seen: Option<(u64, u64)>,
}

impl NodeCommit {
    /// The named owners of its rows.
    pub(crate) fn owners(&self) -> BTreeSet<OwnerKey> {
        let owners = self.gpu_hours.iter().map(|(key, _)| key.owner);
        owners.filter(|owner| *owner >= OwnerKey::FIRST_NAMED).collect()
    }
}

/// GPUs that leave the node that held them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub from: NodeKey,
    /// The version of that node's state that the GPUs' memory was read from; the stored one must be
    /// equal.
    pub base_version: u64,
    /// That node's state without them; its version rises by one.
    pub state: Vec<u8>,
    /// The GPUs; each must be held by `from` still.
    pub gpus: Vec<GpuKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochAdvance {
    pub epoch: Epoch,
    pub from: Sequence,
    pub to: Sequence,
}

/// What became of one [`NodeCommit`]. In order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Rows, state and sequences are durable.
    Committed,
    /// Another writer has moved the node's state or sequence, or another ledger lies in this one's place
    /// and knows the node, a GPU or an owner no longer: nothing of this node was written.
    Moved,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_named_as_the_calendar_does() {
        let dates = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01")];
        let late =
            [(20_541, "2026-03-29"), (20_818, "2026-12-31"), (47_540, "2100-02-28"), (47_541, "2100-03-01")];
        for (day, date) in dates.into_iter().chain(late) {
            assert_eq!(Day(day).to_string(), date, "{day}");
        }
    }
}
