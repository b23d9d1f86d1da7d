//! What a point costs on the wire, and that recorded traces come back exactly.

use crate::catalogue::MetricId;
use crate::column::{decode, encode};
use crate::frame::{Batch, Column, Stamp};
use crate::ids::Sequence;
use crate::reading::{Absence, Reading};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Numbers that look random and are the same on every run (`SplitMix64`).
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) % bound).unwrap()
    }
}

/// The state of one busy GPU, stepped once a second.
struct Gpu {
    energy_mj: i64,
    power_mw: i64,
    temperature_c: i64,
    memory_pages: i64,
}

impl Gpu {
    /// 30 readings in the units and with the grain that NVML gives: 12 of them never change. Power is as it
    /// was recorded, or walks to and fro.
    fn step(&mut self, noise: &mut Noise, recorded_mw: Option<i64>) -> Vec<Reading<i64>> {
        let walked_mw = (self.power_mw + noise.below(20_001) - 10_000).clamp(350_000, 690_000);
        self.power_mw = recorded_mw.unwrap_or(walked_mw);
        self.energy_mj += self.power_mw + noise.below(2_000);
        self.temperature_c = (self.temperature_c + (noise.below(11) - 5) / 5).clamp(45, 75);
        self.memory_pages += if noise.below(20) == 0 { noise.below(512) } else { 0 };
        let utilization = 96 + noise.below(5);
        let clock = 1_980 - 15 * noise.below(4);
        let mut values = vec![
            1,
            self.energy_mj,
            self.power_mw,
            self.power_mw + noise.below(30_001) - 15_000,
            700_000,
            self.temperature_c * 1_000,
            (self.temperature_c + 8) * 1_000,
            utilization * 10_000,
            (40 + noise.below(15)) * 10_000,
            self.memory_pages * 2_097_152,
            85_520_809_984,
            clock * 1_000,
            2_619_000,
            4,
            0,
            0,
            0,
            1,
        ];
        // Activity of the units of the chip, NVLink and PCIe traffic.
        values.extend((0..8).map(|unit| (600 - unit * 50 + noise.below(64)) * 1_000));
        values.extend([0, 0, 0]);
        let mut readings: Vec<_> = values.into_iter().map(Reading::Value).collect();
        readings.push(Reading::Absent(Absence::Unsupported));
        readings
    }
}

/// A minute-like stream of `gpus` GPUs, cut into batches of `samples` samples.
fn batches(gpus: u16, samples: usize, count: usize) -> Vec<Batch> {
    batches_of(gpus, samples, count, &|_, _| None)
}

/// The same with the power of each GPU and second as it was recorded.
fn batches_of(gpus: u16, samples: usize, count: usize, recorded: &Recorded<'_>) -> Vec<Batch> {
    let mut noise = Noise(2_026);
    let mut state: Vec<Gpu> = (0..gpus)
        .map(|n| Gpu {
            energy_mj: 91_234_567_890 + i64::from(n) * 7_654_321_987,
            power_mw: 500_000 + noise.below(100_000),
            temperature_c: 55 + noise.below(10),
            memory_pages: 30_000,
        })
        .collect();
    (0..count).map(|batch| one_batch(&mut state, &mut noise, batch, samples, recorded)).collect()
}

/// Power in mW by device and second, where it was recorded.
type Recorded<'a> = dyn Fn(u16, usize) -> Option<i64> + 'a;

fn one_batch(
    state: &mut [Gpu],
    noise: &mut Noise,
    batch: usize,
    samples: usize,
    recorded: &Recorded<'_>,
) -> Batch {
    let mut columns: BTreeMap<(u16, u16), Vec<Reading<i64>>> = BTreeMap::new();
    let mut stamps = Vec::new();
    for sample in 0..samples {
        let since = ((batch * samples + sample) * 1_000) as u64 + noise.below(3).cast_unsigned();
        stamps.push(Stamp { wall_ms: 1_795_000_000_000 + since, boot_ms: 86_400_123 + since });
        for (device, gpu) in (1..).zip(state.iter_mut()) {
            let power_mw = recorded(device, batch * samples + sample);
            for (metric, reading) in (1..).zip(gpu.step(noise, power_mw)) {
                columns.entry((device, metric)).or_default().push(reading);
            }
        }
    }
    let columns = columns
        .into_iter()
        .map(|((device, metric), readings)| Column { device, metric: MetricId(metric), readings })
        .collect();
    Batch { sequence: Sequence(batch as u64 + 1), stamps, holdings: Vec::new(), columns }
}

#[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
fn bytes_a_point(batches: &[Batch]) -> f64 {
    let mut bytes = 0;
    for batch in batches {
        let encoded = encode(batch);
        bytes += encoded.len();
        let decoded = decode(&encoded, batch.stamps.len(), 9).unwrap();
        assert_eq!(decoded, (batch.stamps.clone(), batch.columns.clone()));
    }
    bytes as f64 / batches.iter().map(Batch::points).sum::<usize>() as f64
}

#[test]
fn a_point_of_a_busy_eight_gpu_node_stays_within_its_bytes() {
    let ten = bytes_a_point(&batches(8, 10, 60));
    let minute = bytes_a_point(&batches(8, 60, 10));
    println!("8 GPUs × 30 series: {ten:.3} bytes a point in batches of 10, {minute:.3} in batches of 60");
    assert!(ten < 1.0, "{ten}");
    assert!(minute < ten);
}

/// Power in mW and time of each (run, node) of a recorded trace.
type Traces = BTreeMap<(String, String), Vec<(u64, i64)>>;

fn traces(file: &Path) -> Traces {
    let rows = BufReader::new(GzDecoder::new(std::fs::File::open(file).unwrap())).lines();
    let mut traces = Traces::new();
    for row in rows.skip(1) {
        let row = row.unwrap();
        let fields: Vec<_> = row.split(',').collect();
        let [run, node, t_ms, power_w] = fields[..] else { panic!("{row}") };
        let point = (t_ms.parse().unwrap(), power_w.parse::<i64>().unwrap() * 1_000);
        traces.entry((run.to_owned(), node.to_owned())).or_default().push(point);
    }
    traces
}

/// What the wire may cost at most.
const BYTES_A_POINT_MAX: f64 = 1.35;

/// Eight GPUs, of which each draws an eighth of what an H100 server drew in training.
#[test]
fn a_point_of_gpus_that_draw_recorded_power_stays_within_its_bytes() {
    let file = folder().join("gpt3_64node_ac.csv.gz");
    if !file.exists() {
        println!("skipped: recorded traces are not here ({} is absent)", file.display());
        return;
    }
    let traces: Vec<_> = traces(&file).into_values().filter(|trace| trace.len() >= 600).take(8).collect();
    assert_eq!(traces.len(), 8);
    let recorded = |device: u16, second: usize| traces[usize::from(device) - 1].get(second).map(|p| p.1 / 8);
    let ten = bytes_a_point(&batches_of(8, 10, 60, &recorded));
    println!("8 GPUs × 30 series, power as recorded: {ten:.3} bytes a point in batches of 10");
    assert!(ten < BYTES_A_POINT_MAX, "{ten}");
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/mlperf_h100_power")
}

#[test]
fn recorded_power_of_h100_servers_comes_back_exactly() {
    let folder = folder();
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: recorded traces are not here ({} is absent)", folder.display());
        return;
    };
    let (mut points, mut bytes) = (0, 0);
    for file in files.map(|f| f.unwrap().path()).filter(|f| f.extension().is_some_and(|e| e == "gz")) {
        for trace in traces(&file).into_values() {
            for part in trace.chunks(30) {
                let stamps = part
                    .iter()
                    .map(|&(wall_ms, _)| Stamp { wall_ms, boot_ms: wall_ms - 1_700_000_000_000 })
                    .collect();
                let readings = part.iter().map(|&(_, power)| Reading::Value(power)).collect();
                let columns = vec![Column { device: 0, metric: MetricId(71), readings }];
                let batch = Batch { stamps, columns, ..Batch::default() };
                let encoded = encode(&batch);
                points += part.len();
                bytes += encoded.len();
                assert_eq!(decode(&encoded, part.len(), 1), Ok((batch.stamps, batch.columns)));
            }
        }
    }
    assert!(points > 100_000, "{points} points are fewer than the traces hold");
    println!("{points} recorded readings in {bytes} bytes, both clocks included");
}
