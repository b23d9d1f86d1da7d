//! The command line: arguments as typed → settings → the command.
//!
//! Exit codes: 0 done, 2 wrong use or configuration (nothing was started), 3 failed at run time.

use crate::clock::WallClock;
use crate::config::keys::{Key, example_file};
use crate::config::quantity::duration_ms;
use crate::config::{Config, ConfigError, DEFAULT_FILE, Given, NVML_LIBRARY_ENV, Origin};
use crate::pause::{self, Desk};
use crate::{app, probe, upload};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

const WRONG_USE: u8 = 2;
const FAILED: u8 = 3;

/// Measures this node's GPUs and host and streams the readings to a collector.
#[derive(Debug, Parser)]
#[command(name = "gpuledger-agent", version)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Samples and streams until it is stopped.
    Run,
    /// Shows what can be measured on this node, what cannot, why, and what would help.
    Probe {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Makes the running agent give up the GPU driver, to reset a GPU, change MIG or upgrade the driver.
    ///
    /// Returns when nothing of the agent has the driver open any more. Host readings go on; the time of the
    /// GPUs is unmonitored, and their energy is counted when they are back.
    Pause {
        /// The agent takes the driver back by itself after this time: 1s to 24h.
        #[arg(long = "for", value_name = "TIME", default_value = pause::DEFAULT)]
        time: String,
    },
    /// Ends a pause before its time.
    Resume,
    /// Checks the configuration and shows what is in force and where it comes from.
    CheckConfig {
        /// Prints an example file with every key and its default instead.
        #[arg(long)]
        example: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Each overrides the key of the same name in the configuration file.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
struct Settings {
    /// Configuration file; /etc/gpuledger/agent.toml, if it is there, by default.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node in the ledger.
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
    /// The collector's address: host, host:port or https://host:port.
    #[arg(long, global = true, value_name = "ADDRESS")]
    collector: Option<String>,
    /// Sends in plain text, without certificates; the collector has to allow it too.
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure: Option<String>,
    /// Time between two samples: 100ms to 10s.
    #[arg(long, global = true, value_name = "TIME")]
    sample_interval: Option<String>,
    /// Samples of this time are sent and stored together: 1s to 1h.
    #[arg(long, global = true, value_name = "TIME")]
    batch_span: Option<String>,
    /// Where readings wait until the collector has stored them.
    #[arg(long, global = true, value_name = "FOLDER")]
    spool_dir: Option<String>,
    /// Largest size of the spool: 1MiB to 1TiB.
    #[arg(long, global = true, value_name = "SIZE")]
    spool_size: Option<String>,
    /// The GPU library.
    #[arg(long, global = true, value_name = "FILE")]
    nvml_library: Option<String>,
    /// Where the host's processes are looked up.
    #[arg(long, global = true, value_name = "FOLDER")]
    proc_path: Option<String>,
    /// Where user names are looked up.
    #[arg(long, global = true, value_name = "FILE")]
    passwd_path: Option<String>,
    /// Where control groups are.
    #[arg(long, global = true, value_name = "FOLDER")]
    cgroup_path: Option<String>,
    /// Slurm's configuration.
    #[arg(long, global = true, value_name = "FILE")]
    slurm_conf: Option<String>,
    /// The kubelet's pod-resources socket.
    #[arg(long, global = true, value_name = "FILE")]
    kubelet_socket: Option<String>,
    /// What is logged to standard error: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The CA that the collector's certificate comes from.
    #[arg(long, global = true, value_name = "FILE")]
    tls_ca: Option<String>,
    /// This node's certificate.
    #[arg(long, global = true, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// Its key.
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<String>,
}

impl Settings {
    /// File, then environment, then flags: each in place of the one before.
    fn resolve(self) -> Result<Given, ConfigError> {
        let mut given = match &self.config {
            Some(file) => Given::from_file(file, true)?,
            None => Given::from_file(Path::new(DEFAULT_FILE), false)?,
        };
        if let Some(library) = std::env::var(NVML_LIBRARY_ENV).ok().filter(|library| !library.is_empty()) {
            given.set(Key::NvmlLibrary, library, Origin::Environment(NVML_LIBRARY_ENV));
        }
        for (key, value) in [
            (Key::Node, self.node),
            (Key::Collector, self.collector),
            (Key::Insecure, self.insecure),
            (Key::SampleInterval, self.sample_interval),
            (Key::BatchSpan, self.batch_span),
            (Key::SpoolDir, self.spool_dir),
            (Key::SpoolSize, self.spool_size),
            (Key::NvmlLibrary, self.nvml_library),
            (Key::ProcPath, self.proc_path),
            (Key::PasswdPath, self.passwd_path),
            (Key::CgroupPath, self.cgroup_path),
            (Key::SlurmConf, self.slurm_conf),
            (Key::KubeletSocket, self.kubelet_socket),
            (Key::LogLevel, self.log_level),
            (Key::TlsCa, self.tls_ca),
            (Key::TlsCertificate, self.tls_certificate),
            (Key::TlsKey, self.tls_key),
        ] {
            if let Some(text) = value {
                given.set(key, text, Origin::Flag(format!("--{}", key.name().replace(['_', '.'], "-"))));
            }
        }
        Ok(given)
    }
}

/// Runs the program with these arguments, its own name included.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(refused) => {
            // Also how clap gives help and version, with exit code 0. A closed pipe is no error.
            let _ = refused.print();
            return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(WRONG_USE));
        }
    };
    if let Command::CheckConfig { example: true } = arguments.command {
        return print(&example_file());
    }
    let settings = arguments.settings.clone();
    let given = match arguments.settings.resolve() {
        Ok(given) => given,
        Err(error) => return fail(WRONG_USE, &error),
    };
    let config = match Config::validate(&given) {
        Ok(config) => config,
        Err(error) => return fail(WRONG_USE, &error),
    };
    match arguments.command {
        Command::Run => {
            let set_level = log_to_stderr(&config);
            for warning in config.warnings() {
                tracing::warn!("{warning}");
            }
            let reload = || {
                let config = Config::validate(&settings.clone().resolve()?)?;
                set_level(&config);
                Ok(config)
            };
            match app::run_reloading(&config, reload) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error @ app::RunError::OtherNode(_)) => fail(WRONG_USE, &error),
                Err(error) => fail(FAILED, &error),
            }
        }
        Command::Probe { format } => match probe::run(&config) {
            Ok(report) if format == Format::Json => print(&report.json()),
            Ok(report) => print(&report.table()),
            Err(error) => fail(FAILED, &error),
        },
        Command::Pause { time } => begin_pause(&config, &time),
        Command::Resume => match Desk::of(&config.spool_dir).resume() {
            Ok(()) => print("resumed: the agent opens the GPU driver again\n"),
            Err(error) => fail(FAILED, &error),
        },
        Command::CheckConfig { .. } => check_config(&config, &given),
    }
}

fn begin_pause(config: &Config, time: &str) -> ExitCode {
    let time_ms = match duration_ms(time, 1_000..=pause::LONGEST_MS) {
        Ok(time_ms) => time_ms,
        Err(message) => return fail(WRONG_USE, &format!("flag --for: {message}")),
    };
    match Desk::of(&config.spool_dir).pause(WallClock::system().now_ms().saturating_add(time_ms)) {
        Ok(()) => print(&format!(
            "paused for {time}: the agent has let go of the GPU driver (end it before with: gpuledger-agent resume)\n"
        )),
        Err(error) => fail(FAILED, &error),
    }
}

/// Says what is in force. Files that are no good are wrong configuration; what is wrong with what they
/// say is a warning.
fn check_config(config: &Config, given: &Given) -> ExitCode {
    let mut warnings = config.warnings();
    if let Some(files) = &config.tls {
        match files.client() {
            Ok(client) => {
                warnings.extend(upload::wrong_node(&client, files, &config.node));
                warnings.extend(client.facts.warnings);
            }
            Err(error) => return fail(WRONG_USE, &error),
        }
    }
    for warning in warnings {
        eprintln!("gpuledger-agent: warning: {warning}");
    }
    print(&given.in_force())
}

/// Begins to log, and gives what changes the level.
fn log_to_stderr(config: &Config) -> impl Fn(&Config) + use<> {
    let filter = |config: &Config| {
        EnvFilter::new(format!("warn,gpuledger_agent={0},gpuledger_spool={0}", config.log_level))
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(config))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter_reloading();
    let handle = log.reload_handle();
    log.init();
    // It fails only when logging has ended, which it does with the program.
    move |config| drop(handle.reload(filter(config)))
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever read has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &format!("cannot write to standard output: {error}")),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("gpuledger-agent: {error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;
    use clap::CommandFactory;

    #[test]
    fn every_setting_has_a_flag_and_every_flag_a_setting() {
        let command = Arguments::command();
        let mut flags: Vec<String> =
            command.get_arguments().filter_map(|a| a.get_long()).map(|l| l.replace('-', "_")).collect();
        flags.retain(|flag| !["config", "help", "version"].contains(&flag.as_str()));
        let mut names: Vec<String> = KEYS.iter().map(|spec| spec.name.replace('.', "_")).collect();
        flags.sort_unstable();
        names.sort_unstable();
        assert_eq!(flags, names);
    }

    #[test]
    fn a_flag_reaches_its_setting_before_and_after_the_command() {
        for arguments in [["a", "--node=n7", "run"], ["a", "run", "--node=n7"]] {
            let parsed = Arguments::try_parse_from(arguments).unwrap();
            let given = parsed.settings.resolve().unwrap();
            assert_eq!(Config::validate(&given).unwrap().node.as_str(), "n7");
        }
        let insecure = Arguments::try_parse_from(["a", "run", "--insecure", "--collector=far"]).unwrap();
        Config::validate(&insecure.settings.resolve().unwrap()).unwrap();
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
