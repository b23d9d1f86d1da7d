use super::*;
use crate::catalogue::GPU_HOLDER;
use crate::reading::Absence;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What `from_frames` promises, said the slow way: a map from (device, metric) to readings.
fn by_map(frames: &[Frame]) -> BTreeMap<(u16, MetricId), Vec<Reading<i64>>> {
    let mut columns: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let devices = frames.first().map_or(0, |f| f.devices.len());
    for (sample, frame) in frames.iter().enumerate() {
        for (position, device) in frame.devices.iter().take(devices).enumerate() {
            for &(metric, reading) in &device.readings {
                let key = (u16::try_from(position).unwrap(), metric);
                columns.entry(key).or_insert_with(|| vec![MISSING; frames.len()])[sample] = reading;
            }
        }
    }
    columns
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let reading = prop_oneof![any::<i64>().prop_map(Reading::Value), Just(Reading::Absent(Absence::Lost))];
    // Mostly the same few metrics, in any order, sometimes twice or missing.
    let device = prop::collection::vec(((1_u16..12).prop_map(MetricId), reading), 0..10)
        .prop_map(|readings| DeviceFrame { readings, holding: None });
    let devices = prop::collection::vec(device, 0..4);
    prop::collection::vec(devices.prop_map(|devices| Frame { devices, ..Frame::default() }), 0..8)
}

proptest! {
    #[test]
    fn columns_hold_what_a_map_of_the_samples_holds(frames in frames()) {
        let batch = Batch::from_frames(Sequence(1), &frames);
        let expected = by_map(&frames);
        prop_assert_eq!(batch.columns.len(), expected.len());
        for (column, (key, readings)) in batch.columns.iter().zip(&expected) {
            prop_assert_eq!((column.device, column.metric), *key);
            prop_assert_eq!(&column.readings, readings);
        }
    }
}

fn holding(name: &str) -> Holding {
    let owner =
        Owner { kind: OwnerKind::User, account: String::new(), name: name.to_owned(), job: String::new() };
    vec![Share { owner, share_ppm: 1_000_000 }]
}

#[test]
fn equal_holdings_get_one_number_and_nobody_gets_zero() {
    let sample = |holders: [Reading<Holding>; 3]| Frame {
        devices: holders.map(|h| DeviceFrame { readings: Vec::new(), holding: Some(h) }).to_vec(),
        ..Frame::default()
    };
    let ann = || Reading::Value(holding("ann"));
    let bob = || Reading::Value(holding("bob"));
    let denied = Reading::Absent(Absence::NoPermission);
    let frames = [sample([ann(), Reading::Value(Vec::new()), bob()]), sample([bob(), denied, ann()])];
    let batch = Batch::from_frames(Sequence(7), &frames);
    assert_eq!(batch.holdings, [holding("ann"), holding("bob")]);
    let codes: Vec<_> = batch.columns.iter().map(|c| (c.metric, c.readings.clone())).collect();
    assert_eq!(
        codes,
        [
            (GPU_HOLDER, vec![Reading::Value(1), Reading::Value(2)]),
            (GPU_HOLDER, vec![Reading::Value(0), Reading::Absent(Absence::NoPermission)]),
            (GPU_HOLDER, vec![Reading::Value(2), Reading::Value(1)]),
        ]
    );
}
