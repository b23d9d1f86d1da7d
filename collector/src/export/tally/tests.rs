use super::*;
use gpuledger_ledger::{GpuHourKey, GpuTotal, Hour, OwnerKey, Taken};
use gpuledger_proto::frame;
use gpuledger_units::{Millijoules, Millis};
use proptest::prelude::*;
use std::collections::VecDeque;

pub fn inventory(gpus: &[u32]) -> Inventory {
    let gpu = |key: &u32| frame::Gpu {
        uuid: GpuUuid::new(&format!("GPU-{key}")).unwrap(),
        model: String::new(),
        serial: None,
        pci_bus_id: None,
        index: *key,
        memory_bytes: None,
        simulated: false,
    };
    Inventory { gpus: gpus.iter().map(gpu).collect(), ..Inventory::default() }
}

fn record(key: u32, node: u32) -> GpuRecord {
    let gpu = inventory(&[key]).gpus.remove(0);
    GpuRecord { key: GpuKey(key), node: NodeKey(node), gpu, first_ms: None, last_ms: None }
}

fn name(node: u32) -> NodeName {
    NodeName::new(&format!("n{node}")).unwrap()
}

fn hour(counter_mj: u64) -> GpuHour {
    GpuHour { counter_mj: Millijoules(counter_mj), active_ms: Millis(counter_mj * 2), ..GpuHour::default() }
}

fn commit(node: u32, base_version: u64, gpu: u32, counter_mj: u64) -> NodeCommit {
    let key = GpuHourKey { hour: Hour(1), gpu: GpuKey(gpu), owner: OwnerKey::NOBODY };
    NodeCommit {
        node: NodeKey(node),
        base_version,
        state: Vec::new(),
        epochs: Vec::new(),
        gpu_hours: vec![(key, hour(counter_mj))],
        node_hours: Vec::new(),
        taken: Vec::new(),
        gpus_seen: Vec::new(),
        seen: None,
    }
}

fn noted(tally: &Tally, commit: &NodeCommit) {
    tally.committed(vec![Added::of(commit)], &[CommitOutcome::Committed]);
}

fn counter_mj(tally: &Tally, node: u32, gpu: u32) -> Option<u64> {
    let uuid = GpuUuid::new(&format!("GPU-{gpu}")).unwrap();
    tally.of([(&name(node), &uuid)].into_iter())[0].map(|counts| counts.counter_mj)
}

/// Nodes 0 and 1 with GPUs 0 and 1, of which the ledger holds 100 mJ each.
pub fn loaded() -> Tally {
    let tally = Tally::default();
    for node in [0, 1] {
        tally.node(&name(node), NodeKey(node));
        tally.gpus(&inventory(&[node]), &[Registered { key: GpuKey(node), holder: NodeKey(node) }]);
    }
    let gpus = [0, 1].map(|gpu| GpuTotal { gpu: GpuKey(gpu), total: hour(100) }).to_vec();
    let versions = vec![(NodeKey(0), 1), (NodeKey(1), 1)];
    assert!(tally.begin().end(&[record(0, 0), record(1, 1), record(2, 1)], &LedgerTotals { gpus, versions }));
    tally
}

#[test]
fn nothing_is_told_before_the_ledger_was_read() {
    let tally = Tally::default();
    noted(&tally, &commit(0, 0, 0, 5));
    assert_eq!((tally.fleet(), counter_mj(&tally, 0, 0)), (None, None));
}

#[test]
fn what_is_committed_is_added_at_once() {
    let tally = loaded();
    noted(&tally, &commit(0, 1, 0, 5));
    assert_eq!((counter_mj(&tally, 0, 0), counter_mj(&tally, 1, 1)), (Some(105), Some(100)));
    let counts = Counts { counter_mj: 205, active_ms: 410, ..Counts::default() };
    assert_eq!(tally.fleet(), Some(Fleet { registered: 3, counts }));
}

#[test]
fn what_was_not_committed_is_not_added() {
    let tally = loaded();
    tally.committed(vec![Added::of(&commit(0, 1, 0, 5))], &[CommitOutcome::Moved]);
    assert_eq!(counter_mj(&tally, 0, 0), Some(100));
}

#[test]
fn a_gpu_that_has_moved_on_is_its_new_nodes() {
    let tally = loaded();
    let taken = Taken { from: NodeKey(0), base_version: 1, state: Vec::new(), gpus: vec![GpuKey(0)] };
    noted(&tally, &NodeCommit { taken: vec![taken], ..commit(1, 1, 0, 5) });
    assert_eq!((counter_mj(&tally, 0, 0), counter_mj(&tally, 1, 0)), (None, Some(105)));
}

#[test]
fn the_node_that_a_gpu_was_taken_from_has_moved_on_too() {
    let tally = loaded();
    let taken = Taken { from: NodeKey(0), base_version: 1, state: Vec::new(), gpus: vec![GpuKey(0)] };
    noted(&tally, &NodeCommit { taken: vec![taken], ..commit(1, 1, 0, 5) });
    assert!(tally.covers(&[(NodeKey(0), 2), (NodeKey(1), 2)]), "there is nothing to add up");
    assert!(!tally.covers(&[(NodeKey(0), 3), (NodeKey(1), 2)]), "somebody else has committed");
}

#[test]
fn a_gpu_without_rows_has_no_totals() {
    let tally = loaded();
    tally.gpus(&inventory(&[7]), &[Registered { key: GpuKey(7), holder: NodeKey(0) }]);
    assert_eq!((counter_mj(&tally, 0, 7), tally.fleet().unwrap().registered), (None, 4));
}

#[test]
fn a_gpu_that_registers_while_the_ledger_is_read_is_known_after_it() {
    let tally = loaded();
    let reading = tally.begin();
    tally.gpus(&inventory(&[7]), &[Registered { key: GpuKey(7), holder: NodeKey(0) }]);
    noted(&tally, &commit(0, 5, 7, 9));
    assert!(
        reading.end(
            &[record(0, 0)],
            &LedgerTotals { versions: vec![(NodeKey(0), 5)], ..LedgerTotals::default() }
        )
    );
    assert_eq!(counter_mj(&tally, 0, 7), Some(9));
}

#[test]
fn another_ledger_in_its_place_is_read_anew() {
    let tally = loaded();
    let reading = tally.begin();
    tally.forget();
    assert!(!reading.end(&[record(0, 0)], &LedgerTotals::default()), "numbers of the other ledger");
    assert_eq!(tally.fleet(), None);
}

#[test]
fn a_reading_that_takes_too_long_is_given_up_and_memory_is_bounded() {
    let tally = loaded();
    let reading = tally.begin();
    let mut added = Added::of(&commit(0, 1, 0, 5));
    added.rows = vec![(GpuKey(0), Counts { counter_mj: 1, ..Counts::default() }); KEPT_ROWS_MAX + 1];
    tally.committed(vec![added], &[CommitOutcome::Committed]);
    assert_eq!(tally.lock().kept.as_ref().unwrap().added.len(), 0);
    assert!(!reading.end(&[], &LedgerTotals::default()));
    assert_eq!(counter_mj(&tally, 0, 0), Some(1_000_101), "counted all the same");
}

/// What can happen, in any order.
#[derive(Debug, Clone)]
enum Step {
    /// This collector's transaction ends. It hears of that later.
    Commit {
        node: u32,
        mj: u64,
    },
    /// It hears of the oldest one.
    Hear,
    /// Another collector's transaction ends.
    Other {
        node: u32,
        mj: u64,
    },
    BeginReading,
    /// The moment that the reading sees.
    Moment,
    EndReading,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u32, 1..100_u64).prop_map(|(node, mj)| Step::Commit { node, mj }),
        3 => Just(Step::Hear),
        1 => (0..3_u32, 1..100_u64).prop_map(|(node, mj)| Step::Other { node, mj }),
        1 => Just(Step::BeginReading),
        1 => Just(Step::Moment),
        1 => Just(Step::EndReading),
    ]
}

/// The ledger: what it holds of each GPU, and each node's version.
#[derive(Default)]
struct Ledger {
    mj: [u64; 3],
    versions: [u64; 3],
}

impl Ledger {
    fn commit(&mut self, node: u32, mj: u64) -> NodeCommit {
        let at = node as usize;
        self.mj[at] += mj;
        self.versions[at] += 1;
        commit(node, self.versions[at] - 1, node, mj)
    }

    fn totals(&self) -> LedgerTotals {
        let total = |(mj, gpu): (&u64, u32)| GpuTotal { gpu: GpuKey(gpu), total: hour(*mj) };
        let version = |(version, node): (&u64, u32)| (NodeKey(node), *version);
        LedgerTotals {
            gpus: self.mj.iter().zip(0..).map(total).collect(),
            versions: self.versions.iter().zip(0..).map(version).collect(),
        }
    }

    fn sum(&self) -> u64 {
        self.mj.iter().sum()
    }
}

proptest! {
    /// Whenever the ledger is read, and however late commits are heard of.
    #[test]
    fn totals_are_exact_and_never_fall(steps in prop::collection::vec(step(), 0..60)) {
        let tally = Tally::default();
        let mut ledger = Ledger::default();
        let mut unheard: VecDeque<NodeCommit> = VecDeque::new();
        let mut reading = None;
        // What others have committed since the moment that was last taken in.
        let (mut moment, mut others, mut last) = (None, 0, 0);
        for step in steps {
            match step {
                Step::Commit { node, mj } => unheard.push_back(ledger.commit(node, mj)),
                Step::Hear => unheard.pop_front().iter().for_each(|commit| noted(&tally, commit)),
                Step::Other { node, mj } => {
                    ledger.commit(node, mj);
                    others += mj;
                }
                Step::BeginReading => {
                    // The one before ends first: there is one at a time.
                    drop(reading.take());
                    (reading, moment) = (Some(tally.begin()), None);
                }
                Step::Moment => moment = Some((ledger.totals(), others)).filter(|_| reading.is_some()),
                Step::EndReading => {
                    if let (Some(reading), Some((totals, before))) = (reading.take(), moment.take()) {
                        prop_assert!(reading.end(&[0, 1, 2].map(|key| record(key, key)), &totals));
                        others -= before;
                    }
                }
            }
            let Some(fleet) = tally.fleet() else { continue };
            let told = fleet.counts.counter_mj;
            prop_assert!((last..=ledger.sum()).contains(&told), "{told} of {} after {last}", ledger.sum());
            if unheard.is_empty() {
                prop_assert_eq!(told + others, ledger.sum());
            }
            if tally.covers(&ledger.totals().versions) {
                prop_assert_eq!(told, ledger.sum());
            } else {
                prop_assert!(!unheard.is_empty() || others > 0, "nothing was missed");
            }
            last = told;
        }
    }
}
