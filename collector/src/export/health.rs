//! The collector's own counters. Ingest and the ledger's writer call them where the thing happens.

use super::families::{
    ARCHIVE_BYTES, BATCHES, BUILD_INFO, CERTIFICATE_EXPIRY, COMMIT_SECONDS, COMMITS, CONNECTIONS,
    CONNECTIONS_REFUSED, Family, GPUS_MOVED, LEDGER_BYTES, LIMITS, NODE_SAMPLES_AHEAD, NODES_CONTESTED,
    POINTS, REFRESH_FAILURES, REFUSALS, STREAMS, STREAMS_OPENED,
};
use super::text::Text;
use crate::ingest::Limit;
use crate::net::TURNED_AWAY;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::io;
use std::time::Duration;

/// Upper bounds of a commit's duration: an fsync of a fast disk takes under 1 ms, a bad one seconds.
const COMMIT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Why a stream was refused; as on the wire.
pub const REFUSAL_REASONS: [&str; 3] = ["moved", "invalid", "unavailable"];
const BATCH_OUTCOMES: [&str; 4] = ["folded", "repeated", "dropped", "refused"];
const COMMIT_OUTCOMES: [&str; 3] = ["committed", "moved", "failed"];
const REFRESHED: [&str; 2] = ["totals", "costs"];

/// Counters and gauges of one collector.
#[derive(Debug)]
pub struct Health {
    registry: Registry,
    streams: IntGauge,
    streams_opened: IntCounter,
    batches: IntCounterVec,
    points: IntCounter,
    commits: IntCounterVec,
    commit_seconds: Histogram,
    refusals: IntCounterVec,
    limits: IntCounterVec,
    gpus_moved: IntCounter,
    nodes_contested: IntCounter,
    samples_ahead: IntCounterVec,
    connections: IntGauge,
    connections_refused: IntCounterVec,
    certificate_expiry: IntGaugeVec,
    ledger_bytes: IntGauge,
    archive_bytes: IntGauge,
    refresh_failures: IntCounterVec,
}

impl Health {
    /// Every counter at 0, under every value of its labels, so that a first event is an increase.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let health = Self {
            streams: registered(&registry, IntGauge::with_opts(opts(&STREAMS))?)?,
            streams_opened: registered(&registry, IntCounter::with_opts(opts(&STREAMS_OPENED))?)?,
            batches: counters(&registry, &BATCHES, "outcome", &BATCH_OUTCOMES)?,
            points: registered(&registry, IntCounter::with_opts(opts(&POINTS))?)?,
            commits: counters(&registry, &COMMITS, "outcome", &COMMIT_OUTCOMES)?,
            commit_seconds: {
                let opts = HistogramOpts::new(COMMIT_SECONDS.name, COMMIT_SECONDS.help);
                registered(&registry, Histogram::with_opts(opts.buckets(COMMIT_BUCKETS.to_vec()))?)?
            },
            refusals: counters(&registry, &REFUSALS, "reason", &REFUSAL_REASONS)?,
            limits: counters(&registry, &LIMITS, "limit", &Limit::ALL.map(Limit::name))?,
            nodes_contested: registered(&registry, IntCounter::with_opts(opts(&NODES_CONTESTED))?)?,
            gpus_moved: registered(&registry, IntCounter::with_opts(opts(&GPUS_MOVED))?)?,
            // A node appears with its first such sample.
            samples_ahead: registered(&registry, IntCounterVec::new(opts(&NODE_SAMPLES_AHEAD), &["node"])?)?,
            connections: registered(&registry, IntGauge::with_opts(opts(&CONNECTIONS))?)?,
            connections_refused: counters(&registry, &CONNECTIONS_REFUSED, "reason", &TURNED_AWAY)?,
            // A certificate appears when it is in force.
            certificate_expiry: registered(
                &registry,
                IntGaugeVec::new(opts(&CERTIFICATE_EXPIRY), &["which"])?,
            )?,
            ledger_bytes: IntGauge::with_opts(opts(&LEDGER_BYTES))?,
            archive_bytes: IntGauge::with_opts(opts(&ARCHIVE_BYTES))?,
            refresh_failures: counters(&registry, &REFRESH_FAILURES, "what", &REFRESHED)?,
            registry,
        };
        let build = registered(&health.registry, IntGaugeVec::new(opts(&BUILD_INFO), &["version"])?)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(health)
    }

    pub fn stream_opened(&self) {
        self.streams.inc();
        self.streams_opened.inc();
    }

    pub fn stream_closed(&self) {
        self.streams.dec();
    }

    pub fn batch_folded(&self, points: u64) {
        self.batches.with_label_values(&["folded"]).inc();
        self.points.inc_by(points);
    }

    /// A batch that was folded before: acknowledged and not counted again.
    pub fn batch_repeated(&self) {
        self.batches.with_label_values(&["repeated"]).inc();
    }

    /// A batch that the ledger can never take.
    pub fn batch_refused(&self) {
        self.batches.with_label_values(&["refused"]).inc();
    }

    /// Samples of a node that were passed over because its clock is too far ahead.
    pub fn samples_ahead(&self, node: &str, samples: u64) {
        self.samples_ahead.with_label_values(&[node]).inc_by(samples);
    }

    /// Streams of one node replace each other.
    pub fn node_contested(&self) {
        self.nodes_contested.inc();
    }

    /// GPUs that a node took over from another.
    pub fn gpus_moved(&self, gpus: u64) {
        self.gpus_moved.inc_by(gpus);
    }

    /// Batches that are missing at the agent: told by a gap in its sequences.
    pub fn batches_dropped(&self, batches: u64) {
        self.batches.with_label_values(&["dropped"]).inc_by(batches);
    }

    /// One transaction: nodes that it committed, nodes that another collector has taken, duration.
    pub fn committed(&self, committed: u64, moved: u64, took: Duration) {
        self.commits.with_label_values(&["committed"]).inc_by(committed);
        self.commits.with_label_values(&["moved"]).inc_by(moved);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// A transaction of so many nodes that the ledger could not write.
    pub fn commit_failed(&self, nodes: u64) {
        self.commits.with_label_values(&["failed"]).inc_by(nodes);
    }

    /// A stream was ended for one of [`REFUSAL_REASONS`].
    pub fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// A stream was ended because the peer broke a limit.
    pub fn limit_broken(&self, limit: Limit) {
        self.limits.with_label_values(&[limit.name()]).inc();
    }

    /// Connections that are open.
    pub fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// A connection was turned away for one of [`TURNED_AWAY`].
    pub fn turned_away(&self, reason: &str) {
        self.connections_refused.with_label_values(&[reason]).inc();
    }

    /// Last second of a certificate that is in force.
    pub fn certificate_expiry(&self, which: &str, not_after_s: u64) {
        self.certificate_expiry
            .with_label_values(&[which])
            .set(i64::try_from(not_after_s).unwrap_or(i64::MAX));
    }

    /// Size of the ledger; until it is known there is no sample.
    pub fn ledger_bytes(&self, bytes: u64) {
        self.set_size(&self.ledger_bytes, bytes);
    }

    /// Size of the files of closed days; until it is known there is no sample.
    pub fn archive_bytes(&self, bytes: u64) {
        self.set_size(&self.archive_bytes, bytes);
    }

    fn set_size(&self, gauge: &IntGauge, bytes: u64) {
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        // Registered by the first size; afterwards this is refused and changes nothing.
        drop(self.registry.register(Box::new(gauge.clone())));
    }

    /// Where parts that are not always there put their counters.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// As a scrape would show it.
    #[cfg(test)]
    pub fn text(&self) -> String {
        super::tests::written(|text| self.render(text))
    }

    pub(super) fn totals_failed(&self) {
        self.refresh_failures.with_label_values(&["totals"]).inc();
    }

    pub(super) fn costs_failed(&self) {
        self.refresh_failures.with_label_values(&["costs"]).inc();
    }

    /// Series of a node where the node is asked for, the rest where what is of no node is.
    pub(super) fn render(&self, text: &mut Text<'_>) -> io::Result<()> {
        let selection = text.selection();
        let mut families = self.registry.gather();
        families.retain_mut(|family| {
            family.mut_metric().retain(|metric| {
                let node = metric.get_label().iter().find(|label| label.name() == "node");
                node.map_or_else(|| selection.takes_whole(), |node| selection.takes_node(node.value()))
            });
            selection.takes_family(family.name()) && !family.get_metric().is_empty()
        });
        TextEncoder::new().encode(&families, text.raw()).map_err(io::Error::other)
    }
}

pub(super) fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

pub(super) fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

pub(super) fn counters(
    registry: &Registry,
    family: &Family,
    label: &str,
    values: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = registered(registry, IntCounterVec::new(opts(family), &[label])?)?;
    for value in values {
        counters.with_label_values(&[*value]).reset();
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_there_before_its_first_event() {
        let text = Health::new().unwrap().text();
        for reason in REFUSAL_REASONS {
            assert!(text.contains(&format!("{}{{reason=\"{reason}\"}} 0", REFUSALS.name)), "{text}");
        }
        assert!(text.contains("gpuledger_collector_batches_total{outcome=\"folded\"} 0"), "{text}");
    }

    #[test]
    fn events_are_counted_where_they_belong() {
        let health = Health::new().unwrap();
        health.stream_opened();
        health.stream_opened();
        health.stream_closed();
        health.batch_folded(2_400);
        health.committed(3, 1, Duration::from_millis(4));
        health.commit_failed(2);
        let text = health.text();
        for line in [
            "gpuledger_collector_streams 1",
            "gpuledger_collector_streams_opened_total 2",
            "gpuledger_collector_points_total 2400",
            "gpuledger_collector_commits_total{outcome=\"committed\"} 3",
            "gpuledger_collector_commits_total{outcome=\"moved\"} 1",
            "gpuledger_collector_commits_total{outcome=\"failed\"} 2",
            "gpuledger_collector_commit_duration_seconds_bucket{le=\"0.005\"} 1",
            "gpuledger_collector_commit_duration_seconds_bucket{le=\"0.0025\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn an_unknown_size_of_the_ledger_is_not_zero() {
        let health = Health::new().unwrap();
        assert!(!health.text().contains(LEDGER_BYTES.name));
        health.ledger_bytes(4_096);
        health.ledger_bytes(8_192);
        assert!(health.text().contains("gpuledger_collector_ledger_bytes 8192\n"));
    }
}
