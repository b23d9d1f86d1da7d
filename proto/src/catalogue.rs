//! Every metric, declared once. The wire takes its number from here, the exporters their name, type
//! and help, the dashboard test the list of what exists.
//!
//! Invariants: a number is never used again; a metric's unit and kind never change (a change is a
//! new metric); the table is sorted by number.

/// What a metric is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The node: position 0 of a batch.
    Node,
    /// One GPU.
    Gpu,
}

/// How the values of a metric behave, which decides how they are encoded and exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only rises, until it is reset.
    Counter,
    /// A code or a bit mask: the number is a name, not a quantity.
    State,
}

/// The integer unit on wire and disk, with the factor to the base unit that Prometheus wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Millijoules,
    Milliwatts,
    Millicelsius,
    Ppm,
    Bytes,
    Kilohertz,
    Millis,
    Count,
    Code,
}

impl Unit {
    /// The unit's name for people.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Millijoules => "mJ",
            Self::Milliwatts => "mW",
            Self::Millicelsius => "m°C",
            Self::Ppm => "ppm",
            Self::Bytes => "B",
            Self::Kilohertz => "kHz",
            Self::Millis => "ms",
            Self::Count | Self::Code => "",
        }
    }

    /// How many decimal places lie between the integer and Prometheus' base unit; negative where
    /// the base unit is the smaller one (kHz to hertz).
    pub const fn base_decimals(self) -> i8 {
        match self {
            Self::Millijoules | Self::Milliwatts | Self::Millicelsius | Self::Millis => 3,
            Self::Ppm => 6,
            Self::Bytes | Self::Count | Self::Code => 0,
            Self::Kilohertz => -3,
        }
    }
}

/// A metric's number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricId(pub u16);

/// One entry of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub id: MetricId,
    /// Name within gpuledger: configuration, `probe`, documentation.
    pub name: &'static str,
    pub scope: Scope,
    pub kind: Kind,
    pub unit: Unit,
    /// Name in Prometheus, unit suffix included; `None` where the number means nothing by itself.
    pub prometheus: Option<&'static str>,
    /// One sentence, as Prometheus' HELP line.
    pub help: &'static str,
    /// First version that has it.
    pub added_in: &'static str,
}

macro_rules! catalogue {
    ($( $const:ident = $id:literal, $name:literal, $scope:ident, $kind:ident, $unit:ident, $prometheus:expr, $help:literal, $added:literal; )*) => {
        $(
            #[doc = $help]
            pub const $const: MetricId = MetricId($id);
        )*

        /// The whole catalogue, by number.
        pub const CATALOGUE: &[Metric] = &[
            $( Metric {
                id: $const, name: $name, scope: Scope::$scope, kind: Kind::$kind, unit: Unit::$unit,
                prometheus: $prometheus, help: $help, added_in: $added,
            }, )*
        ];
    };
}

catalogue! {
    GPU_UP = 1, "gpu_up", Gpu, State, Code, Some("gpuledger_gpu_up"),
        "1 while the GPU answers, 0 while it is lost or hangs.", "0.1.0";
    GPU_ENERGY = 2, "gpu_energy", Gpu, Counter, Millijoules, Some("gpuledger_gpu_hardware_energy_joules_total"),
        "Energy by the GPU's hardware counter since the driver was loaded or the GPU was reset.", "0.1.0";
    GPU_ENERGY_INTEGRATED = 3, "gpu_energy_integrated", Gpu, Counter, Millijoules, Some("gpuledger_gpu_energy_integrated_joules_total"),
        "Energy integrated from power readings since the agent started.", "0.1.0";
    GPU_POWER_AVERAGE = 4, "gpu_power_average", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_power_watts"),
        "Power draw as the driver averages it, over one second on most GPUs.", "0.1.0";
    GPU_POWER_INSTANT = 5, "gpu_power_instant", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_power_instant_watts"),
        "Power draw at the moment of the reading.", "0.1.0";
    GPU_POWER_LIMIT = 6, "gpu_power_limit", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_power_limit_watts"),
        "Power limit that is enforced.", "0.1.0";
    GPU_TEMPERATURE = 7, "gpu_temperature", Gpu, Gauge, Millicelsius, Some("gpuledger_gpu_temperature_celsius"),
        "Temperature of the GPU core.", "0.1.0";
    GPU_TEMPERATURE_MEMORY = 8, "gpu_temperature_memory", Gpu, Gauge, Millicelsius, Some("gpuledger_gpu_memory_temperature_celsius"),
        "Temperature of the GPU memory.", "0.1.0";
    GPU_UTILIZATION = 9, "gpu_utilization", Gpu, Gauge, Ppm, Some("gpuledger_gpu_utilization_ratio"),
        "Share of the last sampling period in which at least one kernel ran.", "0.1.0";
    GPU_UTILIZATION_MEMORY = 10, "gpu_utilization_memory", Gpu, Gauge, Ppm, Some("gpuledger_gpu_memory_utilization_ratio"),
        "Share of the last sampling period in which GPU memory was read or written.", "0.1.0";
    GPU_MEMORY_USED = 11, "gpu_memory_used", Gpu, Gauge, Bytes, Some("gpuledger_gpu_memory_used_bytes"),
        "GPU memory in use, without what the driver reserves.", "0.1.0";
    GPU_MEMORY_TOTAL = 12, "gpu_memory_total", Gpu, Gauge, Bytes, Some("gpuledger_gpu_memory_total_bytes"),
        "GPU memory installed.", "0.1.0";
    GPU_CLOCK_SM = 13, "gpu_clock_sm", Gpu, Gauge, Kilohertz, Some("gpuledger_gpu_sm_clock_hertz"),
        "Clock of the streaming multiprocessors.", "0.1.0";
    GPU_CLOCK_MEMORY = 14, "gpu_clock_memory", Gpu, Gauge, Kilohertz, Some("gpuledger_gpu_memory_clock_hertz"),
        "Clock of the GPU memory.", "0.1.0";
    GPU_THROTTLE_REASONS = 15, "gpu_throttle_reasons", Gpu, State, Code, Some("gpuledger_gpu_throttle_reasons"),
        "Why clocks are below their maximum: NVML's bit mask of clock event reasons.", "0.1.0";
    GPU_PERFORMANCE_STATE = 16, "gpu_performance_state", Gpu, State, Code, Some("gpuledger_gpu_performance_state"),
        "Performance state: 0 is the highest, 15 the lowest.", "0.1.0";
    GPU_ECC_CORRECTED = 17, "gpu_ecc_corrected", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_corrected_errors_total"),
        "Memory errors corrected over the GPU's life (aggregate counter).", "0.1.0";
    GPU_ECC_UNCORRECTED = 18, "gpu_ecc_uncorrected", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_uncorrected_errors_total"),
        "Memory errors that could not be corrected over the GPU's life (aggregate counter).", "0.1.0";
    GPU_PROCESSES = 19, "gpu_processes", Gpu, Gauge, Count, Some("gpuledger_gpu_processes"),
        "Compute processes that hold the GPU.", "0.1.0";
    GPU_HOLDER = 20, "gpu_holder", Gpu, State, Code, None,
        "Who holds the GPU: 0 is nobody, n the n-th holding that the batch names.", "0.1.0";

    NODE_CPU = 64, "node_cpu", Node, Gauge, Ppm, Some("gpuledger_node_cpu_utilization_ratio"),
        "Share of all logical CPUs that was busy since the reading before.", "0.1.0";
    NODE_MEMORY_USED = 65, "node_memory_used", Node, Gauge, Bytes, Some("gpuledger_node_memory_used_bytes"),
        "Host memory in use: total less what is available.", "0.1.0";
    NODE_MEMORY_TOTAL = 66, "node_memory_total", Node, Gauge, Bytes, Some("gpuledger_node_memory_total_bytes"),
        "Host memory installed.", "0.1.0";
    NODE_DISK_READ = 67, "node_disk_read", Node, Counter, Bytes, Some("gpuledger_node_disk_read_bytes_total"),
        "Bytes read from block devices since boot.", "0.1.0";
    NODE_DISK_WRITTEN = 68, "node_disk_written", Node, Counter, Bytes, Some("gpuledger_node_disk_written_bytes_total"),
        "Bytes written to block devices since boot.", "0.1.0";
    NODE_NETWORK_RECEIVED = 69, "node_network_received", Node, Counter, Bytes, Some("gpuledger_node_network_receive_bytes_total"),
        "Bytes received on all interfaces but the loopback since boot.", "0.1.0";
    NODE_NETWORK_SENT = 70, "node_network_sent", Node, Counter, Bytes, Some("gpuledger_node_network_transmit_bytes_total"),
        "Bytes sent on all interfaces but the loopback since boot.", "0.1.0";
    NODE_POWER = 71, "node_power", Node, Gauge, Milliwatts, Some("gpuledger_node_power_watts"),
        "Power draw of the whole node.", "0.1.0";
    NODE_ENERGY_INTEGRATED = 72, "node_energy_integrated", Node, Counter, Millijoules, Some("gpuledger_node_energy_integrated_joules_total"),
        "Energy of the whole node, integrated from power readings since they began.", "0.1.0";
    NODE_SPOOL = 73, "node_spool", Node, Gauge, Bytes, Some("gpuledger_node_spool_bytes"),
        "Bytes that wait in the agent's spool.", "0.1.0";
    NODE_SPOOL_DROPPED = 74, "node_spool_dropped", Node, Counter, Count, Some("gpuledger_node_spool_dropped_batches_total"),
        "Batches that the agent dropped because its spool was full, since it started.", "0.1.0";
    NODE_AGENT_MEMORY = 75, "node_agent_memory", Node, Gauge, Bytes, Some("gpuledger_node_agent_resident_memory_bytes"),
        "Resident memory of the agent.", "0.1.0";
    NODE_ENERGY = 76, "node_energy", Node, Counter, Millijoules, Some("gpuledger_node_meter_energy_joules_total"),
        "Energy of the whole node by a meter's own counter.", "0.1.0";
}

/// The entry with this number, or `None` for a metric of a newer version.
pub fn metric(id: MetricId) -> Option<&'static Metric> {
    CATALOGUE.binary_search_by_key(&id, |m| m.id).ok().map(|position| &CATALOGUE[position])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_sorted() {
        assert!(CATALOGUE.windows(2).all(|w| w[0].id < w[1].id));
        let mut names: Vec<_> = CATALOGUE.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn prometheus_names_follow_its_conventions() {
        for m in CATALOGUE {
            let Some(name) = m.prometheus else { continue };
            assert!(name.starts_with("gpuledger_"), "{name}");
            assert!(
                !["_counter_", "_gauge_", "_histogram_"].iter().any(|kind| name.contains(kind)),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), m.kind == Kind::Counter, "{name}");
            let suffix = match m.unit {
                Unit::Millijoules => "_joules",
                Unit::Milliwatts => "_watts",
                Unit::Millicelsius => "_celsius",
                Unit::Ppm => "_ratio",
                Unit::Bytes => "_bytes",
                Unit::Kilohertz => "_hertz",
                Unit::Millis => "_seconds",
                Unit::Count | Unit::Code => "",
            };
            assert!(name.trim_end_matches("_total").ends_with(suffix) || suffix.is_empty(), "{name}");
            assert!(m.help.ends_with('.'), "{}", m.name);
        }
    }
}
