//! A simulated `libnvidia-ml.so.1`: NVML's C interface over GPUs that exist in a scenario only.
//!
//! The built library (`target/debug/libfake_nvml.so`) is loaded like the real one: by its path
//! (`GPULEDGER_NVML_LIBRARY=… gpuledger-agent probe`), or under the name `libnvidia-ml.so.1`
//! through `LD_LIBRARY_PATH`, which is how NVIDIA's own `nvidia-smi` and `nvidia-ml-py` run on it.
//! It exports one symbol that NVML has not, `gpuledgerSimulated`: a library with it serves no
//! hardware, and everything read through it is to be marked as simulated.
//!
//! # Environment
//!
//! - `GPULEDGER_FAKE_NVML_SCENARIO`: the scenario file. Without it the one beside the library (its own
//!   path and `.toml`), and without that eight GPUs run `default.toml`.
//!   A file that can't be used is named on standard error and `nvmlInit` fails with `UNKNOWN`.
//! - `GPULEDGER_FAKE_NVML_TRUTH`: a file to which every energy reading is appended; see [`truth`].
//!
//! # Scenario
//!
//! TOML; all keys are optional, unknown ones are refused. Times count from the scenario's start.
//!
//! ```toml
//! node = "n1"                  # UUIDs and serials are made from it, so that nodes differ
//!
//! [clock]                      # start of the scenario; without it, the library's first nvmlInit.
//! start_boot_ms = 0            # on the boot clock, or
//! start_unix_ms = 0            # on the wall clock: all processes then see one and the same GPU,
//!                              # whose counter goes on while none of them runs
//! [driver]
//! version = "550.163.01"
//! nvml = "12.550.163.01"
//! cuda = 12040                 # 12.4
//!
//! [[gpu]]                      # one GPU, or `count` alike
//! count = 1
//! name = "Simulated H100 80GB HBM3"
//! uuid = "GPU-…"               # made from node and index when absent: GPU-51317fa4-…
//! serial = "…"
//! minor = 0                    # index when absent
//! pci_bus = 0x10               # 0x10 + index when absent
//! memory_mib = 81559           # all; reserved_mib of it by the driver
//! reserved_mib = 330
//! power_limit_mw = 700000      # with power_limit_min_mw and power_limit_max_mw
//! max_sm_mhz = 1980            # with max_memory_mhz
//! slowdown_c = 90              # with shutdown_c
//! persistence = true
//! ecc_corrected = 0            # with ecc_uncorrected: totals
//! architecture = 9             # NVML's number: 9 is Hopper; GPM needs it
//! compute_capability = [9, 0]
//! energy_start_mj = 0          # what the counter shows at the start
//! energy_refresh_ms = 0        # the counter moves once in this time; 0: at every reading
//! stagger_ms = 0               # each GPU of `count` is this much further in its phases
//! fans = []                    # the speed of each fan in percent
//! compute_mode = 0             # NVML's number: 3 is one process at a time
//! remapped_rows = { corrected = 0, uncorrected = 0, pending = false, failed = false }
//!
//! [gpu.links]                  # traffic from the start on, and errors as totals
//! pcie_sent_mib_s = 0          # with pcie_received_mib_s, nvlink_sent_mib_s, nvlink_received_mib_s
//! pcie_replays = 0
//! nvlinks_down = 0             # of 18, counted from the last
//! nvlink_errors = 0            # of each link, for each kind of error
//!
//! [[gpu.phase]]                # phases follow each other and repeat for ever; an idle one if none
//! ms = 60000
//! power_mw = 70000             # or { from = 70000, to = 600000 }: a straight line over the phase
//!                              # or { mean = 400000, amplitude = 100000, period_ms = 20000 }: a sine
//! gpu_util = 0                 # percent, with memory_util, encoder_util, decoder_util
//! memory_used_mib = 0
//! temperature_c = 32           # with memory_temperature_c
//! sm_mhz = 345                 # with memory_mhz
//! pstate = 0
//! clock_reasons = 1            # NVML's bits
//! processes = [{ pid = "self", memory_mib = 0, graphics = false }]   # or a number
//!
//! [[fault]]
//! kind = "answer"              # calls return `code`
//! code = "GPU_IS_LOST"         # NVML's name without NVML_ERROR_
//! gpu = 0                      # without it: the library itself and all GPUs
//! from_ms = 0
//! to_ms = 1000                 # for ever when absent
//! calls = ["nvmlDeviceGetPower*", "field:185"]   # all calls when absent; `*` only at the end
//!
//! [[mig]]                      # from a moment on, how a GPU is cut; another cut has other UUIDs
//! gpu = 0
//! from_ms = 0
//! off = false                  # MIG is off from then on
//! instance = [{ gpu_instance = 1, compute_instance = 0, slices = 3, memory_mib = 40448,
//!               memory_used_mib = 0, sm_active = 0, processes = [] }]   # 7 slices together at most
//!
//! [[xid]]                      # an event for those who wait
//! gpu = 0
//! at_ms = 5000
//! code = 79
//! ```
//!
//! Other kinds of fault: `block` (calls return only when the fault is over), `delay` (calls take
//! `delay_ms` longer), `hidden` (an `nvmlInit` in this time does not find the GPU; without `gpu`
//! it finds none), `counter_reset` (the energy counter starts again from zero at `from_ms`).
//! A driver that is not loaded is `kind = "answer"`, `code = "DRIVER_NOT_LOADED"` without `gpu`;
//! a library that does not fit the driver the same with `LIB_RM_VERSION_MISMATCH` and
//! `calls = ["nvmlInit*"]`.
//!
//! # What is exact
//!
//! The energy counter is the floor of the exact integral of power over time, see [`wave`].
//! `nvmlDeviceGetPowerUsage` and field 185 give the mean of the last second, field 186 the power of
//! the moment, scope 2 (memory) an eighth of it. Where nothing is said above, readings are those of
//! a healthy H100 SXM with MIG off. Time held down is the time of the phases with that reason. Setting
//! anything is not possible: those functions answer that it is not supported, as does everything else that
//! NVIDIA's library exports of releases 535 and 550 and nothing here simulates.

#![allow(unsafe_code, reason = "a C library exports symbols and writes into its caller's memory")]
#![allow(non_snake_case, reason = "exported functions have NVML's names")]

pub mod abi;
pub mod clock;
pub mod code;
pub mod exports;
pub mod library;
pub mod model;
pub mod scenario;
pub mod truth;
pub mod wave;
