//! `gpuledger-fleet synthesize`: a ledger with closed days, made at once, for benchmarks of reports.
//!
//! Nothing is sampled and nothing is sent: rows of hours are drawn ([`hours`]) for a made-up register
//! ([`register`]), go through the product's own writer of closed days, and enter a new ledger by the import
//! that a migration uses. The memory of each node is written to match, so that `verify` finds every
//! promise kept. Memory grows with the fleet and not with the days.

mod hours;
mod register;

use anyhow::Context as _;
use gpuledger_archive::{DayMaker, Root};
use gpuledger_collector::fold::coverage::{Coverage, Span};
use gpuledger_collector::fold::state::{Device, DeviceMemory, NodeMemory};
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{Day, DayFile, DayRows, GpuHour, GpuKey, NodeHour, NodeState, Record, Store as _};
use register::Register;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Days that are past and closed by now in any ledger.
const CLOSED_AFTER_DAYS: u64 = 3;
const DAY_MS: u64 = 86_400_000;
/// Records that the import takes at a time.
const RECORDS_PER_PIECE: usize = 4_096;

/// What was asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Synthesize {
    /// GPUs, eight to a node, of six models
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    gpus: u32,
    /// Closed days
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    days: u32,
    /// The new ledger; its closed days come into FILE.days
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    /// The same seed gives the same rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Made {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

impl Synthesize {
    pub fn new(gpus: u32, days: u32, ledger: PathBuf, seed: u64) -> Self {
        Self { gpus, days, ledger, seed }
    }

    /// Where the closed days come.
    pub fn folder(&self) -> PathBuf {
        let mut folder = self.ledger.clone().into_os_string();
        folder.push(".days");
        folder.into()
    }

    /// What is there already, which nobody may mix with this.
    pub fn in_the_way(&self) -> Option<PathBuf> {
        [self.ledger.clone(), self.folder()].into_iter().find(|path| path.exists())
    }

    /// Makes everything; the last closed day is three days before `now_ms`.
    pub async fn run(&self, now_ms: u64, progress: impl Fn(u32)) -> anyhow::Result<Made> {
        let after = Day(u32::try_from(now_ms / DAY_MS - CLOSED_AFTER_DAYS)?);
        let days = after.0.saturating_sub(self.days)..after.0;
        let span = Span { from: Day(days.start).first_hour().start_ms(), to: after.first_hour().start_ms() };
        let register = Arc::new(Register::new(self.seed, self.gpus, span)?);
        let (nodes, gpus, owners) = (register.nodes(), register.gpus(), Register::owners());
        let maker = Arc::new(DayMaker::new(Root::Folder(self.folder()), nodes, gpus, owners)?);
        let mut totals = Totals::of(&register);
        let mut made = (Made::default(), Vec::new());
        let mut working = JoinSet::new();
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let mut done = 0;
        for day in days {
            if working.len() >= at_once {
                take_in(&mut working, &mut totals, &mut made).await?;
                done += 1;
                progress(done);
            }
            let (register, maker) = (Arc::clone(&register), Arc::clone(&maker));
            working.spawn(async move { one_day(&register, &maker, Day(day), now_ms).await });
        }
        while !working.is_empty() {
            take_in(&mut working, &mut totals, &mut made).await?;
            done += 1;
            progress(done);
        }
        let (made, mut files) = made;
        files.sort_by_key(|file| (file.table, file.day));
        import(&self.ledger, &register, &totals, span, files).await?;
        Ok(made)
    }
}

/// A day's two files, and what their rows add up to.
async fn one_day(
    register: &Register,
    maker: &DayMaker,
    day: Day,
    now_ms: u64,
) -> anyhow::Result<(Vec<DayFile>, Totals)> {
    let mut totals = Totals::of(register);
    let gpu_rows = hours::of_gpus(register, day);
    for (key, row) in &gpu_rows {
        totals.add_gpu(usize::try_from(key.gpu.0)?, row)?;
    }
    let node_rows = hours::of_nodes(register, day);
    for (_, node, row) in &node_rows {
        totals.add_node(usize::try_from(node.0)?, row)?;
    }
    let files = vec![
        maker.make(day, DayRows::Gpu(gpu_rows), now_ms).await?,
        maker.make(day, DayRows::Node(node_rows), now_ms).await?,
    ];
    Ok((files, totals))
}

type Working = JoinSet<anyhow::Result<(Vec<DayFile>, Totals)>>;

async fn take_in(
    working: &mut Working,
    totals: &mut Totals,
    (made, files): &mut (Made, Vec<DayFile>),
) -> anyhow::Result<()> {
    let Some(day) = working.join_next().await else { return Ok(()) };
    let (of_day, more) = day??;
    totals.add(&more)?;
    for file in &of_day {
        made.files += 1;
        made.rows += file.sums.rows;
        made.bytes += file.bytes;
    }
    files.extend(of_day);
    Ok(())
}

/// What the rows of each GPU and each node add up to, by its number.
struct Totals {
    gpus: Vec<GpuHour>,
    nodes: Vec<NodeHour>,
}

impl Totals {
    fn of(register: &Register) -> Self {
        let wide = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            gpus: vec![GpuHour::default(); wide(register.gpu_count)],
            nodes: vec![NodeHour::default(); wide(register.node_count())],
        }
    }

    fn add_gpu(&mut self, gpu: usize, row: &GpuHour) -> anyhow::Result<()> {
        Ok(self.gpus.get_mut(gpu).context("a row of an unknown GPU")?.merge(row)?)
    }

    fn add_node(&mut self, node: usize, row: &NodeHour) -> anyhow::Result<()> {
        Ok(self.nodes.get_mut(node).context("a row of an unknown node")?.merge(row)?)
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        other.gpus.iter().enumerate().try_for_each(|(gpu, row)| self.add_gpu(gpu, row))?;
        other.nodes.iter().enumerate().try_for_each(|(node, row)| self.add_node(node, row))
    }

    /// What a node's fold would remember, had it made these rows.
    fn memory(&self, register: &Register, node: u32, from_ms: u64) -> anyhow::Result<NodeState> {
        let remembered = |observed_ms: u64, counted_mj: u64, estimated_mj: u64| {
            let mut memory = DeviceMemory::default();
            memory.covered = Coverage::from_spans([Span { from: from_ms, to: from_ms + observed_ms }]);
            (memory.counted_mj, memory.estimated_mj) = (counted_mj, estimated_mj);
            memory
        };
        let mut memory = NodeMemory::default();
        let own = self.nodes.get(usize::try_from(node)?).context("an unknown node")?;
        let of_node = remembered(own.observed_ms.0, own.counter_mj.0, own.estimated_mj.0);
        memory.devices.insert(Device::Node, of_node);
        for gpu in register.gpus_of(node) {
            let total = self.gpus.get(usize::try_from(gpu)?).context("an unknown GPU")?;
            let of_gpu = remembered(total.observed()?.0, total.counter_mj.0, total.estimated_mj.0);
            memory.devices.insert(Device::Gpu(GpuKey(gpu)), of_gpu);
        }
        Ok(NodeState { version: 1, blob: memory.encode() })
    }
}

/// Fills a new ledger with the register and the entries of the files.
async fn import(
    ledger: &Path,
    register: &Register,
    totals: &Totals,
    span: Span,
    files: Vec<DayFile>,
) -> anyhow::Result<()> {
    let store = SqliteLedger::open(ledger)?;
    let mut records = Vec::new();
    for record in register.nodes() {
        let state = totals.memory(register, record.key.0, span.from)?;
        records.push(Record::Node { record, state });
    }
    records.extend(register.gpus().into_iter().map(Record::Gpu));
    records.extend(Register::owners().into_iter().map(Record::Owner));
    let version = |file: &DayFile| Record::LastVersion { table: file.table, day: file.day, version: 1 };
    records.extend(files.iter().map(version));
    records.extend(files.into_iter().map(Record::File));
    records.push(Record::End(u64::try_from(records.len())?));
    let (to, from) = mpsc::channel(1);
    let sending = async move {
        for piece in records.chunks(RECORDS_PER_PIECE) {
            // Where nobody takes it, the import says why.
            let _ = to.send(piece.to_vec()).await;
        }
    };
    let ((), imported) = tokio::join!(sending, store.import(from));
    Ok(imported?)
}

#[cfg(test)]
mod tests;
