//! Two nodes whose clocks step and drift, which restart, reboot, send late and take one GPU from each
//! other: whatever they do, no hour holds more than an hour, nothing counts twice, and the memory says
//! what the rows say.

use super::state::DeviceMemory;
use super::*;
use gpuledger_ledger::{CommitOutcome, GpuHour, GpuHourKey, Hour};
use gpuledger_proto::catalogue as c;
use gpuledger_proto::frame::{DeviceFrame, Frame};
use proptest::prelude::*;
use std::collections::BTreeSet;

const GPU: GpuKey = GpuKey(4);
/// Start of a day in 2026.
const T: u64 = 20_700 * 24 * HOUR_MS;
/// As many as a GPU remembers chains of.
const EPOCHS_MAX: u32 = 8;

#[derive(Debug, Clone)]
enum Op {
    /// So many samples at this distance.
    Sample {
        count: u64,
        every_ms: u64,
    },
    /// The agent starts anew, or the machine does and its counter begins at nothing.
    Restart {
        reboot: bool,
    },
    /// The wall clock is set.
    Step(i64),
    /// The wall clock runs too fast or too slow, in thousandths.
    Drift(i64),
    Send,
    Commit,
    /// The collector is gone with what it did not commit.
    Crash,
}

fn op() -> impl Strategy<Value = (usize, Op)> {
    let step = prop_oneof![
        -5_000i64..5_000,
        -8_000_000i64..8_000_000,
        -200_000_000i64..200_000_000,
        Just(30 * 24 * 3_600_000)
    ];
    let op = prop_oneof![
        6 => (1u64..40, prop_oneof![Just(1_000u64), 1u64..12_000, 9_000u64..400_000])
            .prop_map(|(count, every_ms)| Op::Sample { count, every_ms }),
        1 => any::<bool>().prop_map(|reboot| Op::Restart { reboot }),
        2 => step.prop_map(Op::Step),
        1 => (-300i64..300).prop_map(Op::Drift),
        4 => Just(Op::Send),
        4 => Just(Op::Commit),
        1 => Just(Op::Crash),
    ];
    (0usize..2, op)
}

/// A machine with its clocks, its GPU's counter and what it has not let go of.
struct Machine {
    key: NodeKey,
    epoch: Epoch,
    boot: Uuid,
    sequence: u64,
    wall_ms: i64,
    drift: i64,
    boot_ms: u64,
    counter_mj: u64,
    /// Where the counters of earlier boots ended.
    spent_mj: u64,
    spool: Vec<(Epoch, Uuid, Batch)>,
    fold: Option<NodeFold>,
}

impl Machine {
    fn sample(&mut self, count: u64, every_ms: u64) {
        let frame = |machine: &mut Self| {
            let elapsed = i64::try_from(every_ms).unwrap();
            machine.boot_ms += every_ms;
            machine.wall_ms = (machine.wall_ms + elapsed + elapsed * machine.drift / 1_000).max(0);
            machine.counter_mj += every_ms * 7;
            let energy = Reading::Value(i64::try_from(machine.counter_mj).unwrap());
            let busy = Reading::Value(i64::from(machine.boot_ms.is_multiple_of(3)));
            let gpu =
                vec![(c::GPU_UP, Reading::Value(1)), (c::GPU_ENERGY, energy), (c::GPU_UTILIZATION, busy)];
            let gpu = DeviceFrame { readings: gpu, holding: Some(Reading::Value(Vec::new())) };
            let stamp = Stamp { wall_ms: machine.wall_ms.unsigned_abs(), boot_ms: machine.boot_ms };
            Frame { stamp, devices: vec![DeviceFrame::default(), gpu] }
        };
        let frames: Vec<Frame> = (0..count).map(|_| frame(self)).collect();
        self.sequence += 1;
        self.spool.push((self.epoch, self.boot, Batch::from_frames(Sequence(self.sequence), &frames)));
    }
}

/// What a ledger keeps of this, with its checks.
#[derive(Default)]
struct Store {
    states: BTreeMap<NodeKey, NodeState>,
    holder: Option<NodeKey>,
    sequences: BTreeMap<Epoch, Sequence>,
    rows: BTreeMap<GpuHourKey, GpuHour>,
}

impl Store {
    fn state(&self, node: NodeKey) -> NodeState {
        self.states.get(&node).cloned().unwrap_or_default()
    }

    fn sequence(&self, epoch: Epoch) -> Sequence {
        self.sequences.get(&epoch).copied().unwrap_or(Sequence::NONE)
    }

    fn commit(&mut self, commit: NodeCommit) -> CommitOutcome {
        let in_place = self.state(commit.node).version == commit.base_version
            && commit.epochs.iter().all(|advance| self.sequence(advance.epoch) == advance.from)
            && commit.taken.iter().all(|taken| {
                self.state(taken.from).version == taken.base_version && self.holder == Some(taken.from)
            });
        if !in_place {
            return CommitOutcome::Moved;
        }
        for taken in commit.taken {
            let version = taken.base_version + 1;
            self.states.insert(taken.from, NodeState { version, blob: taken.state });
            self.holder = Some(commit.node);
        }
        let version = commit.base_version + 1;
        self.states.insert(commit.node, NodeState { version, blob: commit.state });
        self.sequences.extend(commit.epochs.iter().map(|advance| (advance.epoch, advance.to)));
        for (key, row) in commit.gpu_hours {
            self.rows.entry(key).or_default().merge(&row).unwrap();
        }
        CommitOutcome::Committed
    }
}

struct World {
    store: Store,
    machines: [Machine; 2],
    epochs: u32,
}

impl World {
    fn new() -> Self {
        let machine = |key: u32| Machine {
            key: NodeKey(key),
            epoch: Epoch(Uuid::from_u128(u128::from(key))),
            boot: Uuid::from_u128(u128::from(key) + 100),
            sequence: 0,
            wall_ms: i64::try_from(T).unwrap(),
            drift: 0,
            boot_ms: 0,
            counter_mj: 0,
            spent_mj: 0,
            spool: Vec::new(),
            fold: None,
        };
        Self { store: Store::default(), machines: [machine(1), machine(2)], epochs: 2 }
    }

    fn apply(&mut self, machine: usize, op: &Op) {
        let one = &mut self.machines[machine];
        match *op {
            Op::Sample { count, every_ms } => one.sample(count, every_ms),
            Op::Restart { .. } if self.epochs >= EPOCHS_MAX => {}
            Op::Restart { reboot } => {
                self.epochs += 1;
                one.epoch = Epoch(Uuid::from_u128(u128::from(self.epochs)));
                one.sequence = 0;
                if reboot {
                    one.boot = Uuid::from_u128(u128::from(self.epochs) + 100);
                    one.boot_ms = 0;
                    one.spent_mj += std::mem::take(&mut one.counter_mj);
                }
            }
            Op::Step(ms) => one.wall_ms = (one.wall_ms + ms).max(0),
            Op::Drift(drift) => one.drift = drift,
            Op::Send => self.send(machine),
            Op::Commit => self.commit(machine),
            Op::Crash => one.fold = None,
        }
    }

    /// Folds what the ledger does not have, taking the GPU over where the other machine holds it.
    fn send(&mut self, machine: usize) {
        let (store, one) = (&mut self.store, &mut self.machines[machine]);
        one.spool.retain(|(epoch, _, batch)| batch.sequence > store.sequence(*epoch));
        let load = || NodeFold::load(one.key, &store.state(one.key), FoldOptions::default()).unwrap();
        let fold = one.fold.get_or_insert_with(load);
        for (epoch, boot, batch) in &one.spool {
            if fold.folded(*epoch).is_some_and(|folded| batch.sequence <= folded) {
                continue;
            }
            let holder = *store.holder.get_or_insert(one.key);
            if holder != one.key && !fold.has_taken(GPU) {
                fold.take_over(holder, &store.state(holder), &[GPU]).unwrap();
            }
            fold.begin_segment(*epoch, Some(*boot), vec![GPU], store.sequence(*epoch), batch.sequence);
            fold.fold_by(T, batch, &[]).unwrap();
        }
    }

    fn commit(&mut self, machine: usize) {
        let one = &mut self.machines[machine];
        let Some(commit) = one.fold.as_mut().and_then(NodeFold::take) else { return };
        let epochs = commit.epochs.clone();
        match (self.store.commit(commit), &mut one.fold) {
            (CommitOutcome::Committed, Some(fold)) => fold.committed(&epochs),
            _ => one.fold = None,
        }
    }

    /// The GPU's memory, which lies in one node's state at the most.
    fn memory(&self) -> DeviceMemory {
        let states = self.store.states.values().map(|state| NodeMemory::decode(&state.blob).unwrap());
        let mut memories: Vec<_> =
            states.filter_map(|mut state| state.devices.remove(&Device::Gpu(GPU))).collect();
        assert!(memories.len() <= 1, "two nodes remember one GPU");
        memories.pop().unwrap_or_default()
    }

    fn check(&self) {
        let mut hours: BTreeMap<Hour, u64> = BTreeMap::new();
        let mut counted_mj = 0;
        for (key, row) in &self.store.rows {
            *hours.entry(key.hour).or_default() += row.observed().unwrap().0;
            counted_mj += row.counter_mj.0;
        }
        for (hour, observed_ms) in &hours {
            assert!(*observed_ms <= HOUR_MS, "{observed_ms} ms in the hour {}", hour.0);
        }
        let memory = self.memory();
        let covered: u64 = memory.covered.spans().iter().map(|span| span.length()).sum();
        assert_eq!(hours.values().sum::<u64>(), covered);
        assert_eq!(counted_mj, memory.counted_mj);
        let used: u64 = self.machines.iter().map(|one| one.spent_mj + one.counter_mj).sum();
        assert!(counted_mj <= used, "{counted_mj} mJ were counted of {used}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_clock_and_no_takeover_makes_time_or_energy(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for (machine, op) in &ops {
            world.apply(*machine, op);
            world.check();
        }
        // Whoever is moved sends again, until all is committed.
        for turn in 0..8 {
            world.send(turn % 2);
            world.commit(turn % 2);
        }
        world.check();
        let sent: BTreeSet<bool> = (0..2).map(|machine| {
            world.send(machine);
            world.machines[machine].spool.is_empty()
        }).collect();
        prop_assert_eq!(sent, BTreeSet::from([true]));
    }

    /// One machine with clocks that are right: all of its counter, and all of its time but the gaps.
    #[test]
    fn what_is_sampled_without_a_fault_is_counted_to_the_last_unit(
        ops in prop::collection::vec((1u64..40, 1u64..11_000, any::<bool>()), 1..30),
    ) {
        let mut world = World::new();
        let mut first = None;
        let mut time_ms = 0;
        for (count, every_ms, crash) in ops {
            world.machines[0].sample(count, every_ms);
            let skipped = u64::from(first.is_none());
            time_ms += if every_ms <= LONGEST_GAP_DEFAULT.0 { (count - skipped) * every_ms } else { 0 };
            first.get_or_insert(every_ms * 7);
            world.send(0);
            if crash {
                world.machines[0].fold = None;
            }
            world.commit(0);
        }
        world.send(0);
        world.commit(0);
        world.check();
        prop_assert_eq!(world.memory().counted_mj, world.machines[0].counter_mj - first.unwrap());
        let covered: u64 = world.memory().covered.spans().iter().map(|span| span.length()).sum();
        prop_assert_eq!(covered, time_ms);
    }
}
