use super::super::queue::tests::kept;
use super::super::tests::samples::*;
use super::*;
use crate::ingest::tap::Offered;
use gpuledger_proto::frame::Inventory;
use proptest::prelude::*;

/// A renderer with the families whose names contain one of the words, and its records.
struct World {
    renderer: Renderer,
    at_ms: u64,
}

impl World {
    fn new(words: &'static [&'static str], resolution_ms: u64) -> Self {
        let selection = Selection::of(|name| words.iter().any(|word| name.contains(word)));
        let shape = Shape { selection, resolution_ms, extra: Labels::default() };
        Self { renderer: Renderer::new(Arc::new(shape)), at_ms: START_MS }
    }

    fn power() -> Self {
        Self::new(&["gpu_power_watts"], 0)
    }

    fn record(&mut self, offered: &[Offered]) -> Record {
        let first = self.renderer.batches();
        self.at_ms =
            offered.iter().map(|o| o.arrived_ms).max().unwrap_or(self.at_ms + 30_000).max(self.at_ms);
        Record { at_ms: self.at_ms, first, kept: offered.iter().map(kept).collect() }
    }

    fn render(&mut self, offered: &[Offered]) -> Rendered {
        let record = self.record(offered);
        self.renderer.render(record)
    }

    /// As `seconds of it=value`, stale markers as `end`.
    fn tell(&mut self, offered: &[Offered]) -> Vec<(String, String)> {
        let requests = self.render(offered).requests;
        let series = told(&requests, &self.renderer.shape.selection);
        let text = |(at, value): &(f64, f64)| {
            if value.is_nan() { format!("{at}=end") } else { format!("{at}={value}") }
        };
        series.into_iter().map(|(name, s)| (name, s.iter().map(text).collect::<Vec<_>>().join(" "))).collect()
    }

    /// The same of one series alone.
    fn tell_one(&mut self, offered: &[Offered]) -> String {
        let told = self.tell(offered);
        assert!(told.len() < 2, "{told:?}");
        told.into_iter().next().map_or(String::new(), |(_, samples)| samples)
    }
}

const POWER: &str = "gpuledger_gpu_power_watts{gpu=\"0\",node=\"n\",uuid=\"GPU-1\"}";

fn one() -> Arc<Inventory> {
    inventory(&["GPU-1"])
}

#[test]
fn samples_are_sent_as_they_were_in_base_units() {
    let mut world = World::new(&["power_watts", "hardware_energy", "cpu"], 0);
    let told = world.tell(&[batch("n", 1, 1, &one(), 0..2, busy)]);
    let expected = [
        ("gpuledger_gpu_hardware_energy_joules_total{gpu=\"0\",node=\"n\",uuid=\"GPU-1\"}", "0=0 1=300"),
        (POWER, "0=300.5 1=300.5"),
        ("gpuledger_node_cpu_utilization_ratio{node=\"n\"}", "0=0.25 1=0.25"),
    ];
    assert_eq!(told, expected.map(|(name, samples)| (name.to_owned(), samples.to_owned())));
}

#[test]
fn of_every_step_the_first_sample_is_sent_across_batches() {
    let mut world = World::new(&["gpu_power_watts"], 15_000);
    let told: Vec<String> = (0..4)
        .map(|n| world.tell_one(&[batch("n", 1, n + 1, &one(), n * 10 + 3..n * 10 + 13, busy)]))
        .collect();
    assert_eq!(told, ["3=300.5", "15=300.5", "30=300.5", ""]);
}

#[test]
fn a_batch_that_comes_again_is_not_sent_again() {
    let mut world = World::power();
    let (first, second) = (batch("n", 1, 1, &one(), 0..1, busy), batch("n", 1, 2, &one(), 1..2, busy));
    assert_eq!(world.tell_one(&[first.clone(), first.clone()]), "0=300.5");
    assert_eq!(world.tell_one(&[first.clone(), second.clone()]), "1=300.5");
    // The agent has started again; what it had sent before comes once more.
    assert_eq!(world.tell_one(&[batch("n", 2, 1, &one(), 2..3, busy)]), "2=300.5");
    assert_eq!(world.tell_one(&[first, second]), "");
}

#[test]
fn an_absent_reading_has_no_sample_and_ends_a_live_series_once() {
    let mut world = World::power();
    assert_eq!(world.tell_one(&[batch("n", 1, 1, &one(), 0..2, powerless)]), "", "it never lived");
    assert_eq!(world.tell_one(&[batch("n", 1, 2, &one(), 2..3, busy)]), "2=300.5");
    assert_eq!(world.tell_one(&[batch("n", 1, 3, &one(), 3..5, powerless)]), "3=end");
    assert_eq!(world.tell_one(&[batch("n", 1, 4, &one(), 5..6, busy)]), "5=300.5", "it lives again");
    assert_eq!(world.tell_one(&[batch("n", 1, 5, &one(), 6..7, |_| vec![])]), "6=end", "no column at all");
}

#[test]
fn a_gpu_that_is_gone_ends_all_of_its_series_and_others_go_on() {
    let mut world = World::new(&["gpu_power_watts", "gpu_info"], 0);
    world.tell(&[batch("n", 1, 1, &inventory(&["GPU-1", "GPU-2"]), 0..2, busy)]);
    let told = world.tell(&[batch("n", 1, 2, &one(), 2..3, busy)]);
    let ends: Vec<_> =
        told.iter().filter(|(_, samples)| samples == "1.001=end").map(|(name, _)| name).collect();
    assert_eq!(ends.len(), 2, "{told:?}");
    assert!(ends.iter().all(|name| name.contains("GPU-2")), "{told:?}");
    assert!(told.contains(&(POWER.to_owned(), "2=300.5".to_owned())), "{told:?}");
}

#[test]
fn a_gpu_with_another_index_has_other_series() {
    let mut world = World::power();
    world.tell(&[batch("n", 1, 1, &inventory(&["GPU-1", "GPU-2"]), 0..1, busy)]);
    let told = world.tell(&[batch("n", 1, 2, &inventory(&["GPU-2"]), 1..2, busy)]);
    let samples: Vec<_> = told.iter().map(|(_, samples)| samples.as_str()).collect();
    assert_eq!(samples, ["0.001=end", "1=300.5", "0.001=end"]);
}

#[test]
fn a_silent_node_ends_and_lives_again() {
    let mut world = World::power();
    world.tell(&[batch("n", 1, 1, &one(), 0..2, busy)]);
    let quiet: Vec<String> = (0..6).map(|_| world.tell_one(&[])).collect();
    assert_eq!(quiet, ["", "", "", "1.001=end", "", ""]);
    assert_eq!(world.tell_one(&[batch("n", 1, 2, &one(), 200..201, busy)]), "200=300.5");
}

#[test]
fn a_collector_that_was_down_does_not_take_its_nodes_for_silent() {
    let mut world = World::power();
    world.tell(&[batch("n", 1, 1, &one(), 0..2, busy)]);
    world.at_ms += 3_600_000;
    assert_eq!(world.tell_one(&[]), "");
    assert_eq!(world.tell_one(&[batch("n", 1, 2, &one(), 2..3, busy)]), "2=300.5");
}

#[test]
fn samples_out_of_order_go_into_a_request_of_their_own() {
    let mut world = World::power();
    world.render(&[batch("n", 1, 1, &one(), 10..12, busy)]);
    let rendered = world.render(&[
        batch("m", 7, 1, &inventory(&["GPU-9"]), 12..13, busy),
        batch("n", 1, 2, &one(), [5, 6, 12], busy),
    ]);
    let requests: Vec<_> = rendered
        .requests
        .iter()
        .map(|request| told(std::slice::from_ref(request), &world.renderer.shape.selection))
        .collect();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0][POWER], [(5.0, 300.5), (6.0, 300.5)]);
    assert_eq!(requests[1][POWER], [(12.0, 300.5)]);
    assert_eq!(requests[1].len(), 2, "the other node is not with what is late");
}

#[test]
fn what_is_ahead_of_the_clock_is_passed_over_and_counted() {
    let mut world = World::power();
    let mut offered = batch("n", 1, 1, &one(), [0, 86_400], busy);
    offered.arrived_ms = START_MS;
    let rendered = world.render(&[offered]);
    assert_eq!((rendered.requests[0].samples(), rendered.ahead), (1, 3));
    assert_eq!(world.tell_one(&[batch("n", 1, 2, &one(), 1..2, busy)]), "1=300.5", "later time is not late");
}

#[test]
fn what_fell_out_of_the_queue_is_counted_to_the_batch() {
    let mut world = World::power();
    world.render(&[batch("n", 1, 1, &one(), 0..1, busy)]);
    let mut record = world.record(&[batch("n", 1, 9, &one(), 8..9, busy)]);
    record.first += 7;
    assert_eq!(world.renderer.render(record).missed, 7);
}

#[test]
fn a_batch_that_cannot_be_read_harms_no_other() {
    let mut world = World::power();
    let (mut bad, good) = (batch("n", 1, 1, &one(), 0..1, busy), batch("n", 1, 2, &one(), 1..2, busy));
    bad.wire.truncate(bad.wire.len() - 3);
    let mut record = world.record(&[bad, good]);
    record.kept[1].source = None;
    record.kept.push(Kept { epoch: epoch(9).0.as_bytes().to_vec(), ..record.kept[1].clone() });
    let rendered = world.renderer.render(record);
    assert_eq!(
        (rendered.unreadable.len(), rendered.requests[0].samples()),
        (2, 1),
        "{:?}",
        rendered.unreadable
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What a restart relies on: memory written at any record and read back renders the rest the same.
    #[test]
    fn a_memory_that_was_written_and_read_goes_on_in_the_same_way(
        steps in proptest::collection::vec((0..3_usize, 0..3_u128, 0..2_usize, any::<bool>()), 1..12),
        cut in 0..12_usize,
        resolution_ms in prop_oneof![Just(0_u64), Just(2_000)],
    ) {
        let mut world = World::new(&[""], resolution_ms);
        let inventories = [one(), inventory(&["GPU-1", "GPU-2"])];
        let mut records = Vec::new();
        for (number, &(node, run, gpus, powered)) in steps.iter().enumerate() {
            let at = number as u64 * 40;
            let readings = if powered { busy } else { powerless };
            let name = ["a", "b", "c"][node];
            // An epoch is of one node; a third of the records carries the time alone.
            let run = run + 10 * node as u128;
            let offered = [batch(name, run, number as u64 + 1, &inventories[gpus], at..at + 4, readings)];
            let offered = if number % 3 == 2 { &offered[..0] } else { &offered[..] };
            records.push(world.record(offered));
        }
        let mut whole = World::new(&[""], resolution_ms).renderer;
        let mut parted = whole.clone();
        for (number, record) in records.into_iter().enumerate() {
            if number == cut {
                let (restored, is_same) = Renderer::from_bytes(&parted.to_bytes(), &parted.shape).unwrap();
                prop_assert!(is_same);
                parted = restored;
            }
            prop_assert_eq!(whole.render(record.clone()), parted.render(record));
        }
    }
}
