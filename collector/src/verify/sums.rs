//! What the rows hold, added up, and what is wrong with single hours.

use super::content::Key;
use super::faults::Faults;
use gpuledger_ledger::{GpuHour, GpuHourKey, GpuKey, HOUR_MS, Hour, LedgerError, NodeHour, NodeKey};
use std::collections::BTreeMap;

/// Totals of one device. 128 bits, because a sum that overflows would hide what it is to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Amounts {
    pub observed_ms: u128,
    pub counter_mj: u128,
    pub estimated_mj: u128,
}

/// Totals of a ledger and what is wrong with its hours.
#[derive(Debug, Default)]
pub struct Sums {
    pub amounts: BTreeMap<Key, Amounts>,
    pub gpu_rows: u64,
    pub node_rows: u64,
    /// Hours of GPUs, over all owners.
    pub gpu_hours: u64,
    pub gpu_observed_ms: u128,
    pub busy_known_ms: u128,
    /// Hours that hold more time than an hour has.
    pub too_long: Faults,
    /// Hours that know something for longer than they were observed.
    pub too_known: Faults,
    /// Rows of what the register does not have, or of a time in which it was not seen: how many, by what
    /// is wrong with them, and where the first one is.
    pub unregistered: BTreeMap<String, (u64, Hour)>,
    /// The hour of a GPU whose owners are being added up.
    hour: Option<(Hour, GpuKey, GpuHour)>,
}

impl Sums {
    /// Adds a GPU row. The owners of one hour must follow each other.
    pub fn add_gpu(&mut self, key: GpuHourKey, row: &GpuHour) -> Result<(), LedgerError> {
        self.gpu_rows += 1;
        let amounts = self.amounts.entry(Key::Gpu(key.gpu.0)).or_default();
        amounts.add(row.observed()?.0, row.counter_mj.0, row.estimated_mj.0);
        match &mut self.hour {
            Some((hour, gpu, whole)) if (*hour, *gpu) == (key.hour, key.gpu) => whole.merge(row)?,
            _ => {
                self.end_of_hour()?;
                self.hour = Some((key.hour, key.gpu, *row));
            }
        }
        Ok(())
    }

    /// All owners of the hour have been seen.
    pub fn end_of_hour(&mut self) -> Result<(), LedgerError> {
        let Some((hour, gpu, row)) = self.hour.take() else { return Ok(()) };
        let observed = row.observed()?.0;
        self.gpu_hours += 1;
        self.gpu_observed_ms += u128::from(observed);
        self.busy_known_ms += u128::from(row.busy_known_ms.0);
        let who = || format!("GPU {}", gpu.0);
        self.check_hour(who, hour, observed);
        self.check_known(who, hour, observed, "utilisation is known", row.busy_known_ms.0);
        self.check_known(who, hour, observed, "the clock was held down", row.throttled_ms.0);
        Ok(())
    }

    pub fn add_node(&mut self, hour: Hour, node: NodeKey, row: &NodeHour) {
        self.node_rows += 1;
        let observed = row.observed_ms.0;
        self.add_expired_node(node, row);
        let who = || format!("node {}", node.0);
        self.check_hour(who, hour, observed);
        self.check_known(who, hour, observed, "CPU utilisation is known", row.cpu_known_ms.0);
        self.check_known(who, hour, observed, "energy is known", row.metered_ms.0);
    }

    /// Adds what is left of a GPU's rows that have expired.
    pub fn add_expired(&mut self, key: Key, total: &GpuHour) -> Result<(), LedgerError> {
        let amounts = self.amounts.entry(key).or_default();
        amounts.add(total.observed()?.0, total.counter_mj.0, total.estimated_mj.0);
        Ok(())
    }

    /// The same of a node's.
    pub fn add_expired_node(&mut self, node: NodeKey, total: &NodeHour) {
        let amounts = self.amounts.entry(Key::Node(node.0)).or_default();
        amounts.add(total.observed_ms.0, total.counter_mj.0, total.estimated_mj.0);
    }

    /// Checks that the register has the subject of a row, and has seen it in this hour. `seen` is
    /// `None` where it has no such subject.
    pub fn check_place(&mut self, key: Key, hour: Hour, seen: Option<(Option<u64>, Option<u64>)>) {
        let what = match seen {
            None => "is not registered",
            Some((Some(first), Some(last))) if hour.start_ms() <= last && hour.end_ms() >= first => return,
            Some(_) => "was not seen then",
        };
        let whose = match key {
            Key::Gpu(gpu) => format!("GPU {gpu}"),
            Key::Node(node) => format!("node {node}"),
        };
        self.misplaced(format!("{whose}, which {what}"), hour);
    }

    /// Counts a row that the register does not allow. One damage often touches thousands of rows.
    pub fn misplaced(&mut self, of: String, hour: Hour) {
        let (rows, first) = self.unregistered.entry(of).or_insert((0, hour));
        *rows += 1;
        *first = hour.min(*first);
    }

    /// Those rows, in words.
    pub fn unregistered(&self) -> Faults {
        let told = self.unregistered.iter();
        told.map(|(of, (rows, first))| format!("{rows} rows of {of}; the first in the hour {}", name(*first)))
            .collect()
    }

    fn check_hour(&mut self, who: impl FnOnce() -> String, hour: Hour, observed_ms: u64) {
        if observed_ms > HOUR_MS {
            self.too_long
                .add(|| format!("{}: {observed_ms} ms were observed in the hour {}", who(), name(hour)));
        }
    }

    fn check_known(
        &mut self,
        who: impl FnOnce() -> String,
        hour: Hour,
        observed_ms: u64,
        what: &str,
        known_ms: u64,
    ) {
        if known_ms > observed_ms {
            let hour = name(hour);
            self.too_known
                .add(|| format!("{}: {what} for {known_ms} of {observed_ms} ms in the hour {hour}", who()));
        }
    }
}

impl Amounts {
    fn add(&mut self, observed_ms: u64, counter_mj: u64, estimated_mj: u64) {
        self.observed_ms += u128::from(observed_ms);
        self.counter_mj += u128::from(counter_mj);
        self.estimated_mj += u128::from(estimated_mj);
    }
}

fn name(hour: Hour) -> String {
    let start = i64::try_from(hour.start_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    start.map_or_else(|| hour.0.to_string(), |start| start.to_string())
}
