use super::*;
use crate::ids::Sequence;
use proptest::prelude::*;

fn reading() -> impl Strategy<Value = Reading<i64>> {
    let extreme = prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1), any::<i64>(), -300_i64..300];
    let reason = prop::sample::select(Absence::ALL.to_vec());
    prop_oneof![4 => extreme.prop_map(Reading::Value), 1 => reason.prop_map(Reading::Absent)]
}

/// Columns of every shape that the encoder tells apart.
fn readings(samples: usize) -> impl Strategy<Value = Vec<Reading<i64>>> {
    let line = (any::<i64>(), any::<i64>()).prop_map(move |(start, slope)| {
        let along = |n: i64| Reading::Value(start.wrapping_add(slope.wrapping_mul(n)));
        (0_i64..).take(samples).map(along).collect()
    });
    let noise = (any::<i64>(), prop::collection::vec(0_i64..5_000, samples))
        .prop_map(|(base, noise)| noise.iter().map(|n| Reading::Value(base.wrapping_add(*n))).collect());
    let holes = (reading(), reading(), prop::collection::vec(any::<bool>(), samples))
        .prop_map(|(a, b, which)| which.iter().map(|w| if *w { a } else { b }).collect());
    prop_oneof![
        prop::collection::vec(reading(), samples),
        reading().prop_map(move |same| vec![same; samples]),
        line,
        noise,
        holes,
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    let places = prop::collection::btree_set((0_u16..5, prop_oneof![0_u16..100, any::<u16>()]), 0..12);
    (1_usize..40, places).prop_flat_map(|(samples, places)| {
        let columns: Vec<_> = places
            .into_iter()
            .map(|(device, metric)| {
                readings(samples).prop_map(move |readings| Column {
                    device,
                    metric: MetricId(metric),
                    readings,
                })
            })
            .collect();
        let stamp = (any::<u64>(), any::<u64>()).prop_map(|(wall_ms, boot_ms)| Stamp { wall_ms, boot_ms });
        (prop::collection::vec(stamp, samples), columns).prop_map(|(stamps, columns)| Batch {
            sequence: Sequence(1),
            stamps,
            holdings: Vec::new(),
            columns,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_batch_comes_back_exactly(batch in batch()) {
        let bytes = encode(&batch);
        prop_assert_eq!(decode(&bytes, batch.stamps.len(), 5), Ok((batch.stamps, batch.columns)));
    }

    #[test]
    fn buffers_that_held_another_batch_hold_the_next_one_as_new_ones_do(before in batch(), batch in batch()) {
        let mut columns = Columns::default();
        columns.decode(&encode(&before), before.stamps.len(), 5).unwrap();
        columns.decode(&encode(&batch), batch.stamps.len(), 5).unwrap();
        prop_assert_eq!(columns.to_columns(), &batch.columns[..]);
        let of_memory = Columns::of(&batch);
        prop_assert_eq!(of_memory.to_columns(), &batch.columns[..]);
        for (decoded, of_memory) in columns.devices().zip(of_memory.devices()) {
            prop_assert_eq!(decoded.device(), of_memory.device());
            for ((metric, cells), (_, same)) in decoded.iter().zip(of_memory.iter()) {
                let column = batch.columns.iter().find(|c| (c.device, c.metric) == (decoded.device(), metric));
                let readings: Vec<_> = (0..batch.stamps.len()).map(|sample| cells.at(sample)).collect();
                prop_assert_eq!(Some(&readings), column.map(|column| &column.readings));
                prop_assert_eq!(Some(same.last()), readings.last().copied());
            }
        }
    }

    #[test]
    fn a_cut_or_longer_message_is_refused(batch in batch(), cut in any::<prop::sample::Index>(), more: u8) {
        let mut bytes = encode(&batch);
        let samples = batch.stamps.len();
        prop_assert!(decode(&bytes[..cut.index(bytes.len())], samples, 5).is_err());
        bytes.push(more);
        let refused = decode(&bytes, samples, 5).unwrap_err();
        prop_assert_eq!(refused.fault, Fault::Leftover { left: 1 });
    }

    #[test]
    fn any_bytes_decode_or_are_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400), samples in 0_usize..5_000, devices in 0_usize..300,
    ) {
        // With the right version the bytes get further.
        if let Some(first) = bytes.first_mut().filter(|b| **b % 8 != 0) {
            *first = VERSION;
        }
        check_sound(&bytes, samples, devices);
    }

    #[test]
    fn a_message_with_flipped_bytes_decodes_or_is_refused(
        batch in batch(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&batch);
        for (place, byte) in flips {
            *place.get_mut(&mut bytes) = byte;
        }
        check_sound(&bytes, batch.stamps.len(), 5);
    }
}

/// Whatever decodes keeps every promise that the rest of the product relies on.
fn check_sound(bytes: &[u8], samples: usize, devices: usize) {
    let Ok((stamps, columns)) = decode(bytes, samples, devices) else { return };
    assert_eq!(stamps.len(), samples);
    assert!(columns.iter().all(|c| c.readings.len() == samples && usize::from(c.device) < devices));
    assert!(columns.is_sorted_by(|a, b| (a.device, a.metric) < (b.device, b.metric)));
}

fn one_column(readings: Vec<Reading<i64>>) -> Batch {
    let stamps = vec![Stamp { wall_ms: 1_000, boot_ms: 10 }; readings.len()];
    let columns = vec![Column { device: 1, metric: MetricId(4), readings }];
    Batch { stamps, columns, ..Batch::default() }
}

#[test]
fn a_device_without_any_value_does_not_shift_the_next_one() {
    let column = |device, reading| Column { device, metric: MetricId(52), readings: vec![reading] };
    let absent = Column { metric: MetricId(75), ..column(1, Reading::Absent(Absence::Lost)) };
    let mut batch = one_column(vec![Reading::Value(0)]);
    batch.columns = vec![column(0, Reading::Value(-1)), absent, column(2, Reading::Value(300))];
    let bytes = encode(&batch);
    assert_eq!(decode(&bytes, 1, 3), Ok((batch.stamps, batch.columns)));
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let readings = [300_000, 300_500, 299_000].map(Reading::Value).to_vec();
    let mut batch = one_column(readings);
    batch.stamps = (0..3).map(|n| Stamp { wall_ms: 1_000 + n * 1_000, boot_ms: 10 + n * 1_000 }).collect();
    let absent = Reading::Absent(Absence::Unsupported);
    let gappy = vec![Reading::Value(7), Reading::Absent(Absence::Lost), Reading::Value(7)];
    batch.columns.push(Column { device: 1, metric: MetricId(5), readings: vec![absent; 3] });
    batch.columns.push(Column { device: 2, metric: MetricId(100), readings: gappy });
    let expected: &[u8] = &[
        1, // version
        11, 3, 0xd0, 0x0f, 2, 0b10_01_00, // wall: offset, grain 1000, 1000; 0, 1, 2 in two bits each
        0, 0xbc, 0x0f, // boot: constant, 990 before the wall clock
        3,    // columns
        11, 1, 4, 2, 0xf0, 0xbf, 0x24, 4, 0xfa, 0, // device 1: offset, grain 100, 299000; 10, 15, 0
        0x14, 1, // constant with presence, step 1: unsupported to the end
        4, 0, 100, 16, 19, 0, 14, // device 2, metric 100: 1 present, 1 lost, present to the end; 7
    ];
    assert_eq!(encode(&batch), expected);
    assert_eq!(decode(expected, 3, 3), Ok((batch.stamps, batch.columns)));
}

#[test]
fn an_unknown_version_is_named() {
    let mut bytes = encode(&one_column(vec![Reading::Value(1)]));
    bytes[0] = 9;
    let refused = decode(&bytes, 1, 2).unwrap_err().to_string();
    assert!(refused.contains("version 9") && refused.contains("reads version 1"), "{refused}");
}

#[test]
fn samples_devices_columns_and_values_have_limits() {
    let bytes = encode(&one_column(vec![Reading::Value(1); 2]));
    let what = |samples, devices| match decode(&bytes, samples, devices).unwrap_err().fault {
        Fault::Range { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(what(0, 2), "samples");
    assert_eq!(what(SAMPLES_PER_BATCH_MAX + 1, 2), "samples");
    assert_eq!(what(2, 0), "devices");
    assert_eq!(what(2, DEVICES_PER_NODE_MAX + 1), "devices");
    // The column is of device 1, and this node has only itself.
    assert_eq!(what(2, 1), "device position");
    let claims = |count: u64, samples| {
        let mut bytes = vec![VERSION, 0, 0, 0, 0];
        put_varint(count, &mut bytes);
        decode(&bytes, samples, 1).unwrap_err().fault
    };
    assert!(matches!(claims(u64::MAX, 1), Fault::Range { what: "columns", .. }));
    assert!(matches!(claims(2_000, 4_096), Fault::Range { what: "values", .. }));
    assert!(matches!(claims(2_000, 10), Fault::Ended { .. }));
}

#[test]
fn a_first_column_without_a_device_is_refused() {
    let bytes = [VERSION, 0, 0, 0, 0, 1, 1 << STEP_SHIFT, 0];
    assert_eq!(decode(&bytes, 1, 1).unwrap_err().fault, Fault::NoDevice);
}

#[test]
fn a_run_beyond_the_samples_is_refused() {
    let bytes = [VERSION, 0, 0, 0, 0, 1, HAS_PRESENCE, 0, 1, 3 << 4, 0];
    let refused = decode(&bytes, 2, 1).unwrap_err();
    assert_eq!(refused.fault, Fault::Range { what: "run of samples", given: 3, least: 1, most: 2 });
}

#[test]
fn a_reason_of_absence_from_a_newer_peer_reads_as_failed() {
    let bytes = [VERSION, 0, 0, 0, 0, 1, HAS_PRESENCE, 0, 1, 15];
    let (_, columns) = decode(&bytes, 2, 1).unwrap();
    assert_eq!(columns[0].readings, vec![Reading::Absent(Absence::Failed); 2]);
}

#[test]
fn columns_out_of_order_and_of_odd_length_are_put_right() {
    let column = |device, metric, values: &[i64]| Column {
        device,
        metric: MetricId(metric),
        readings: values.iter().copied().map(Reading::Value).collect(),
    };
    let columns =
        vec![column(1, 9, &[1, 2, 3]), column(0, 70, &[4]), column(1, 9, &[7, 7]), column(1, 2, &[5, 6])];
    let batch = Batch { stamps: vec![Stamp::default(); 2], columns, ..Batch::default() };
    let (_, read) = decode(&encode(&batch), 2, 2).unwrap();
    let mut padded = column(0, 70, &[4]);
    padded.readings.push(Reading::Absent(Absence::Pending));
    assert_eq!(read, [padded, column(1, 2, &[5, 6]), column(1, 9, &[1, 2])]);
}
