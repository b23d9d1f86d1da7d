//! Every family of the exposition that the catalogue of readings does not declare.
//!
//! Invariants: names are unique, here and against the catalogue; counters and only they end in
//! `_total`; units are Prometheus' base units and stand at the end of the name. Money has no base
//! unit: its currency is a label.

/// The type line of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Gauge,
    Counter,
    Histogram,
}

impl Type {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Type,
    /// As in the name: "seconds", "joules", …; empty for counts and information.
    pub unit: &'static str,
    /// One sentence, as the HELP line.
    pub help: &'static str,
}

macro_rules! families {
    ($( $const:ident = $name:literal, $kind:ident, $unit:literal, $help:literal; )*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $const: Family =
                Family { name: $name, kind: Type::$kind, unit: $unit, help: $help };
        )*

        /// All of them, in the order of the exposition.
        pub const FAMILIES: &[Family] = &[$( $const, )*];
    };
}

families! {
    NODE_INFO = "gpuledger_node_info", Gauge, "",
        "What a node says of itself: host name, operating system and driver.";
    NODE_GPUS = "gpuledger_node_gpus", Gauge, "",
        "GPUs in the inventory of a node.";
    NODE_LAST_SAMPLE = "gpuledger_node_last_sample_timestamp_seconds", Gauge, "seconds",
        "When the latest sample of a node was taken, by the clock of the node.";
    NODE_SKEW = "gpuledger_node_clock_skew_seconds", Gauge, "seconds",
        "How far the clock of a node is ahead of the collector's; negative where it is behind.";
    NODE_SAMPLES_AHEAD = "gpuledger_node_samples_ahead_total", Counter, "",
        "Samples of a node that were passed over because its clock was more than 26 hours ahead.";
    NODE_ABSENT = "gpuledger_node_reading_absent", Gauge, "",
        "1 for each reading of a node that is absent at present, with the reason.";
    GPU_INFO = "gpuledger_gpu_info", Gauge, "",
        "What a GPU is: model, serial, PCI address, and whether it is simulated.";
    GPU_ABSENT = "gpuledger_gpu_reading_absent", Gauge, "",
        "1 for each reading of a GPU that is absent at present, with the reason.";
    GPU_THROTTLED = "gpuledger_gpu_throttled", Gauge, "",
        "1 while the clock of a GPU is held down for this reason, else 0.";
    GPU_OWNER_SHARE = "gpuledger_gpu_owner_share_ratio", Gauge, "ratio",
        "Share of a GPU that an owner holds at present; no sample while nobody does.";

    GPU_ENERGY = "gpuledger_gpu_energy_joules_total", Counter, "joules",
        "Energy of a GPU in the ledger: by its hardware counter, or estimated from power where there is none.";
    GPU_STATE = "gpuledger_gpu_state_seconds_total", Counter, "seconds",
        "Observed time of a GPU in the ledger by state: active, held_idle, free or down.";
    FLEET_NODES = "gpuledger_fleet_nodes", Gauge, "",
        "Nodes that report at present.";
    FLEET_GPUS = "gpuledger_fleet_gpus", Gauge, "",
        "GPUs of the nodes that report at present.";
    FLEET_GPUS_REGISTERED = "gpuledger_fleet_gpus_registered", Gauge, "",
        "GPUs that the ledger has ever seen.";
    FLEET_ENERGY = "gpuledger_fleet_energy_joules_total", Counter, "joules",
        "Energy of all GPUs in the ledger by source: counted by hardware, or estimated from power.";
    FLEET_ENERGY_GAP = "gpuledger_fleet_energy_gap_joules_total", Counter, "joules",
        "The part of the counted energy that was used while nobody looked.";
    FLEET_STATE = "gpuledger_fleet_state_seconds_total", Counter, "seconds",
        "Observed time of all GPUs in the ledger by state: active, held_idle, free or down.";

    COST_MONTH = "gpuledger_cost_month_to_date", Gauge, "",
        "Cost of this month so far, in the currency that the label names, by node and component.";
    COST_RATE = "gpuledger_cost_per_gpu_hour", Gauge, "",
        "Cost of one GPU-hour of this month by basis: in_service, active, or owned by somebody.";
    COST_NODE_RATE = "gpuledger_cost_node_per_gpu_hour", Gauge, "",
        "Cost of one GPU-hour of this month on a node by basis: in_service, active, or owned by somebody.";
    COST_STATE = "gpuledger_cost_month_to_date_state_seconds", Gauge, "seconds",
        "GPU time of this month by node and state; unmonitored is time in service that nobody observed.";
    COST_ENERGY = "gpuledger_cost_month_to_date_energy_joules", Gauge, "joules",
        "Energy of this month at the wall of a node, before PUE.";
    COST_CARBON = "gpuledger_cost_month_to_date_carbon_grams", Gauge, "grams",
        "Emissions of this month, PUE included; no sample where the site has no carbon intensity.";
    COST_COVERAGE = "gpuledger_cost_coverage_ratio", Gauge, "ratio",
        "What of this month was measured: observed time, energy counted by hardware, energy used in gaps.";
    RENT_PRICE = "gpuledger_rent_price_per_gpu_hour", Gauge, "",
        "Rent of one GPU for one hour at an offer, in the currency that the label names.";
    RENT_SAME_CAPACITY = "gpuledger_rent_same_capacity_month_to_date", Gauge, "",
        "What all GPU-hours in service of this month would have cost to rent.";
    RENT_SAME_WORK = "gpuledger_rent_same_work_month_to_date", Gauge, "",
        "What the GPU-hours of this month that somebody owned would have cost to rent.";
    RENT_OWN = "gpuledger_rent_own_cost_month_to_date", Gauge, "",
        "Own cost of the GPUs of a model this month, to compare with renting.";
    RENT_BREAK_EVEN = "gpuledger_rent_break_even_utilization_ratio", Gauge, "ratio",
        "Share of hours in use above which owning is cheaper than an offer; above 1 renting always is.";
    RENT_UTILIZATION = "gpuledger_rent_utilization_ratio", Gauge, "ratio",
        "Share of the hours of this month that somebody owned, by model.";
    COST_COMPUTED = "gpuledger_cost_computed_timestamp_seconds", Gauge, "seconds",
        "When the cost of the month was last computed.";

    STREAMS = "gpuledger_collector_streams", Gauge, "",
        "Streams of agents that are open.";
    STREAMS_OPENED = "gpuledger_collector_streams_opened_total", Counter, "",
        "Streams of agents that were opened.";
    BATCHES = "gpuledger_collector_batches_total", Counter, "",
        "Batches by outcome: folded, repeated (known already and not counted again), dropped (missing at the agent), or refused for what is in them.";
    POINTS = "gpuledger_collector_points_total", Counter, "",
        "Readings in folded batches, absent ones included.";
    COMMITS = "gpuledger_collector_commits_total", Counter, "",
        "Commits of a node to the ledger by outcome: committed, moved (another collector was first) or failed.";
    COMMIT_SECONDS = "gpuledger_collector_commit_duration_seconds", Histogram, "seconds",
        "Time that one transaction of the ledger takes.";
    NODES_CONTESTED = "gpuledger_collector_nodes_contested_total", Counter, "",
        "Times that streams of one node replaced each other so often that two agents seem to have its name.";
    GPUS_MOVED = "gpuledger_collector_gpus_moved_total", Counter, "",
        "GPUs that a node took over from another one that reported them before.";
    REFUSALS = "gpuledger_collector_refusals_total", Counter, "",
        "Streams that were refused by reason: moved, invalid or unavailable.";
    LIMITS = "gpuledger_collector_limits_broken_total", Counter, "",
        "Streams that were refused because the peer broke a limit, by limit.";
    CONNECTIONS = "gpuledger_collector_connections", Gauge, "",
        "Connections of agents that are open, those whose handshake is still under way included.";
    CONNECTIONS_REFUSED = "gpuledger_collector_connections_refused_total", Counter, "",
        "Connections that were turned away or cut off, by reason.";
    CERTIFICATE_EXPIRY = "gpuledger_collector_certificate_expiry_timestamp_seconds", Gauge, "seconds",
        "Last second in which the collector's certificate and its CA's are valid; none in plain text.";
    LEDGER_BYTES = "gpuledger_collector_ledger_bytes", Gauge, "bytes",
        "Size of the ledger's store: the SQLite file with its log, or the database.";
    ARCHIVE_BYTES = "gpuledger_archive_bytes", Gauge, "bytes",
        "Size of the files of closed days.";
    ARCHIVE_ROUNDS = "gpuledger_archive_rounds_total", Counter, "",
        "Rounds of closing days by outcome: done or failed.";
    ARCHIVE_WRITTEN = "gpuledger_archive_files_written_total", Counter, "",
        "Files written for days that were closed.";
    ARCHIVE_ROWS = "gpuledger_archive_rows_written_total", Counter, "",
        "Rows that left the ledger's store for files of closed days.";
    ARCHIVE_WRITTEN_BYTES = "gpuledger_archive_written_bytes_total", Counter, "bytes",
        "Bytes written into files of closed days.";
    ARCHIVE_REMOVED = "gpuledger_archive_files_removed_total", Counter, "",
        "Superseded files of closed days that were removed.";
    ARCHIVE_EXPIRED = "gpuledger_archive_files_expired_total", Counter, "",
        "Files of closed days that were older than what is kept.";
    ARCHIVE_UNKNOWN = "gpuledger_archive_files_unknown", Gauge, "",
        "Files in the archive that the ledger does not know, which only gpuledger gc removes.";
    ARCHIVE_LAST_SUCCESS = "gpuledger_archive_last_success_timestamp_seconds", Gauge, "seconds",
        "When a round of closing days last did all that there was to do.";
    REFRESH_FAILURES = "gpuledger_collector_refresh_failures_total", Counter, "",
        "Times that totals or costs could not be read anew; the exposition then keeps the older ones.";
    BUILD_INFO = "gpuledger_collector_build_info", Gauge, "",
        "Version of the collector.";

    REMOTE_WRITE_SAMPLES = "gpuledger_remote_write_samples_total", Counter, "",
        "Samples that the remote write receiver has taken, stale markers included.";
    REMOTE_WRITE_DROPPED = "gpuledger_remote_write_dropped_total", Counter, "",
        "Samples that remote write gave up by reason: refused, in_doubt (refused when sent again: most likely stored), not_written, or ahead (of the clock).";
    REMOTE_WRITE_BATCHES_DROPPED = "gpuledger_remote_write_dropped_batches_total", Counter, "",
        "Batches that never came to be samples by reason: queue_full, queue_failed (not written) or unreadable.";
    REMOTE_WRITE_RETRIED = "gpuledger_remote_write_retried_total", Counter, "",
        "Requests of remote write that were sent again.";
    REMOTE_WRITE_FAILED = "gpuledger_remote_write_failed_total", Counter, "",
        "Requests of remote write that the receiver did not take, those that were sent again included.";
    REMOTE_WRITE_QUEUE = "gpuledger_remote_write_queue_bytes", Gauge, "bytes",
        "Batches that wait on the disk for the remote write receiver.";
    REMOTE_WRITE_AGE = "gpuledger_remote_write_queue_age_seconds", Gauge, "seconds",
        "How long the oldest batch has waited for the remote write receiver; 0 while none does.";
    REMOTE_WRITE_LAST_SUCCESS = "gpuledger_remote_write_last_success_timestamp_seconds", Gauge, "seconds",
        "When the remote write receiver last took samples; 0 before the first time.";

    PROCESS_CPU = "process_cpu_seconds_total", Counter, "seconds",
        "Total user and system CPU time spent in seconds.";
    PROCESS_RESIDENT = "process_resident_memory_bytes", Gauge, "bytes",
        "Resident memory size in bytes.";
    PROCESS_VIRTUAL = "process_virtual_memory_bytes", Gauge, "bytes",
        "Virtual memory size in bytes.";
    PROCESS_OPEN_FDS = "process_open_fds", Gauge, "",
        "Number of open file descriptors.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, "",
        "Maximum number of open file descriptors.";
    PROCESS_THREADS = "process_threads", Gauge, "",
        "Number of threads of the process.";
    PROCESS_START = "process_start_time_seconds", Gauge, "seconds",
        "Start time of the process since unix epoch in seconds.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue::CATALOGUE;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_also_against_the_catalogue() {
        let ours = FAMILIES.iter().map(|f| f.name);
        let names: Vec<_> = ours.chain(CATALOGUE.iter().filter_map(|m| m.prometheus)).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn names_end_in_their_unit_and_counters_in_total() {
        for family in FAMILIES {
            assert_eq!(family.name.ends_with("_total"), family.kind == Type::Counter, "{}", family.name);
            assert!(family.name.trim_end_matches("_total").ends_with(family.unit), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains(['\\', '\n']), "{}", family.name);
        }
    }
}
