//! What the rows hold, added up. Rows are read a month at a time, so that memory does not grow with
//! the age of the ledger.

use super::Key;
use gpuledger_ledger::{GpuHour, GpuKey, HOUR_MS, Hour, HourRange, Ledger, LedgerError, NodeHour, Wanted};
use gpuledger_units::Overflow;
use std::collections::BTreeMap;

/// Hours that are read at once.
const CHUNK_HOURS: u32 = 31 * 24;

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
    pub too_long: Vec<(Key, String)>,
    /// Hours that know something for longer than they were observed.
    pub too_known: Vec<(Key, String)>,
}

impl Sums {
    pub async fn read(ledger: &dyn Ledger) -> Result<Self, LedgerError> {
        let mut sums = Self::default();
        let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
        let first =
            nodes.iter().filter_map(|n| n.first_ms).chain(gpus.iter().filter_map(|g| g.first_ms)).min();
        let last = nodes.iter().filter_map(|n| n.last_ms).chain(gpus.iter().filter_map(|g| g.last_ms)).max();
        let (Some(first), Some(last)) = (first, last) else { return Ok(sums) };
        let (mut from, end) = (Hour::of(first), Hour(Hour::of(last).0.saturating_add(1)));
        while from < end {
            let to = Hour(from.0.saturating_add(CHUNK_HOURS)).min(end);
            sums.add_chunk(ledger, HourRange { from, to }).await?;
            from = to;
        }
        Ok(sums)
    }

    async fn add_chunk(&mut self, ledger: &dyn Ledger, range: HourRange) -> Result<(), LedgerError> {
        let rows = ledger.gpu_hours(&Wanted::all(range)).await?;
        self.gpu_rows += count(rows.len());
        // Sorted by hour and GPU: the owners of one hour are neighbours.
        for owners in rows.chunk_by(|a, b| (a.0.hour, a.0.gpu) == (b.0.hour, b.0.gpu)) {
            let mut whole = GpuHour::default();
            for (_, row) in owners {
                whole.merge(row)?;
            }
            self.add_gpu(owners[0].0.hour, owners[0].0.gpu, &whole)?;
        }
        for (hour, node, row) in ledger.node_hours(range).await? {
            self.node_rows += 1;
            self.add_node(hour, Key::Node(node.0), &row);
        }
        Ok(())
    }

    fn add_gpu(&mut self, hour: Hour, gpu: GpuKey, row: &GpuHour) -> Result<(), Overflow> {
        let (key, observed) = (Key::Gpu(gpu.0), row.observed()?.0);
        self.gpu_hours += 1;
        self.gpu_observed_ms += u128::from(observed);
        self.busy_known_ms += u128::from(row.busy_known_ms.0);
        let amounts = self.amounts.entry(key).or_default();
        amounts.observed_ms += u128::from(observed);
        amounts.counter_mj += u128::from(row.counter_mj.0);
        amounts.estimated_mj += u128::from(row.estimated_mj.0);
        self.check_hour(key, hour, observed);
        self.check_known(key, hour, observed, "utilisation is known", row.busy_known_ms.0);
        self.check_known(key, hour, observed, "the clock was held down", row.throttled_ms.0);
        Ok(())
    }

    fn add_node(&mut self, hour: Hour, key: Key, row: &NodeHour) {
        let observed = row.observed_ms.0;
        let amounts = self.amounts.entry(key).or_default();
        amounts.observed_ms += u128::from(observed);
        amounts.counter_mj += u128::from(row.counter_mj.0);
        amounts.estimated_mj += u128::from(row.estimated_mj.0);
        self.check_hour(key, hour, observed);
        self.check_known(key, hour, observed, "CPU utilisation is known", row.cpu_known_ms.0);
        self.check_known(key, hour, observed, "energy is known", row.metered_ms.0);
    }

    fn check_hour(&mut self, key: Key, hour: Hour, observed_ms: u64) {
        if observed_ms > HOUR_MS {
            let what = format!("{observed_ms} ms were observed in the hour {}", name(hour));
            self.too_long.push((key, what));
        }
    }

    fn check_known(&mut self, key: Key, hour: Hour, observed_ms: u64, what: &str, known_ms: u64) {
        if known_ms > observed_ms {
            let what = format!("{what} for {known_ms} of {observed_ms} ms in the hour {}", name(hour));
            self.too_known.push((key, what));
        }
    }
}

fn name(hour: Hour) -> String {
    let start = i64::try_from(hour.start_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    start.map_or_else(|| hour.0.to_string(), |start| start.to_string())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
