//! What differs between the two tables: their keys and their columns of numbers. The code that
//! writes and reads files is one for both and goes by these lists.

use gpuledger_ledger::{Columns, GpuHour, NodeHour, Sums, Table};
use gpuledger_units::{Millicelsius, Milliwatts, Overflow};
use sha2::{Digest as _, Sha256};
use std::marker::PhantomData;

/// Key of a row, in the order in which files are sorted: all hours of a GPU lie together, so that
/// few pieces of a file hold the GPUs that a report asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// GPU or node.
    pub subject: u32,
    pub hour: u32,
    /// 0 in rows of nodes, which have no owner.
    pub owner: u32,
}

/// A row as it lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<K> {
    pub key: RowKey,
    pub values: K,
}

/// A sum of the manifest that a column is added up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Observed,
    Counter,
    Gap,
    Estimated,
    Samples,
}

impl Total {
    pub const ALL: [Self; 5] = [Self::Observed, Self::Counter, Self::Gap, Self::Estimated, Self::Samples];

    /// Its name in messages, and its value among the sums of a file.
    pub const fn of(self, sums: &Sums) -> (&'static str, u64) {
        match self {
            Self::Observed => ("observed_ms", sums.observed_ms),
            Self::Counter => ("counter_mj", sums.counter_mj),
            Self::Gap => ("gap_mj", sums.gap_mj),
            Self::Estimated => ("estimated_mj", sums.estimated_mj),
            Self::Samples => ("samples", sums.samples),
        }
    }
}

/// A column that holds a number of a row, 64 bits with a sign: what every engine can read.
pub struct Number<K: 'static> {
    pub name: &'static str,
    /// The columns of the ledger that this is a part of.
    pub of: Columns,
    pub total: Option<Total>,
    /// May be absent. What may be absent may be below zero; nothing else may.
    pub optional: bool,
    /// `None` where the row has no value.
    pub get: fn(&K) -> Option<i128>,
    pub set: fn(&mut K, i64),
}

/// A kind of rows that a file can hold.
pub trait Kind: Copy + Default + PartialEq + Send + Sync + 'static {
    const TABLE: Table;
    /// Name of the column of [`RowKey::subject`].
    const SUBJECT: &'static str;
    const HAS_OWNER: bool;
    const NUMBERS: &'static [Number<Self>];

    fn add(&mut self, other: &Self) -> Result<(), Overflow>;
    /// Counts this row into the sums of its file.
    fn count(&self, sums: &mut Sums) -> Result<(), Overflow>;
}

/// Memory × time needs more than 64 bits on a large host, so it is two columns: whole MiB and the
/// rest in bytes, which is below one MiB.
pub const MIB_BITS: u32 = 20;

fn whole_mib(memory_byte_ms: u128) -> i128 {
    i128::try_from(memory_byte_ms >> MIB_BITS).unwrap_or(i128::MAX)
}

fn rest_of_mib(memory_byte_ms: u128) -> i128 {
    i128::try_from(memory_byte_ms & ((1 << MIB_BITS) - 1)).unwrap_or(i128::MAX)
}

/// A quantity that is never absent and never below zero.
macro_rules! quantity {
    ($row:ty, $field:ident, $of:expr) => {
        quantity!($row, $field, $of, None)
    };
    ($row:ty, $field:ident, $of:expr, $total:expr) => {
        Number {
            name: stringify!($field),
            of: $of,
            total: $total,
            optional: false,
            get: |row: &$row| Some(i128::from(row.$field.0)),
            set: |row: &mut $row, value| row.$field.0 = value.unsigned_abs(),
        }
    };
}

/// Memory × time, samples and the highest power: every row has them.
macro_rules! memory_mib_ms {
    ($row:ty) => {
        Number {
            name: "memory_mib_ms",
            of: Columns::MEMORY,
            total: None,
            optional: false,
            get: |row: &$row| Some(whole_mib(row.memory_byte_ms.0)),
            set: |row: &mut $row, value| row.memory_byte_ms.0 |= u128::from(value.unsigned_abs()) << MIB_BITS,
        }
    };
}

macro_rules! memory_rest_byte_ms {
    ($row:ty) => {
        Number {
            name: "memory_rest_byte_ms",
            of: Columns::MEMORY,
            total: None,
            optional: false,
            get: |row: &$row| Some(rest_of_mib(row.memory_byte_ms.0)),
            set: |row: &mut $row, value| row.memory_byte_ms.0 |= u128::from(value.unsigned_abs()),
        }
    };
}

macro_rules! power_max_mw {
    ($row:ty) => {
        Number {
            name: "power_max_mw",
            of: Columns::MAXIMA,
            total: None,
            optional: true,
            get: |row: &$row| row.power_max_mw.map(|power| i128::from(power.0)),
            set: |row: &mut $row, value| row.power_max_mw = Some(Milliwatts(value.unsigned_abs())),
        }
    };
}

macro_rules! samples {
    ($row:ty) => {
        Number {
            name: "samples",
            of: Columns::SAMPLES,
            total: Some(Total::Samples),
            optional: false,
            get: |row: &$row| Some(i128::from(row.samples)),
            set: |row: &mut $row, value| row.samples = value.unsigned_abs(),
        }
    };
}

impl Kind for GpuHour {
    const TABLE: Table = Table::GpuHours;
    const SUBJECT: &'static str = "gpu_key";
    const HAS_OWNER: bool = true;
    const NUMBERS: &'static [Number<Self>] = &[
        quantity!(GpuHour, active_ms, Columns::TIME, Some(Total::Observed)),
        quantity!(GpuHour, held_ms, Columns::TIME, Some(Total::Observed)),
        quantity!(GpuHour, free_ms, Columns::TIME, Some(Total::Observed)),
        quantity!(GpuHour, down_ms, Columns::TIME, Some(Total::Observed)),
        quantity!(GpuHour, counter_mj, Columns::ENERGY, Some(Total::Counter)),
        quantity!(GpuHour, gap_mj, Columns::GAPS, Some(Total::Gap)),
        quantity!(GpuHour, estimated_mj, Columns::ENERGY, Some(Total::Estimated)),
        quantity!(GpuHour, active_mj, Columns::ACTIVE_ENERGY),
        quantity!(GpuHour, busy_ppm_ms, Columns::BUSY),
        quantity!(GpuHour, busy_known_ms, Columns::BUSY),
        memory_mib_ms!(GpuHour),
        memory_rest_byte_ms!(GpuHour),
        quantity!(GpuHour, throttled_ms, Columns::THROTTLED),
        power_max_mw!(GpuHour),
        Number {
            name: "temperature_max_mc",
            of: Columns::MAXIMA,
            total: None,
            optional: true,
            get: |row: &Self| row.temperature_max_mc.map(|temperature| i128::from(temperature.0)),
            set: |row: &mut Self, value| row.temperature_max_mc = Some(Millicelsius(value)),
        },
        samples!(GpuHour),
    ];

    fn add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.merge(other)
    }

    fn count(&self, sums: &mut Sums) -> Result<(), Overflow> {
        sums.add_gpu(self)
    }
}

impl Kind for NodeHour {
    const TABLE: Table = Table::NodeHours;
    const SUBJECT: &'static str = "node_key";
    const HAS_OWNER: bool = false;
    const NUMBERS: &'static [Number<Self>] = &[
        quantity!(NodeHour, observed_ms, Columns::TIME, Some(Total::Observed)),
        quantity!(NodeHour, counter_mj, Columns::ENERGY, Some(Total::Counter)),
        quantity!(NodeHour, gap_mj, Columns::GAPS, Some(Total::Gap)),
        quantity!(NodeHour, estimated_mj, Columns::ENERGY, Some(Total::Estimated)),
        quantity!(NodeHour, metered_ms, Columns::TIME),
        quantity!(NodeHour, cpu_ppm_ms, Columns::BUSY),
        quantity!(NodeHour, cpu_known_ms, Columns::BUSY),
        memory_mib_ms!(NodeHour),
        memory_rest_byte_ms!(NodeHour),
        power_max_mw!(NodeHour),
        samples!(NodeHour),
    ];

    fn add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.merge(other)
    }

    fn count(&self, sums: &mut Sums) -> Result<(), Overflow> {
        sums.add_node(self)
    }
}

/// What tells rows from others without keeping them.
pub struct Fingerprint<K> {
    hash: Sha256,
    kind: PhantomData<fn(K)>,
}

impl<K> Default for Fingerprint<K> {
    fn default() -> Self {
        Self { hash: Sha256::new(), kind: PhantomData }
    }
}

impl<K: Kind> Fingerprint<K> {
    pub fn add(&mut self, row: &Row<K>) {
        for part in [row.key.subject, row.key.hour, row.key.owner] {
            self.hash.update(part.to_le_bytes());
        }
        for number in K::NUMBERS {
            // No number is as small as what stands for one that is absent.
            self.hash.update((number.get)(&row.values).unwrap_or(i128::MIN).to_le_bytes());
        }
    }

    pub fn value(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}
