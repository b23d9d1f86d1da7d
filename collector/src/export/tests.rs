use super::families::FAMILIES;
use super::prometheus::Exporter;
use super::text::Text;
use super::*;
use crate::latest::{Arrival, Latest, NodeLatest};
use gpuledger_proto::catalogue::{self as c, CATALOGUE, MetricId};
use gpuledger_proto::frame::{Batch, DeviceFrame, Gpu, Host, Inventory, Owner, OwnerKind, Share, Stamp};
use gpuledger_proto::ids::{GpuUuid, NodeName};
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

fn gpu(index: u32, serial: Option<&str>) -> Gpu {
    Gpu {
        uuid: GpuUuid::new(&format!("GPU-{index}")).unwrap(),
        model: "NVIDIA \"H100\"".to_owned(),
        serial: serial.map(str::to_owned),
        pci_bus_id: None,
        index,
        memory_bytes: None,
        simulated: true,
    }
}

fn device(readings: &[(MetricId, i64)], absent: &[(MetricId, Absence)]) -> DeviceFrame {
    let values = readings.iter().map(|&(id, value)| (id, Reading::Value(value)));
    let absent = absent.iter().map(|&(id, reason)| (id, Reading::Absent(reason)));
    let mut readings: Vec<_> = values.chain(absent).collect();
    readings.sort_by_key(|r| r.0);
    DeviceFrame { readings, holding: None }
}

const NOW_MS: u64 = 1_795_000_000_250;

/// One node with a busy and a lost GPU, heard of just now.
fn node(name: &str) -> NodeLatest {
    let share = |name: &str, job: &str, share_ppm| {
        let owner = Owner {
            kind: OwnerKind::Slurm,
            account: "ml".to_owned(),
            name: name.to_owned(),
            job: job.to_owned(),
        };
        Share { owner, share_ppm }
    };
    let busy = [
        (c::GPU_UP, 1),
        (c::GPU_ENERGY, 91_234_567_890),
        (c::GPU_POWER_AVERAGE, 300_500),
        (c::GPU_CLOCK_SM, 1_980_000),
        (c::GPU_TEMPERATURE, -1_500),
        (c::GPU_UTILIZATION, 970_000),
        (c::GPU_THROTTLE_REASONS, 0x44),
        (MetricId(60_000), 7),
    ];
    let lacks = [(c::GPU_TEMPERATURE_MEMORY, Absence::Unsupported), (MetricId(60_001), Absence::Failed)];
    let mut first = device(&busy, &lacks);
    let holding = vec![share("ann", "1", 250_000), share("ann", "2", 250_000), share("bob", "3", 500_000)];
    first.holding = Some(Reading::Value(holding));
    let mut second = device(&[(c::GPU_UP, 0)], &[(c::GPU_POWER_AVERAGE, Absence::Lost)]);
    second.holding = Some(Reading::Absent(Absence::NoPermission));
    let host_readings = [(c::NODE_CPU, 125_000), (c::NODE_POWER, 4_000_000)];
    let host = device(&host_readings, &[(c::NODE_ENERGY, Absence::Unsupported)]);
    let info = Host { hostname: format!("{name}.example"), os: "Debian 13".to_owned(), ..Host::default() };
    NodeLatest {
        inventory: Arc::new(Inventory { host: info, gpus: vec![gpu(0, Some("1654")), gpu(1, None)] }),
        arrived_ms: NOW_MS,
        skew_ms: Some(-1_250),
        sampled_ms: NOW_MS,
        devices: vec![host, first, second],
    }
}

fn named(name: &str, node: NodeLatest) -> (NodeName, Arc<NodeLatest>) {
    (NodeName::new(name).unwrap(), Arc::new(node))
}

fn readings_of_one_node() -> String {
    readings_of(&[named("n1", node("n1"))])
}

fn readings_of(nodes: &[(NodeName, Arc<NodeLatest>)]) -> String {
    let (of_nodes, of_gpus) = devices::of(nodes.iter().map(|(name, node)| (name, &**node)), NOW_MS);
    written(|text| {
        readings::render(text, &of_nodes, &of_gpus)?;
        readings::fleet(text, &nodes.to_vec())
    })
}

pub(super) fn written(render: impl FnOnce(&mut Text<'_>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    let mut text = Text::new(&mut out, &Selection::ALL);
    render(&mut text).unwrap();
    text.finish().unwrap();
    String::from_utf8(out).unwrap()
}

/// Fails with the whole text when a line is not in it.
pub(super) fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn readings_come_out_in_base_units_with_their_labels() {
    let text = readings_of_one_node();
    let gpu = r#"uuid="GPU-0",node="n1",gpu="0""#;
    assert_lines(
        &text,
        &[
            &format!("gpuledger_gpu_power_watts{{{gpu}}} 300.5"),
            &format!("gpuledger_gpu_sm_clock_hertz{{{gpu}}} 1980000000"),
            &format!("gpuledger_gpu_temperature_celsius{{{gpu}}} -1.5"),
            &format!("gpuledger_gpu_utilization_ratio{{{gpu}}} 0.97"),
            &format!(
                r#"gpuledger_gpu_info{{{gpu},model="NVIDIA \"H100\"",serial="1654",simulated="true"}} 1"#
            ),
            &format!(r#"gpuledger_gpu_throttled{{{gpu},reason="sw_power_cap"}} 1"#),
            &format!(r#"gpuledger_gpu_throttled{{{gpu},reason="hw_slowdown"}} 0"#),
            &format!(r#"gpuledger_gpu_throttled{{{gpu},reason="hw_thermal_slowdown"}} 1"#),
            &format!(r#"gpuledger_gpu_owner_share_ratio{{{gpu},kind="slurm",account="ml",owner="ann"}} 0.5"#),
            r#"gpuledger_gpu_up{uuid="GPU-1",node="n1",gpu="1"} 0"#,
            r#"gpuledger_node_info{node="n1",hostname="n1.example",os="Debian 13"} 1"#,
            r#"gpuledger_node_last_sample_timestamp_seconds{node="n1"} 1795000000.25"#,
            r#"gpuledger_node_cpu_utilization_ratio{node="n1"} 0.125"#,
            "gpuledger_fleet_gpus 2",
        ],
    );
}

#[test]
fn an_absent_reading_has_a_reason_and_no_sample() {
    let text = readings_of_one_node();
    assert_lines(
        &text,
        &[
            r#"gpuledger_gpu_reading_absent{uuid="GPU-0",node="n1",gpu="0",reading="gpu_temperature_memory",reason="unsupported"} 1"#,
            r#"gpuledger_gpu_reading_absent{uuid="GPU-1",node="n1",gpu="1",reading="gpu_power_average",reason="lost"} 1"#,
            r#"gpuledger_gpu_reading_absent{uuid="GPU-1",node="n1",gpu="1",reading="gpu_holder",reason="no_permission"} 1"#,
            r#"gpuledger_node_reading_absent{node="n1",reading="node_energy",reason="unsupported"} 1"#,
        ],
    );
    assert!(!text.contains("gpuledger_gpu_memory_temperature_celsius"), "{text}");
    assert!(!text.contains(r#"gpuledger_gpu_power_watts{uuid="GPU-1""#), "{text}");
    assert!(!text.contains("gpuledger_gpu_performance_state"), "{text}");
}

#[test]
fn a_fleet_without_nodes_says_so() {
    let text = readings_of(&[]);
    assert_lines(&text, &["gpuledger_fleet_nodes 0", "gpuledger_fleet_gpus 0"]);
    assert!(!text.contains("gpuledger_gpu_"), "{text}");
}

#[test]
fn what_waited_in_a_spool_is_not_shown_as_current() {
    let past = NodeLatest { sampled_ms: NOW_MS - 3_600_000, ..node("n1") };
    let text = readings_of(&[named("n1", past)]);
    assert_lines(
        &text,
        &[
            r#"gpuledger_node_last_sample_timestamp_seconds{node="n1"} 1794996400.25"#,
            "gpuledger_fleet_gpus 2",
        ],
    );
    assert!(!text.contains("gpuledger_gpu_"), "{text}");
}

#[test]
fn a_node_that_has_been_silent_for_a_minute_vanishes() {
    let latest = Latest::default();
    let stamps = vec![Stamp { wall_ms: 1, boot_ms: 1 }];
    let batch = Batch { stamps, ..Batch::default() };
    latest.update(
        &NodeName::new("n1").unwrap(),
        &Arc::new(Inventory::default()),
        &batch,
        Arrival { at_ms: NOW_MS, skew_ms: None },
    );
    let arrived = latest.snapshot()[0].1.arrived_ms;
    assert_eq!(readings::current(&latest, arrived + 60_000).len(), 1);
    assert_eq!(readings::current(&latest, arrived + 60_001).len(), 0);
}

/// A collector that two nodes report to, with totals and costs.
fn exporter() -> Exporter {
    let dc1 = |node: &str| (node == "n1").then_some(0);
    let exporter = Exporter {
        latest: Arc::default(),
        tally: Arc::new(totals::tests::sample()),
        costs: watch::channel(Some(Arc::new(cost::tests::sample()))).1,
        health: Arc::new(Health::new().unwrap()),
        keeper: Some(Box::new(archive::tests::sample)),
        sites: Arc::new(Sites::new(vec!["dc1".to_owned()], dc1)),
    };
    exporter.health.ledger_bytes(1);
    exporter.health.archive_bytes(1);
    exporter.health.samples_ahead("n1", 3);
    exporter.health.certificate_expiry("collector", 1);
    // Its counters are there where something is sent.
    super::remote_write::events::Events::new(exporter.health.registry()).unwrap();
    exporter
}

/// What a scrape with these parameters gives.
fn scraped(exporter: &Exporter, query: &[(&str, &str)]) -> String {
    let nodes = ["n1", "n2"].map(|name| named(name, node(name)));
    let parameters = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let selection = Selection::of(parameters, &exporter.sites).unwrap();
    let mut out = Vec::new();
    exporter.render_nodes(&mut out, &selection, nodes.into(), NOW_MS).unwrap();
    String::from_utf8(out).unwrap()
}

fn whole_exposition() -> String {
    scraped(&exporter(), &[])
}

/// Name and everything up to the value.
fn series(line: &str) -> (&str, &str) {
    let series = line.rsplit_once(' ').unwrap().0;
    (series.split('{').next().unwrap(), series)
}

#[test]
fn every_family_stands_once_in_one_piece_and_no_series_twice() {
    let text = whole_exposition();
    let mut declared = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap();
            assert!(declared.insert(current), "{current} is declared twice");
        } else if !line.starts_with('#') {
            let (name, series) = series(line);
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            assert!(name == current || base == Some(current), "{line} stands under {current}");
            assert!(seen.insert(series), "{series} occurs twice");
        }
    }
}

#[test]
fn what_is_exported_is_declared_and_what_is_declared_can_be_exported() {
    let text = whole_exposition();
    let exported: BTreeMap<_, _> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for family in FAMILIES {
        assert_eq!(exported.get(family.name), Some(&family.kind.name()), "{}", family.name);
    }
    let known: BTreeSet<_> =
        FAMILIES.iter().map(|f| f.name).chain(CATALOGUE.iter().filter_map(|m| m.prometheus)).collect();
    let unknown: Vec<_> = exported.keys().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Every series of an exposition.
fn all_series(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| series(line).1).collect()
}

/// Fails where the parts do not have each series of the whole exactly once.
fn assert_parts_make_the_whole(exporter: &Exporter, parts: &[&[(&str, &str)]]) {
    let whole = scraped(exporter, &[]);
    let parts: Vec<String> = parts.iter().map(|query| scraped(exporter, query)).collect();
    let mut seen = BTreeSet::new();
    for series in parts.iter().flat_map(|part| all_series(part)) {
        assert!(seen.insert(series), "{series} is in two parts");
    }
    assert_eq!(seen, all_series(&whole));
}

#[test]
fn shards_have_every_series_once_and_the_first_has_what_is_of_no_node() {
    let exporter = exporter();
    assert_parts_make_the_whole(&exporter, &[&[("shard", "1/2")], &[("shard", "2/2")]]);
    let shards = [[("shard", "1/3")], [("shard", "2/3")], [("shard", "3/3")]];
    assert_parts_make_the_whole(&exporter, &shards.each_ref().map(|shard| &shard[..]));
    let other = scraped(&exporter, &[("shard", "2/2")]);
    let of_no_node = other.lines().find(|line| !line.starts_with('#') && !line.contains("node=\""));
    assert_eq!(of_no_node, None);
}

#[test]
fn sites_and_what_has_none_make_the_whole() {
    let exporter = exporter();
    assert_parts_make_the_whole(&exporter, &[&[("site", "dc1")], &[("site", "")]]);
    let dc1 = scraped(&exporter, &[("site", "dc1")]);
    assert!(dc1.contains("node=\"n1\"") && !dc1.contains("node=\"n2\""), "{dc1}");
    assert!(dc1.contains("gpuledger_node_samples_ahead_total{node=\"n1\"} 3"), "{dc1}");
}

#[test]
fn only_families_that_were_asked_for_are_written_and_they_as_always() {
    let exporter = exporter();
    let whole = whole_exposition();
    let some =
        scraped(&exporter, &[("family", "gpuledger_gpu_*"), ("family", "gpuledger_collector_streams")]);
    let wanted = |line: &&str| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        let name = name.split([' ', '{']).next().unwrap();
        name.starts_with("gpuledger_gpu_") || name == "gpuledger_collector_streams"
    };
    assert_eq!(some.lines().collect::<Vec<_>>(), whole.lines().filter(wanted).collect::<Vec<_>>());
    for family in FAMILIES {
        let one = scraped(&exporter, &[("family", family.name)]);
        assert_eq!(one.matches("# TYPE ").count(), 1, "{}: {one}", family.name);
    }
}

#[test]
fn parameters_narrow_each_other() {
    let query = [("site", "dc1"), ("family", "gpuledger_gpu_up"), ("shard", "1/1")];
    assert_eq!(all_series(&scraped(&exporter(), &query)).len(), 2);
}
