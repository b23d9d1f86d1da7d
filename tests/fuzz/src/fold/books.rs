//! A fold with the ledger that it is committed to, and what must be true of both.

use super::history::Segment;
use gpuledger_collector::fold::state::{Device, NodeMemory};
use gpuledger_collector::fold::{FoldError, FoldOptions, Folded, NodeFold};
use gpuledger_ledger::{
    GpuHour, GpuHourKey, GpuKey, HOUR_MS, Hour, NodeCommit, NodeHour, NodeKey, NodeState, OwnerKey,
};
use gpuledger_proto::column::Columns;
use gpuledger_proto::frame::Batch;
use gpuledger_proto::ids::{Epoch, Sequence};
use std::collections::BTreeMap;

const NODE: NodeKey = NodeKey(1);

pub type Rows = (BTreeMap<GpuHourKey, GpuHour>, BTreeMap<Hour, NodeHour>);

pub struct Books {
    fold: NodeFold,
    state: NodeState,
    reached: BTreeMap<Epoch, Sequence>,
    rows: Rows,
}

impl Default for Books {
    fn default() -> Self {
        let state = NodeState::default();
        Self { fold: load(&state), state, reached: BTreeMap::new(), rows: Rows::default() }
    }
}

fn load(state: &NodeState) -> NodeFold {
    let loaded = NodeFold::load(NODE, state, FoldOptions::default());
    loaded.unwrap_or_else(|error| unreachable!("a state that a fold wrote: {error}"))
}

impl Books {
    pub fn begin(&mut self, segment: &Segment) {
        let Segment { epoch, boot, gpus, first } = segment.clone();
        let stored = self.reached.get(&epoch).copied().unwrap_or(Sequence::NONE);
        self.fold.begin_segment(epoch, boot, gpus, stored, first);
    }

    /// The sequence that has to come next.
    pub fn expected(&self) -> Sequence {
        self.fold.expected().unwrap_or(Sequence(1))
    }

    pub fn fold(
        &mut self,
        now_ms: u64,
        batch: &Batch,
        owners: &[Vec<(OwnerKey, u32)>],
    ) -> Result<Folded, FoldError> {
        self.fold.fold_by(now_ms, batch, owners)
    }

    /// [`Books::fold`] of what was decoded into buffers, as ingest does.
    pub fn fold_columns(
        &mut self,
        now_ms: u64,
        sequence: Sequence,
        columns: &Columns,
        owners: &[Vec<(OwnerKey, u32)>],
    ) -> Result<Folded, FoldError> {
        self.fold.fold_columns(now_ms, sequence, columns, owners)
    }

    /// Goes on from what is committed, as another stream or collector does.
    pub fn reload(&mut self) {
        self.fold = load(&self.state);
    }

    /// Adds what there is to the rows. `None` where a sum is beyond a row.
    pub fn commit(&mut self) -> Option<()> {
        let Some(commit) = self.fold.take() else { return Some(()) };
        let NodeCommit { base_version, state, epochs, gpu_hours, node_hours, .. } = commit;
        assert_eq!(base_version, self.state.version);
        self.state = NodeState { version: base_version + 1, blob: state };
        for advance in &epochs {
            assert!(advance.from < advance.to);
            let before = self.reached.insert(advance.epoch, advance.to);
            assert_eq!(before.unwrap_or(Sequence::NONE), advance.from);
        }
        for (key, row) in gpu_hours {
            self.rows.0.entry(key).or_default().merge(&row).ok()?;
        }
        for (hour, row) in node_hours {
            self.rows.1.entry(hour).or_default().merge(&row).ok()?;
        }
        self.fold.committed(&epochs);
        Some(())
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// What must be true of all that is committed.
    pub fn check(&self) {
        let memory = NodeMemory::decode(&self.state.blob);
        let memory = memory.unwrap_or_else(|error| unreachable!("a state that a fold wrote: {error}"));
        assert_eq!(NodeMemory::decode(&memory.encode()).as_ref(), Ok(&memory));
        let counted = |device: Device| {
            let known = memory.devices.get(&device);
            known.map_or((0, 0), |memory| (u128::from(memory.counted_mj), u128::from(memory.estimated_mj)))
        };
        for (gpu, energy) in self.check_gpus() {
            assert_eq!(energy, counted(Device::Gpu(gpu)), "energy of {gpu:?}");
        }
        assert_eq!(self.check_node(), counted(Device::Node), "energy of the node");
    }

    /// Gives what each GPU's rows count by counter, and what they estimate.
    fn check_gpus(&self) -> BTreeMap<GpuKey, (u128, u128)> {
        let mut observed: BTreeMap<(Hour, GpuKey), u64> = BTreeMap::new();
        let mut energy: BTreeMap<GpuKey, (u128, u128)> = BTreeMap::new();
        for (key, row) in &self.rows.0 {
            let time = [row.active_ms, row.held_ms, row.free_ms, row.down_ms].map(|ms| ms.0).iter().sum();
            *observed.entry((key.hour, key.gpu)).or_default() += time;
            let sum = energy.entry(key.gpu).or_default();
            sum.0 += u128::from(row.counter_mj.0);
            sum.1 += u128::from(row.estimated_mj.0);
            assert!(row.gap_mj <= row.counter_mj, "{key:?} {row:?}");
            assert!(row.busy_known_ms.0 <= time && row.throttled_ms.0 <= time, "{key:?} {row:?}");
            assert!(
                u128::from(row.active_mj.0) <= u128::from(row.counter_mj.0) + u128::from(row.estimated_mj.0),
                "{key:?} {row:?}"
            );
        }
        for ((hour, gpu), time) in observed {
            assert!(time <= HOUR_MS, "{time} ms of {gpu:?} in {hour:?}");
        }
        energy
    }

    fn check_node(&self) -> (u128, u128) {
        let mut energy = (0, 0);
        for (hour, row) in &self.rows.1 {
            assert!(row.observed_ms.0 <= HOUR_MS, "{hour:?} {row:?}");
            assert!(
                row.metered_ms <= row.observed_ms && row.cpu_known_ms <= row.observed_ms,
                "{hour:?} {row:?}"
            );
            assert!(row.gap_mj <= row.counter_mj, "{hour:?} {row:?}");
            energy.0 += u128::from(row.counter_mj.0);
            energy.1 += u128::from(row.estimated_mj.0);
        }
        energy
    }
}
