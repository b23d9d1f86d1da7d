//! Checks the promises over a whole ledger.
//!
//! The rows and the fold's memory are written together and say the same thing twice: the rows by
//! hour and owner, the memory as the time that was covered and the energy that was counted in total.
//! Whatever counts twice, loses or moves a unit in only one of them is found here.

mod sums;

use crate::fold::coverage::SPANS_MAX;
use crate::fold::state::{Device, DeviceMemory, NodeMemory};
use gpuledger_ledger::{GpuRecord, Ledger, LedgerError, NodeRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use sums::{Amounts, Sums};

/// Faults of one promise that are told one by one; the rest is counted.
const TOLD_MAX: usize = 20;
/// How often everything is read anew because a collector committed meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// One promise and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseCheck {
    pub name: &'static str,
    /// What was compared, for people.
    pub figures: String,
    /// What is wrong; empty where the promise holds.
    pub faults: Vec<String>,
}

impl PromiseCheck {
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One line where the promise holds; with what is wrong below it otherwise.
impl fmt::Display for PromiseCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "ok    " } else { "BROKEN" };
        write!(f, "{verdict} {}: {}", self.name, self.figures)?;
        for fault in self.faults.iter().take(TOLD_MAX) {
            write!(f, "\n       {fault}")?;
        }
        match self.faults.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "\n       … and {more} more"),
        }
    }
}

/// Checks every promise. A ledger that a collector writes to meanwhile is read again; nodes that
/// never rest are left out of the comparison with the fold's memory, and the figures say so.
pub async fn verify(ledger: &dyn Ledger) -> Result<Vec<PromiseCheck>, LedgerError> {
    let structure = ledger.check().await?;
    let mut view = View::read(ledger).await?;
    for _ in 1..ATTEMPTS_MAX {
        if view.restless.is_empty() {
            break;
        }
        view = View::read(ledger).await?;
    }
    let rows = view.sums.gpu_rows + view.sums.node_rows;
    let sound = PromiseCheck {
        name: "the store is sound",
        figures: format!("{rows} rows, {} nodes, {} GPUs", view.nodes.len(), view.gpus.len()),
        faults: structure,
    };
    Ok(vec![
        sound,
        view.counted_once(),
        view.energy_conserved(),
        view.hours_add_up(),
        view.unknown_is_not_zero(),
    ])
}

/// Everything that is compared, read at one moment as far as a running collector lets us.
struct View {
    nodes: Vec<NodeRecord>,
    gpus: Vec<GpuRecord>,
    sums: Sums,
    /// What the folds remember, by what it is about.
    memories: BTreeMap<Key, Remembered>,
    /// Nodes that committed while the rows were read.
    restless: BTreeSet<u32>,
    /// Nodes whose memory cannot be read.
    unreadable: Vec<String>,
}

/// A node or a GPU, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Node(u32),
    Gpu(u32),
}

impl View {
    async fn read(ledger: &dyn Ledger) -> Result<Self, LedgerError> {
        let mut states = Vec::new();
        for node in ledger.nodes().await? {
            states.push((node.key, ledger.state(node.key).await?));
        }
        let sums = Sums::read(ledger).await?;
        // Registered before any row of them was written, so nothing in the rows is missing here.
        let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
        let (mut memories, mut restless, mut unreadable) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let asked: BTreeSet<u32> = states.iter().map(|(key, _)| key.0).collect();
        for (key, state) in states {
            if ledger.state(key).await?.version != state.version {
                restless.insert(key.0);
            }
            match NodeMemory::decode(&state.blob) {
                Ok(memory) => remember(&mut memories, key.0, &memory),
                Err(error) => unreadable.push(format!("node {}: {error}", name_of(&nodes, key.0))),
            }
        }
        // Registered and committed to since the states were read.
        restless.extend(nodes.iter().map(|node| node.key.0).filter(|key| !asked.contains(key)));
        Ok(Self { nodes, gpus, sums, memories, restless, unreadable })
    }

    /// Whether rows and memory of this can be compared.
    fn rests(&self, key: Key) -> bool {
        match key {
            Key::Node(node) => !self.restless.contains(&node),
            // A GPU that has moved is remembered by several nodes; rather too few than wrong.
            Key::Gpu(_) => self.restless.is_empty(),
        }
    }

    fn name(&self, key: Key) -> String {
        match key {
            Key::Node(node) => format!("node {}", name_of(&self.nodes, node)),
            Key::Gpu(key) => {
                let gpu = self.gpus.iter().find(|gpu| gpu.key.0 == key);
                gpu.map_or_else(|| format!("GPU {key}"), |gpu| gpu.gpu.uuid.to_string())
            }
        }
    }

    /// Everything that rows or memory speak of and that can be compared.
    fn compared(&self) -> impl Iterator<Item = (Key, Amounts, Remembered)> {
        let keys: BTreeSet<Key> = self.sums.amounts.keys().chain(self.memories.keys()).copied().collect();
        keys.into_iter().filter(|key| self.rests(*key)).map(|key| {
            let rows = self.sums.amounts.get(&key).copied().unwrap_or_default();
            (key, rows, self.memories.get(&key).copied().unwrap_or_default())
        })
    }

    fn left_out(&self) -> String {
        match self.restless.len() {
            0 => String::new(),
            nodes => format!("; {nodes} nodes not compared: a collector commits to them"),
        }
    }

    /// Time in the rows is the time that the fold has covered, which it never covers twice.
    fn counted_once(&self) -> PromiseCheck {
        let mut faults = self.unreadable.clone();
        let (mut compared, mut total) = (0, 0);
        for (key, rows, memory) in self.compared() {
            compared += 1;
            total += rows.observed_ms;
            let (counted, covered) = (rows.observed_ms, memory.covered_ms);
            if counted > covered {
                faults.push(format!("{}: {counted} ms are counted of {covered} ms", self.name(key)));
            } else if counted < covered && !memory.closed_gaps {
                faults.push(format!("{}: {counted} ms are left of {covered} ms", self.name(key)));
            }
        }
        let figures = format!("{total} ms in the rows of {compared} devices{}", self.left_out());
        PromiseCheck { name: "every millisecond is counted once", figures, faults }
    }

    /// Energy in the rows is the increase of the counters that the fold has added up.
    fn energy_conserved(&self) -> PromiseCheck {
        let mut faults = Vec::new();
        let (mut compared, mut total) = (0, 0);
        for (key, rows, memory) in self.compared() {
            compared += 1;
            total += rows.counter_mj + rows.estimated_mj;
            let kinds = [
                ("by counter", rows.counter_mj, memory.counted_mj),
                ("estimated", rows.estimated_mj, memory.estimated_mj),
            ];
            for (kind, stored, counted) in kinds {
                if stored != counted {
                    let name = self.name(key);
                    faults.push(format!("{name}: rows hold {stored} mJ {kind}, {counted} mJ were counted"));
                }
            }
        }
        let figures = format!("{total} mJ in the rows of {compared} devices{}", self.left_out());
        PromiseCheck { name: "energy is conserved", figures, faults }
    }

    fn hours_add_up(&self) -> PromiseCheck {
        PromiseCheck {
            name: "the states of an hour fit the hour",
            figures: format!("{} GPU hours, {} node hours", self.sums.gpu_hours, self.sums.node_rows),
            faults: self
                .sums
                .too_long
                .iter()
                .map(|(key, what)| format!("{}: {what}", self.name(*key)))
                .collect(),
        }
    }

    fn unknown_is_not_zero(&self) -> PromiseCheck {
        let faults = self.sums.too_known.iter().map(|(key, what)| format!("{}: {what}", self.name(*key)));
        PromiseCheck {
            name: "unknown is never zero",
            figures: format!(
                "utilisation is known for {} of {} ms of GPUs; the rest is told as unknown",
                self.sums.busy_known_ms, self.sums.gpu_observed_ms
            ),
            faults: faults.collect(),
        }
    }
}

/// The fold's memory in the figures of the rows.
#[derive(Debug, Clone, Copy, Default)]
struct Remembered {
    covered_ms: u128,
    /// Gaps were closed because there were too many: more is covered than was counted.
    closed_gaps: bool,
    counted_mj: u128,
    estimated_mj: u128,
}

impl Remembered {
    fn of(memory: &DeviceMemory) -> Self {
        let spans = memory.covered.spans();
        Self {
            covered_ms: spans.iter().map(|span| u128::from(span.length())).sum(),
            closed_gaps: spans.len() >= SPANS_MAX,
            counted_mj: u128::from(memory.counted_mj),
            estimated_mj: u128::from(memory.estimated_mj),
        }
    }
}

/// Adds a node's memory to what is remembered. A GPU that moved is remembered by each of its nodes.
fn remember(memories: &mut BTreeMap<Key, Remembered>, node: u32, memory: &NodeMemory) {
    for (device, memory) in &memory.devices {
        let key = match device {
            Device::Node => Key::Node(node),
            Device::Gpu(gpu) => Key::Gpu(gpu.0),
        };
        let (known, more) = (memories.entry(key).or_default(), Remembered::of(memory));
        known.covered_ms += more.covered_ms;
        known.closed_gaps |= more.closed_gaps;
        known.counted_mj += more.counted_mj;
        known.estimated_mj += more.estimated_mj;
    }
}

fn name_of(nodes: &[NodeRecord], key: u32) -> String {
    let node = nodes.iter().find(|node| node.key.0 == key);
    node.map_or_else(|| key.to_string(), |node| node.name.to_string())
}

#[cfg(test)]
mod tests;
