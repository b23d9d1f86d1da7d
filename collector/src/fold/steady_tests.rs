//! What runs of samples add at once is what they add one by one.

use super::*;
use gpuledger_ledger::HOUR_MS;
use gpuledger_proto::catalogue as c;
use gpuledger_proto::frame::{DeviceFrame, Frame, Holding, Owner, OwnerKind, Share};
use proptest::prelude::*;

/// A minute before an hour of 2026 ends.
const T: u64 = 1_790_000_000_000 / HOUR_MS * HOUR_MS + HOUR_MS - 60_000;
const GPU: GpuKey = GpuKey(4);

/// What happens between two samples, and what the later one says.
#[derive(Debug, Clone)]
struct Moment {
    passed_ms: u64,
    backwards: bool,
    used_mj: i64,
    counter: Counter,
    up: Reading<i64>,
    utilization: Reading<i64>,
    holder: usize,
    memory: i64,
    integrated: bool,
    throttled: bool,
    ends: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Counter {
    Told,
    Failed,
    Unsupported,
    Reset,
}

/// What ends behind a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Nothing,
    Batch,
    Commit,
    /// The agent starts again, in the same boot or in another.
    Run,
    Boot,
}

fn moment() -> impl Strategy<Value = Moment> {
    let passed =
        prop_oneof![20 => Just(1_000_u64), 3 => 0_u64..3_000, 1 => 9_000_u64..12_000, 1 => Just(HOUR_MS)];
    let counter = prop_oneof![
        30 => Just(Counter::Told),
        1 => Just(Counter::Failed),
        1 => Just(Counter::Unsupported),
        1 => Just(Counter::Reset),
    ];
    let failed = Reading::Absent(Absence::Failed);
    let up = prop_oneof![30 => Just(Reading::Value(1)), 1 => Just(Reading::Value(0)), 1 => Just(failed)];
    let utilization = prop_oneof![
        10 => (0_i64..1_100_000).prop_map(Reading::Value),
        10 => Just(Reading::Value(1_000_000)),
        2 => Just(Reading::Value(0)),
        1 => Just(failed),
    ];
    let holder = prop_oneof![20 => Just(0_usize), 1 => 1_usize..4];
    let ends = prop_oneof![
        20 => Just(End::Nothing),
        4 => Just(End::Batch),
        2 => Just(End::Commit),
        1 => Just(End::Run),
        1 => Just(End::Boot),
    ];
    let what = (-1_i64..900_000, -1_i64..80 << 30, any::<bool>(), any::<bool>());
    let backwards = prop::bool::weighted(0.03);
    (passed, backwards, counter, up, utilization, holder, ends, what).prop_map(
        |(passed_ms, backwards, counter, up, utilization, holder, ends, what)| {
            let (used_mj, memory, integrated, throttled) = what;
            Moment {
                passed_ms,
                backwards,
                used_mj: used_mj.max(0),
                counter,
                up,
                utilization,
                holder,
                memory,
                integrated,
                throttled,
                ends,
            }
        },
    )
}

/// Nobody, one owner, another one, and two together.
fn holding(number: usize) -> Holding {
    let share = |name: &str, share_ppm| {
        let (account, job) = (String::new(), String::new());
        Share { owner: Owner { kind: OwnerKind::User, account, name: name.to_owned(), job }, share_ppm }
    };
    match number {
        0 => vec![share("anna", 1_000_000)],
        1 => Vec::new(),
        2 => vec![share("ben", 1_000_000)],
        _ => vec![share("anna", 333_333), share("ben", 666_667)],
    }
}

fn resolved(batch: &Batch) -> Vec<Vec<(OwnerKey, u32)>> {
    let key = |share: &Share| OwnerKey(if share.owner.name == "anna" { 2 } else { 3 });
    batch.holdings.iter().map(|h| h.iter().map(|share| (key(share), share.share_ppm)).collect()).collect()
}

/// Everything that is committed and what is remembered then.
fn fold_all(moments: &[Moment], by_sample: bool) -> Vec<NodeCommit> {
    steady::BY_SAMPLE.set(by_sample);
    let mut fold = NodeFold::load(NodeKey(1), &NodeState::default(), FoldOptions::default()).unwrap();
    let (mut wall_ms, mut boot_ms, mut counter, mut integrated) = (T, 5_000, 1_000_000, 0);
    let (mut run, mut boot, mut sequence) = (1_u128, 100_u128, 0);
    let begin = |fold: &mut NodeFold, run, boot| {
        let (epoch, boot) = (Epoch(Uuid::from_u128(run)), Uuid::from_u128(boot));
        fold.begin_segment(epoch, Some(boot), vec![GPU], Sequence::NONE, Sequence(1));
    };
    begin(&mut fold, run, boot);
    let (mut frames, mut commits) = (Vec::new(), Vec::new());
    for moment in moments {
        wall_ms = if moment.backwards { wall_ms - moment.passed_ms } else { wall_ms + moment.passed_ms };
        boot_ms += moment.passed_ms;
        counter = if moment.counter == Counter::Reset { moment.used_mj } else { counter + moment.used_mj };
        integrated += moment.used_mj;
        frames.push(frame(moment, Stamp { wall_ms, boot_ms }, counter, integrated));
        if moment.ends == End::Nothing {
            continue;
        }
        sequence += 1;
        let batch = Batch::from_frames(Sequence(sequence), &std::mem::take(&mut frames));
        fold.fold(&batch, &resolved(&batch)).unwrap();
        if moment.ends != End::Batch {
            commits.extend(fold.take());
        }
        if matches!(moment.ends, End::Run | End::Boot) {
            (run, sequence, integrated) = (run + 1, 0, 0);
            boot += u128::from(moment.ends == End::Boot);
            begin(&mut fold, run, boot);
        }
    }
    commits.extend(fold.take());
    commits
}

fn frame(moment: &Moment, stamp: Stamp, counter: i64, integrated: i64) -> Frame {
    let told = match moment.counter {
        Counter::Told | Counter::Reset => Reading::Value(counter),
        Counter::Failed => Reading::Absent(Absence::Failed),
        Counter::Unsupported => Reading::Absent(Absence::Unsupported),
    };
    let power = Reading::Value(moment.used_mj);
    let mut readings = vec![
        (c::GPU_UP, moment.up),
        (c::GPU_ENERGY, told),
        (c::GPU_POWER_AVERAGE, if moment.throttled { Reading::Absent(Absence::Failed) } else { power }),
        (c::GPU_POWER_INSTANT, power),
        (c::GPU_TEMPERATURE, Reading::Value(moment.memory % 90_000)),
        (c::GPU_UTILIZATION, moment.utilization),
        (c::GPU_MEMORY_USED, Reading::Value(moment.memory)),
        (c::GPU_THROTTLE_REASONS, Reading::Value(if moment.throttled { 4 } else { 1 })),
    ];
    if moment.integrated {
        readings.insert(2, (c::GPU_ENERGY_INTEGRATED, Reading::Value(integrated)));
    }
    let gpu = DeviceFrame { readings, holding: Some(Reading::Value(holding(moment.holder))) };
    Frame { stamp, devices: vec![DeviceFrame::default(), gpu] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_folded_at_once_is_what_its_samples_are(moments in prop::collection::vec(moment(), 1..120)) {
        prop_assert_eq!(fold_all(&moments, false), fold_all(&moments, true));
    }
}

#[test]
fn a_steady_stream_is_folded_at_once() {
    let calm = Moment {
        passed_ms: 1_000,
        backwards: false,
        used_mj: 500_000,
        counter: Counter::Told,
        up: Reading::Value(1),
        utilization: Reading::Value(900_000),
        holder: 0,
        memory: 1 << 30,
        integrated: true,
        throttled: false,
        ends: End::Nothing,
    };
    let mut moments = vec![calm; 40];
    moments[39].ends = End::Batch;
    let commits = fold_all(&moments, false);
    assert_eq!(commits, fold_all(&moments, true));
    assert_eq!(commits[0].gpu_hours[0].1.samples, 39);
    assert!(steady::LONGEST.get() >= 38, "{}", steady::LONGEST.get());
}
