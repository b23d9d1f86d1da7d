use super::super::request::STALE;
use super::judge::{read, v1, v2};
use super::*;
use prost::Message;

fn two_series() -> (Request, Selection) {
    let selection =
        Selection::of(|name| name.ends_with("_power_watts") || name.ends_with("integrated_joules_total"));
    let position =
        |name: &str| u16::try_from(selection.families.iter().position(|f| f.name == name).unwrap()).unwrap();
    let labels = Arc::new(Labels::new([("node", "n1"), ("uuid", "GPU-1"), ("gpu", "0")]));
    let series = |name: &str, created_ms, samples: &[(i64, f64)]| Series {
        family: position(name),
        labels: Arc::clone(&labels),
        created_ms,
        samples: samples.iter().map(|&(at_ms, value)| Sample { at_ms, value }).collect(),
    };
    let power =
        series("gpuledger_gpu_power_watts", 0, &[(1_767_225_600_000, 300.5), (1_767_225_601_000, STALE)]);
    let energy = series(
        "gpuledger_gpu_energy_integrated_joules_total",
        1_767_225_000_000,
        &[(1_767_225_600_000, 0.0)],
    );
    (Request { series: vec![power, energy], nodes: vec![0] }, selection)
}

#[test]
fn both_versions_say_the_same_and_the_stale_marker_keeps_its_bits() {
    let (request, selection) = two_series();
    let told = |protocol| read(&encode(&request, &selection, protocol), protocol);
    assert_eq!(told(Protocol::V1), told(Protocol::V2));
    let labels = "{gpu=\"0\",node=\"n1\",uuid=\"GPU-1\"}";
    let expected = [
        (
            format!("gpuledger_gpu_power_watts{labels}"),
            vec![(1_767_225_600_000, 300.5_f64.to_bits()), (1_767_225_601_000, 0x7ff0_0000_0000_0002)],
        ),
        (format!("gpuledger_gpu_energy_integrated_joules_total{labels}"), vec![(1_767_225_600_000, 0)]),
    ];
    assert_eq!(told(Protocol::V2), expected);
}

#[test]
fn version_2_names_every_text_once_and_tells_type_help_unit_and_beginning() {
    let (request, selection) = two_series();
    let message = v2::Request::decode(encode(&request, &selection, Protocol::V2).as_slice()).unwrap();
    let mut symbols = message.symbols.clone();
    symbols.sort();
    symbols.dedup();
    assert_eq!(symbols.len(), message.symbols.len());
    let text = |at: u32| message.symbols[usize::try_from(at).unwrap()].as_str();
    let metadata: Vec<_> = message.timeseries.iter().map(|s| s.metadata.clone().unwrap()).collect();
    let told: Vec<_> = metadata.iter().map(|m| (m.kind, text(m.help_ref), text(m.unit_ref))).collect();
    let help = |name: &str| selection.families.iter().find(|f| f.name == name).unwrap().help;
    assert_eq!(
        told,
        [
            (2, help("gpuledger_gpu_power_watts"), "watts"),
            (1, help("gpuledger_gpu_energy_integrated_joules_total"), "joules"),
        ]
    );
    let created: Vec<_> = message.timeseries.iter().map(|s| s.created_timestamp).collect();
    assert_eq!(created, [0, 1_767_225_000_000]);
}

#[test]
fn what_is_written_is_what_generated_types_write() {
    let (request, selection) = two_series();
    let bytes = encode(&request, &selection, Protocol::V1);
    // A zero is written here and left out there, which means the same.
    let mut request = v1::WriteRequest::decode(bytes.as_slice()).unwrap();
    request.timeseries.truncate(1);
    let one = request.encode_to_vec();
    assert_eq!(bytes[..one.len()], one);
}

#[test]
fn numbers_of_every_length_are_read_back() {
    for bits in 0..64 {
        let (value, mut buffer) = (u64::MAX >> bits, [0; 10]);
        assert_eq!(prost::encoding::decode_varint(&mut varint(value, &mut buffer)).unwrap(), value);
    }
}
