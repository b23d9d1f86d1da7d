//! What a run has shown, for programs and for people.

use super::agent::{Plan, Sent};
use super::run::Wanted;
use super::trial::Outcome;
use super::usage::Resident;
use super::values::{READINGS_PER_GPU, READINGS_PER_NODE};
use super::verdict::Verdict;
use super::view::Traffic;
use serde::Serialize;
use std::time::Duration;

/// An acknowledgement that comes later is late.
const LATE_MS: u32 = 15_000;

/// What was measured between the beginning and the last acknowledgement.
pub struct Measured {
    pub connections: usize,
    /// The collector until the beginning: start, handshakes, registration.
    pub connect_cpu: Duration,
    pub collector_cpu: Duration,
    pub generator_cpu: Duration,
    pub store_cpu: Option<Duration>,
    pub traffic: Traffic,
    pub resident: Resident,
    pub sent: Vec<Sent>,
    pub verdict: Verdict,
    pub outcome: Outcome,
}

/// The figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub store: String,
    pub tls: bool,
    pub nodes: u32,
    pub gpus: u32,
    pub seconds: u32,
    pub connections: usize,
    /// Readings that were sent, without the opening samples.
    pub points: u64,
    pub batches: u64,
    pub wire_bytes_per_point: f64,
    pub collector_cpu_seconds_per_million_points: f64,
    pub collector_cpu_seconds: f64,
    pub connect_cpu_seconds: f64,
    pub generator_cpu_seconds: f64,
    /// Of the store's server, where there is one and it is on this machine.
    pub store_cpu_seconds: Option<f64>,
    pub ack_p50_ms: u32,
    pub ack_p99_ms: u32,
    pub ack_max_ms: u32,
    pub acks_later_than_15s: usize,
    /// The most that the generator itself was late with a batch.
    pub generator_late_max_ms: u32,
    /// The most that the collector took.
    pub collector_rss_bytes: u64,
    pub collector_rss_end_bytes: u64,
    pub lost_batches: u64,
    pub duplicated_batches: u64,
    pub energy_error_mj: u64,
    pub observed_error_ms: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Report {
    pub fn new(wanted: &Wanted, plan: &Plan, measured: Measured) -> Self {
        let Measured { sent, verdict, traffic, .. } = measured;
        let nodes = u64::from(plan.nodes);
        let points_per_sample = u64::from(plan.gpus) * READINGS_PER_GPU + READINGS_PER_NODE;
        let points = nodes * plan.samples * points_per_sample;
        let batches = nodes * plan.batches();
        let mut ack_ms: Vec<u32> = sent.iter().flat_map(|sent| sent.ack_ms.iter().copied()).collect();
        ack_ms.sort_unstable();
        let cpu = measured.collector_cpu.as_secs_f64();
        // Sent again after a restart, a batch is more traffic and no more points.
        let batch_bytes = ratio(traffic.bytes, traffic.batches);
        Self {
            store: wanted.place.to_string(),
            tls: !wanted.insecure,
            nodes: plan.nodes,
            gpus: plan.gpus,
            seconds: wanted.seconds,
            connections: measured.connections,
            points,
            batches,
            wire_bytes_per_point: digits(batch_bytes * ratio(batches, points), 4),
            collector_cpu_seconds_per_million_points: digits(cpu / ratio(points, 1_000_000), 5),
            collector_cpu_seconds: digits(cpu, 2),
            connect_cpu_seconds: digits(measured.connect_cpu.as_secs_f64(), 2),
            generator_cpu_seconds: digits(measured.generator_cpu.as_secs_f64(), 2),
            store_cpu_seconds: measured.store_cpu.map(|cpu| digits(cpu.as_secs_f64(), 2)),
            ack_p50_ms: percentile(&ack_ms, 500),
            ack_p99_ms: percentile(&ack_ms, 990),
            ack_max_ms: percentile(&ack_ms, 1_000),
            acks_later_than_15s: ack_ms.len() - ack_ms.partition_point(|&ms| ms <= LATE_MS),
            generator_late_max_ms: sent.iter().map(|sent| sent.late_ms_max).max().unwrap_or(0),
            collector_rss_bytes: measured.resident.peak,
            collector_rss_end_bytes: measured.resident.now,
            lost_batches: verdict.lost_batches,
            duplicated_batches: verdict.duplicated_batches,
            energy_error_mj: verdict.energy_error_mj,
            observed_error_ms: verdict.observed_error_ms,
            outcome: measured.outcome,
        }
    }

    /// Whether the ledger has everything once.
    pub fn holds(&self) -> bool {
        let Self { lost_batches, duplicated_batches, energy_error_mj, observed_error_ms, .. } = *self;
        Verdict { lost_batches, duplicated_batches, energy_error_mj, observed_error_ms }.holds()
    }
}

/// Runs side by side: a line a figure, a column a run.
pub fn table(reports: &[Report]) -> serde_json::Result<String> {
    let runs = reports.iter().map(flat).collect::<serde_json::Result<Vec<_>>>()?;
    let Some(first) = runs.first() else { return Ok(String::new()) };
    let width = first.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let columns: Vec<usize> =
        runs.iter().map(|run| run.iter().map(|(_, value)| value.len()).max().unwrap_or(0)).collect();
    let cell = |line: usize, run: &[(String, String)], column: usize| {
        let value = run.get(line).map_or("", |(_, value)| value);
        format!("  {value:>column$}")
    };
    let lines = first.iter().enumerate().map(|(line, (name, _))| {
        let cells: String = runs.iter().zip(&columns).map(|(run, &column)| cell(line, run, column)).collect();
        format!("{name:width$}{cells}\n")
    });
    Ok(lines.collect())
}

/// Names and values in the order of the report, those of an inner object behind its name.
fn flat(report: &Report) -> serde_json::Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    // Through text: the order of a report's fields is kept there alone.
    let text = serde_json::to_string(report)?;
    let names = text.split('"').skip(1).step_by(2);
    let value = serde_json::to_value(report)?;
    for name in names {
        let Some(value) = value.get(name) else { continue };
        match value {
            serde_json::Value::Object(inner) => {
                lines.extend(inner.iter().map(|(key, value)| (format!("{name} {key}"), value.to_string())));
            }
            serde_json::Value::String(text) => lines.push((name.to_owned(), text.clone())),
            serde_json::Value::Null => lines.push((name.to_owned(), "-".to_owned())),
            value => lines.push((name.to_owned(), value.to_string())),
        }
    }
    Ok(lines)
}

/// Of sorted values, the least that so many of a thousand are not above; 0 of none.
fn percentile(sorted: &[u32], permille: usize) -> u32 {
    let at = (sorted.len() * permille).div_ceil(1_000).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}

#[allow(clippy::cast_precision_loss, reason = "a ratio for people, of numbers far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / (whole as f64).max(1.0)
}

fn digits(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::trial::{RestartOutcome, Trial};
    use crate::simulate::Place;

    fn report(ack_ms: Vec<u32>, outcome: Outcome) -> Report {
        let wanted = Wanted {
            nodes: 2,
            gpus: 8,
            seconds: 20,
            insecure: true,
            place: Place::Sqlite,
            trial: Trial::None,
        };
        let plan = Plan { nodes: 2, gpus: 8, samples: 20, planned_ms: 0 };
        let sent = vec![Sent { ack_ms, late_ms_max: 7, ..Sent::default() }];
        Report::new(
            &wanted,
            &plan,
            Measured {
                connections: 2,
                connect_cpu: Duration::from_millis(10),
                collector_cpu: Duration::from_millis(1_245),
                generator_cpu: Duration::from_secs(2),
                store_cpu: None,
                traffic: Traffic { batches: 8, bytes: 24_900 },
                resident: Resident { now: 1, peak: 2 },
                sent,
                verdict: Verdict::default(),
                outcome,
            },
        )
    }

    #[test]
    fn figures_are_for_points_and_batches_that_went_twice_do_not_change_them() {
        let report = report(vec![1_000, 3_000, 2_000, 16_000], Outcome::default());
        assert_eq!((report.points, report.batches), (2 * 20 * 249, 4));
        let expected = [125.0, 1.25];
        let found = [report.collector_cpu_seconds_per_million_points, report.wire_bytes_per_point];
        assert!(
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9),
            "{found:?}"
        );
        let acks = (report.ack_p50_ms, report.ack_p99_ms, report.ack_max_ms, report.acks_later_than_15s);
        assert_eq!(acks, (2_000, 16_000, 16_000, 1));
        assert!(report.holds());
        assert!(!Report { energy_error_mj: 1, ..report }.holds());
    }

    #[test]
    fn percentiles_of_nothing_and_of_one() {
        assert_eq!((percentile(&[], 500), percentile(&[4], 500), percentile(&[4], 990)), (0, 4, 4));
    }

    #[test]
    fn the_table_has_every_figure_in_order_and_every_run_beside_the_others() {
        let restart = RestartOutcome {
            down_ms: 5,
            reconnected_within_ms: 6,
            absorbed_within_ms: 7,
            collector_cpu_seconds: 0.5,
        };
        let outcome = Outcome { restart: Some(restart), stall: None };
        let text = table(&[report(vec![1], outcome.clone()), report(vec![20], outcome)]).unwrap();
        let names: Vec<&str> = text.lines().map(|line| line.split("  ").next().unwrap()).collect();
        assert!(names[0].starts_with("store") && names.len() > 25, "{text}");
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("restart reconnected_within_ms").ends_with('6'));
        let acks: Vec<&str> = line("ack_max_ms").split_whitespace().collect();
        assert_eq!(acks, ["ack_max_ms", "1", "20"]);
        assert!(line("store_cpu_seconds").ends_with('-'));
    }
}
