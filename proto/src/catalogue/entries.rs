//! The entries of the catalogue, in the order of their numbers. What is declared here is measured, sent,
//! stored and exported under these names; nothing else has to know of a metric but its source.
//!
//! Numbers below 64 and from 128 on belong to GPUs, those from 64 to 127 to the node.

use super::{Kind, Metric, MetricId, Scope, Unit};

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
    NODE_LOAD = 77, "node_load", Node, Gauge, Ppm, Some("gpuledger_node_load1_ratio"),
        "Processes that run or wait to run, in the mean of a minute.", "0.1.0";
    NODE_TEMPERATURE_CPU = 78, "node_temperature_cpu", Node, Gauge, Millicelsius, Some("gpuledger_node_cpu_temperature_celsius"),
        "Temperature of the hottest CPU sensor.", "0.1.0";
    NODE_ENERGY_CPU = 79, "node_energy_cpu", Node, Counter, Millijoules, Some("gpuledger_node_cpu_energy_joules_total"),
        "Energy of all CPU packages by their own counters (RAPL), since the agent started.", "0.1.0";
    NODE_ENERGY_MEMORY = 80, "node_energy_memory", Node, Counter, Millijoules, Some("gpuledger_node_memory_energy_joules_total"),
        "Energy of host memory by its own counters (RAPL), since the agent started.", "0.1.0";
    NODE_ENERGY_PLATFORM = 81, "node_energy_platform", Node, Counter, Millijoules, Some("gpuledger_node_platform_energy_joules_total"),
        "Energy of the platform by its own counter (RAPL psys), since the agent started.", "0.1.0";
    NODE_POWER_SOURCE = 82, "node_power_source", Node, State, Code, Some("gpuledger_node_power_source"),
        "What the node's power is read from: 1 is the BMC (IPMI DCMI), 2 an ACPI power meter, 3 RAPL psys.", "0.1.0";
    NODE_POWER_ESTIMATED = 83, "node_power_estimated", Node, Gauge, Milliwatts, Some("gpuledger_node_power_estimated_watts"),
        "Power of the node as estimated from its GPUs, CPUs and memory where no sensor measures the whole; never billed.", "0.1.0";
    NODE_POWER_UNEXPLAINED = 84, "node_power_unexplained", Node, Gauge, Milliwatts, Some("gpuledger_node_power_unexplained_watts"),
        "Measured power of the node less that of its GPUs, and less CPUs and memory where they have counters: fans, disks, losses.", "0.1.0";

    GPU_POWER_MEMORY = 128, "gpu_power_memory", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_memory_power_watts"),
        "Power draw of the GPU memory, a part of the power of the GPU.", "0.1.0";
    GPU_POWER_MODULE = 129, "gpu_power_module", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_module_power_watts"),
        "Power draw of the whole module, its CPU included: never to be added to the power of the host.", "0.1.0";
    GPU_POWER_LIMIT_MIN = 130, "gpu_power_limit_min", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_power_limit_min_watts"),
        "Lowest power limit that may be set.", "0.1.0";
    GPU_POWER_LIMIT_MAX = 131, "gpu_power_limit_max", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_power_limit_max_watts"),
        "Highest power limit that may be set.", "0.1.0";
    GPU_POWER_LIMIT_DEFAULT = 132, "gpu_power_limit_default", Gpu, Gauge, Milliwatts, Some("gpuledger_gpu_power_limit_default_watts"),
        "Power limit after a start of the driver.", "0.1.0";
    GPU_ENERGY_AGREEMENT = 133, "gpu_energy_agreement", Gpu, Gauge, Ppm, Some("gpuledger_gpu_energy_agreement_ratio"),
        "Energy by the hardware counter over energy integrated from power, over the last ten minutes.", "0.1.0";
    GPU_TEMPERATURE_MARGIN = 134, "gpu_temperature_margin", Gpu, Gauge, Millicelsius, Some("gpuledger_gpu_temperature_margin_celsius"),
        "Degrees left until the GPU slows down: a distance, not a temperature.", "0.1.0";
    GPU_TEMPERATURE_SLOWDOWN = 135, "gpu_temperature_slowdown", Gpu, Gauge, Millicelsius, Some("gpuledger_gpu_slowdown_temperature_celsius"),
        "Core temperature at which the GPU slows down.", "0.1.0";
    GPU_TEMPERATURE_SHUTDOWN = 136, "gpu_temperature_shutdown", Gpu, Gauge, Millicelsius, Some("gpuledger_gpu_shutdown_temperature_celsius"),
        "Core temperature at which the GPU shuts down.", "0.1.0";
    GPU_TEMPERATURE_MEMORY_MAX = 137, "gpu_temperature_memory_max", Gpu, Gauge, Millicelsius, Some("gpuledger_gpu_memory_max_temperature_celsius"),
        "Memory temperature at which the GPU slows down.", "0.1.0";
    GPU_UTILIZATION_ENCODER = 138, "gpu_utilization_encoder", Gpu, Gauge, Ppm, Some("gpuledger_gpu_encoder_utilization_ratio"),
        "Share of the last sampling period in which the encoder was busy.", "0.1.0";
    GPU_UTILIZATION_DECODER = 139, "gpu_utilization_decoder", Gpu, Gauge, Ppm, Some("gpuledger_gpu_decoder_utilization_ratio"),
        "Share of the last sampling period in which the decoder was busy.", "0.1.0";
    GPU_UTILIZATION_JPEG = 140, "gpu_utilization_jpeg", Gpu, Gauge, Ppm, Some("gpuledger_gpu_jpeg_utilization_ratio"),
        "Share of the last sampling period in which the JPEG decoder was busy.", "0.1.0";
    GPU_UTILIZATION_OFA = 141, "gpu_utilization_ofa", Gpu, Gauge, Ppm, Some("gpuledger_gpu_ofa_utilization_ratio"),
        "Share of the last sampling period in which the optical flow accelerator was busy.", "0.1.0";
    GPU_MEMORY_RESERVED = 142, "gpu_memory_reserved", Gpu, Gauge, Bytes, Some("gpuledger_gpu_memory_reserved_bytes"),
        "GPU memory that the driver keeps for itself.", "0.1.0";
    GPU_CLOCK_GRAPHICS = 143, "gpu_clock_graphics", Gpu, Gauge, Kilohertz, Some("gpuledger_gpu_graphics_clock_hertz"),
        "Clock of the graphics engine.", "0.1.0";
    GPU_CLOCK_VIDEO = 144, "gpu_clock_video", Gpu, Gauge, Kilohertz, Some("gpuledger_gpu_video_clock_hertz"),
        "Clock of the video engines.", "0.1.0";
    GPU_CLOCK_SM_MAX = 145, "gpu_clock_sm_max", Gpu, Gauge, Kilohertz, Some("gpuledger_gpu_sm_max_clock_hertz"),
        "Highest clock of the streaming multiprocessors.", "0.1.0";
    GPU_CLOCK_MEMORY_MAX = 146, "gpu_clock_memory_max", Gpu, Gauge, Kilohertz, Some("gpuledger_gpu_memory_max_clock_hertz"),
        "Highest clock of the GPU memory.", "0.1.0";
    GPU_GRAPHICS_ACTIVE = 147, "gpu_graphics_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_graphics_active_ratio"),
        "Share of time in which any compute or graphics engine was active.", "0.1.0";
    GPU_SM_ACTIVE = 148, "gpu_sm_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_sm_active_ratio"),
        "Share of time, mean of all streaming multiprocessors, in which one had at least one warp assigned.", "0.1.0";
    GPU_SM_OCCUPANCY = 149, "gpu_sm_occupancy", Gpu, Gauge, Ppm, Some("gpuledger_gpu_sm_occupancy_ratio"),
        "Warps that were resident on the streaming multiprocessors, of all that have room.", "0.1.0";
    GPU_TENSOR_ACTIVE = 150, "gpu_tensor_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_tensor_active_ratio"),
        "Share of time in which the tensor pipes were active.", "0.1.0";
    GPU_FP64_ACTIVE = 151, "gpu_fp64_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_fp64_active_ratio"),
        "Share of time in which the FP64 pipe was active.", "0.1.0";
    GPU_FP32_ACTIVE = 152, "gpu_fp32_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_fp32_active_ratio"),
        "Share of time in which the FP32 pipe was active.", "0.1.0";
    GPU_FP16_ACTIVE = 153, "gpu_fp16_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_fp16_active_ratio"),
        "Share of time in which the FP16 pipe was active.", "0.1.0";
    GPU_INTEGER_ACTIVE = 154, "gpu_integer_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_integer_active_ratio"),
        "Share of time in which the integer pipe was active.", "0.1.0";
    GPU_DRAM_ACTIVE = 155, "gpu_dram_active", Gpu, Gauge, Ppm, Some("gpuledger_gpu_dram_active_ratio"),
        "Share of the bandwidth of the GPU memory that was used.", "0.1.0";
    GPU_PCIE_SENT_RATE = 156, "gpu_pcie_sent_rate", Gpu, Gauge, BytesPerSecond, Some("gpuledger_gpu_pcie_transmit_bytes_per_second"),
        "Bytes a second that the GPU sent over PCI Express between two samples.", "0.1.0";
    GPU_PCIE_RECEIVED_RATE = 157, "gpu_pcie_received_rate", Gpu, Gauge, BytesPerSecond, Some("gpuledger_gpu_pcie_receive_bytes_per_second"),
        "Bytes a second that the GPU received over PCI Express between two samples.", "0.1.0";
    GPU_NVLINK_SENT_RATE = 158, "gpu_nvlink_sent_rate", Gpu, Gauge, BytesPerSecond, Some("gpuledger_gpu_nvlink_transmit_bytes_per_second"),
        "Bytes a second that the GPU sent over NVLink between two samples.", "0.1.0";
    GPU_NVLINK_RECEIVED_RATE = 159, "gpu_nvlink_received_rate", Gpu, Gauge, BytesPerSecond, Some("gpuledger_gpu_nvlink_receive_bytes_per_second"),
        "Bytes a second that the GPU received over NVLink between two samples.", "0.1.0";
    GPU_THROTTLED_POWER = 160, "gpu_throttled_power", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_power_seconds_total"),
        "Time in which the clock was held down by its power limit, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_THERMAL = 161, "gpu_throttled_thermal", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_thermal_seconds_total"),
        "Time in which the clock was held down by its temperature, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_SYNC_BOOST = 162, "gpu_throttled_sync_boost", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_sync_boost_seconds_total"),
        "Time in which the clock was held down by a group of GPUs that keep one clock, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_BOARD_LIMIT = 163, "gpu_throttled_board_limit", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_board_limit_seconds_total"),
        "Time in which the clock was held down by a limit of the board, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_RELIABILITY = 164, "gpu_throttled_reliability", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_reliability_seconds_total"),
        "Time in which the clock was held down by the voltage that is reliable, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_SW_THERMAL = 165, "gpu_throttled_sw_thermal", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_sw_thermal_seconds_total"),
        "Time in which the clock was held down by the driver because of its temperature, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_HW_THERMAL = 166, "gpu_throttled_hw_thermal", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_hw_thermal_seconds_total"),
        "Time in which the clock was held down by the hardware because of its temperature, since the driver was loaded.", "0.1.0";
    GPU_THROTTLED_POWER_BRAKE = 167, "gpu_throttled_power_brake", Gpu, Counter, Millis, Some("gpuledger_gpu_throttled_power_brake_seconds_total"),
        "Time in which the clock was held down by a signal of the power supply, since the driver was loaded.", "0.1.0";
    GPU_ECC_MODE = 168, "gpu_ecc_mode", Gpu, State, Code, Some("gpuledger_gpu_ecc_mode"),
        "1 where memory errors are corrected, 0 where ECC is off.", "0.1.0";
    GPU_ECC_CORRECTED_VOLATILE = 169, "gpu_ecc_corrected_volatile", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_volatile_corrected_errors_total"),
        "Memory errors corrected since the driver was loaded.", "0.1.0";
    GPU_ECC_UNCORRECTED_VOLATILE = 170, "gpu_ecc_uncorrected_volatile", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_volatile_uncorrected_errors_total"),
        "Memory errors that could not be corrected since the driver was loaded.", "0.1.0";
    GPU_ECC_CORRECTED_DRAM = 171, "gpu_ecc_corrected_dram", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_dram_corrected_errors_total"),
        "Errors in the GPU memory that were corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_UNCORRECTED_DRAM = 172, "gpu_ecc_uncorrected_dram", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_dram_uncorrected_errors_total"),
        "Errors in the GPU memory that could not be corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_CORRECTED_SRAM = 173, "gpu_ecc_corrected_sram", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_sram_corrected_errors_total"),
        "Errors in all SRAM of the chip that were corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_UNCORRECTED_SRAM = 174, "gpu_ecc_uncorrected_sram", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_sram_uncorrected_errors_total"),
        "Errors in all SRAM of the chip that could not be corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_CORRECTED_L1 = 175, "gpu_ecc_corrected_l1", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_l1_corrected_errors_total"),
        "Errors in the L1 caches that were corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_UNCORRECTED_L1 = 176, "gpu_ecc_uncorrected_l1", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_l1_uncorrected_errors_total"),
        "Errors in the L1 caches that could not be corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_CORRECTED_L2 = 177, "gpu_ecc_corrected_l2", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_l2_corrected_errors_total"),
        "Errors in the L2 cache that were corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_UNCORRECTED_L2 = 178, "gpu_ecc_uncorrected_l2", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_l2_uncorrected_errors_total"),
        "Errors in the L2 cache that could not be corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_CORRECTED_REGISTER = 179, "gpu_ecc_corrected_register", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_register_corrected_errors_total"),
        "Errors in the register files that were corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_UNCORRECTED_REGISTER = 180, "gpu_ecc_uncorrected_register", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_register_uncorrected_errors_total"),
        "Errors in the register files that could not be corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_CORRECTED_TEXTURE = 181, "gpu_ecc_corrected_texture", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_texture_corrected_errors_total"),
        "Errors in the texture memory that were corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_UNCORRECTED_TEXTURE = 182, "gpu_ecc_uncorrected_texture", Gpu, Counter, Count, Some("gpuledger_gpu_ecc_texture_uncorrected_errors_total"),
        "Errors in the texture memory that could not be corrected over the life of the GPU.", "0.1.0";
    GPU_ECC_SRAM_THRESHOLD = 183, "gpu_ecc_sram_threshold", Gpu, State, Code, Some("gpuledger_gpu_ecc_sram_threshold_exceeded"),
        "1 where so many SRAM errors occurred that the GPU should be replaced.", "0.1.0";
    GPU_RETIRED_PAGES_CORRECTED = 184, "gpu_retired_pages_corrected", Gpu, Counter, Count, Some("gpuledger_gpu_retired_pages_corrected_total"),
        "Pages of memory retired because of repeated errors that were corrected.", "0.1.0";
    GPU_RETIRED_PAGES_UNCORRECTED = 185, "gpu_retired_pages_uncorrected", Gpu, Counter, Count, Some("gpuledger_gpu_retired_pages_uncorrected_total"),
        "Pages of memory retired because of an error that could not be corrected.", "0.1.0";
    GPU_RETIRED_PAGES_PENDING = 186, "gpu_retired_pages_pending", Gpu, State, Code, Some("gpuledger_gpu_retired_pages_pending"),
        "1 while pages wait for a reboot to be retired.", "0.1.0";
    GPU_REMAPPED_ROWS_CORRECTED = 187, "gpu_remapped_rows_corrected", Gpu, Counter, Count, Some("gpuledger_gpu_remapped_rows_corrected_total"),
        "Rows of memory remapped because of errors that were corrected.", "0.1.0";
    GPU_REMAPPED_ROWS_UNCORRECTED = 188, "gpu_remapped_rows_uncorrected", Gpu, Counter, Count, Some("gpuledger_gpu_remapped_rows_uncorrected_total"),
        "Rows of memory remapped because of errors that could not be corrected.", "0.1.0";
    GPU_REMAPPED_ROWS_PENDING = 189, "gpu_remapped_rows_pending", Gpu, State, Code, Some("gpuledger_gpu_remapped_rows_pending"),
        "1 while rows wait for a reset to be remapped.", "0.1.0";
    GPU_REMAPPED_ROWS_FAILED = 190, "gpu_remapped_rows_failed", Gpu, State, Code, Some("gpuledger_gpu_remapped_rows_failed"),
        "1 where a row could not be remapped: the GPU should be replaced.", "0.1.0";
    GPU_NVLINKS = 191, "gpu_nvlinks", Gpu, Gauge, Count, Some("gpuledger_gpu_nvlinks"),
        "Links of NVLink that the GPU has.", "0.1.0";
    GPU_NVLINKS_ACTIVE = 192, "gpu_nvlinks_active", Gpu, Gauge, Count, Some("gpuledger_gpu_nvlinks_active"),
        "Links of NVLink that are up.", "0.1.0";
    GPU_NVLINK_REPLAY = 193, "gpu_nvlink_replay", Gpu, Counter, Count, Some("gpuledger_gpu_nvlink_replay_errors_total"),
        "NVLink replays, all links together.", "0.1.0";
    GPU_NVLINK_RECOVERY = 194, "gpu_nvlink_recovery", Gpu, Counter, Count, Some("gpuledger_gpu_nvlink_recovery_errors_total"),
        "NVLink recoveries, all links together.", "0.1.0";
    GPU_NVLINK_CRC_FLIT = 195, "gpu_nvlink_crc_flit", Gpu, Counter, Count, Some("gpuledger_gpu_nvlink_crc_flit_errors_total"),
        "NVLink checksum errors of flow control units, all links together.", "0.1.0";
    GPU_NVLINK_CRC_DATA = 196, "gpu_nvlink_crc_data", Gpu, Counter, Count, Some("gpuledger_gpu_nvlink_crc_data_errors_total"),
        "NVLink checksum errors of data, all links together.", "0.1.0";
    GPU_NVLINK_SENT = 197, "gpu_nvlink_sent", Gpu, Counter, Bytes, Some("gpuledger_gpu_nvlink_transmit_bytes_total"),
        "Data bytes that the GPU sent over NVLink, all links together.", "0.1.0";
    GPU_NVLINK_RECEIVED = 198, "gpu_nvlink_received", Gpu, Counter, Bytes, Some("gpuledger_gpu_nvlink_receive_bytes_total"),
        "Data bytes that the GPU received over NVLink, all links together.", "0.1.0";
    GPU_PCIE_GENERATION = 199, "gpu_pcie_generation", Gpu, Gauge, Count, Some("gpuledger_gpu_pcie_link_generation"),
        "Generation of PCI Express that the link runs at; idle GPUs lower it.", "0.1.0";
    GPU_PCIE_WIDTH = 200, "gpu_pcie_width", Gpu, Gauge, Count, Some("gpuledger_gpu_pcie_link_width"),
        "Lanes that the PCI Express link runs with.", "0.1.0";
    GPU_PCIE_GENERATION_MAX = 201, "gpu_pcie_generation_max", Gpu, Gauge, Count, Some("gpuledger_gpu_pcie_link_generation_max"),
        "Highest generation of PCI Express that GPU and slot have in common.", "0.1.0";
    GPU_PCIE_WIDTH_MAX = 202, "gpu_pcie_width_max", Gpu, Gauge, Count, Some("gpuledger_gpu_pcie_link_width_max"),
        "Most lanes that GPU and slot have in common.", "0.1.0";
    GPU_PCIE_REPLAYS = 203, "gpu_pcie_replays", Gpu, Counter, Count, Some("gpuledger_gpu_pcie_replays_total"),
        "PCI Express packets that were sent again.", "0.1.0";
    GPU_PCIE_SENT = 204, "gpu_pcie_sent", Gpu, Counter, Bytes, Some("gpuledger_gpu_pcie_transmit_bytes_total"),
        "Bytes that the GPU sent over PCI Express.", "0.1.0";
    GPU_PCIE_RECEIVED = 205, "gpu_pcie_received", Gpu, Counter, Bytes, Some("gpuledger_gpu_pcie_receive_bytes_total"),
        "Bytes that the GPU received over PCI Express.", "0.1.0";
    GPU_FAN_SPEED = 206, "gpu_fan_speed", Gpu, Gauge, Ppm, Some("gpuledger_gpu_fan_speed_ratio"),
        "Intended speed of the fastest fan, of its highest.", "0.1.0";
    GPU_PERSISTENCE_MODE = 207, "gpu_persistence_mode", Gpu, State, Code, Some("gpuledger_gpu_persistence_mode"),
        "1 where the driver keeps the GPU awake without users.", "0.1.0";
    GPU_COMPUTE_MODE = 208, "gpu_compute_mode", Gpu, State, Code, Some("gpuledger_gpu_compute_mode"),
        "Who may compute: 0 everybody, 2 nobody, 3 one process at a time.", "0.1.0";
    GPU_MIG_MODE = 209, "gpu_mig_mode", Gpu, State, Code, Some("gpuledger_gpu_mig_mode"),
        "1 where the GPU may be cut into instances.", "0.1.0";
    GPU_MIG_INSTANCES = 210, "gpu_mig_instances", Gpu, Gauge, Count, Some("gpuledger_gpu_mig_instances"),
        "Instances that the GPU is cut into.", "0.1.0";
    GPU_XID_EVENTS = 211, "gpu_xid_events", Gpu, Counter, Count, Some("gpuledger_gpu_xid_events_total"),
        "XID events of all codes since the agent started.", "0.1.0";
    GPU_XID_LAST = 212, "gpu_xid_last", Gpu, State, Code, Some("gpuledger_gpu_xid_last_code"),
        "Code of the last XID event since the agent started.", "0.1.0";
    GPU_XID_LAST_SEEN = 213, "gpu_xid_last_seen", Gpu, Gauge, Millis, Some("gpuledger_gpu_xid_last_seen_timestamp_seconds"),
        "When the last XID event was seen, since the Unix epoch.", "0.1.0";
    GPU_XID_13 = 214, "gpu_xid_13", Gpu, Counter, Count, Some("gpuledger_gpu_xid_13_events_total"),
        "XID 13, graphics engine exception, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_31 = 215, "gpu_xid_31", Gpu, Counter, Count, Some("gpuledger_gpu_xid_31_events_total"),
        "XID 31, memory page fault, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_43 = 216, "gpu_xid_43", Gpu, Counter, Count, Some("gpuledger_gpu_xid_43_events_total"),
        "XID 43, GPU stopped processing, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_45 = 217, "gpu_xid_45", Gpu, Counter, Count, Some("gpuledger_gpu_xid_45_events_total"),
        "XID 45, preemptive cleanup, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_48 = 218, "gpu_xid_48", Gpu, Counter, Count, Some("gpuledger_gpu_xid_48_events_total"),
        "XID 48, double bit ECC error, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_62 = 219, "gpu_xid_62", Gpu, Counter, Count, Some("gpuledger_gpu_xid_62_events_total"),
        "XID 62, internal micro-controller halt, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_63 = 220, "gpu_xid_63", Gpu, Counter, Count, Some("gpuledger_gpu_xid_63_events_total"),
        "XID 63, row remapping or page retirement recorded, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_64 = 221, "gpu_xid_64", Gpu, Counter, Count, Some("gpuledger_gpu_xid_64_events_total"),
        "XID 64, row remapping or page retirement failed, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_74 = 222, "gpu_xid_74", Gpu, Counter, Count, Some("gpuledger_gpu_xid_74_events_total"),
        "XID 74, NVLink error, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_79 = 223, "gpu_xid_79", Gpu, Counter, Count, Some("gpuledger_gpu_xid_79_events_total"),
        "XID 79, GPU has fallen off the bus, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_92 = 224, "gpu_xid_92", Gpu, Counter, Count, Some("gpuledger_gpu_xid_92_events_total"),
        "XID 92, high rate of single bit ECC errors, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_94 = 225, "gpu_xid_94", Gpu, Counter, Count, Some("gpuledger_gpu_xid_94_events_total"),
        "XID 94, contained ECC error, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_95 = 226, "gpu_xid_95", Gpu, Counter, Count, Some("gpuledger_gpu_xid_95_events_total"),
        "XID 95, uncontained ECC error, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_109 = 227, "gpu_xid_109", Gpu, Counter, Count, Some("gpuledger_gpu_xid_109_events_total"),
        "XID 109, context switch timeout, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_119 = 228, "gpu_xid_119", Gpu, Counter, Count, Some("gpuledger_gpu_xid_119_events_total"),
        "XID 119, GSP timeout, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_120 = 229, "gpu_xid_120", Gpu, Counter, Count, Some("gpuledger_gpu_xid_120_events_total"),
        "XID 120, GSP error, since the agent started; absent before the first one.", "0.1.0";
    GPU_XID_OTHER = 230, "gpu_xid_other", Gpu, Counter, Count, Some("gpuledger_gpu_xid_other_events_total"),
        "XID events of all other codes since the agent started; absent before the first one.", "0.1.0";
}
