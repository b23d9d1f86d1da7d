//! `gpuledger-fleet`: a simulated fleet of any size into a running collector, a collector under load,
//! and a simulation of everything together with faults.
//!
//! The simulated agents are real but for their sampler: recorder, spool, upload. Every GPU of the
//! fleet says that it is simulated. Exit codes: 0 done, 1 a promise was broken, 2 wrong use, 3 failed
//! at run time.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::load::Load;
use gpuledger_fleet::model::{Fleet, SLOT_MS};
use gpuledger_fleet::simulate::Simulate;
use gpuledger_fleet::synthesize::Synthesize;
use gpuledger_fleet::truth::Truth;
use gpuledger_fleet::{clock, progress, replay as history};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const AFTER_HELP: &str = "\
Example:
  gpuledger-fleet replay --nodes 8 --gpus 8 --days 7 --collector http://127.0.0.1:9841

The collector counts time between two samples up to its longest gap, 10 s by default: a coarser --step needs a
longer gap there.";

/// Sends a simulated fleet to a collector.
#[derive(Debug, Parser)]
#[command(name = "gpuledger-fleet", version, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay the past days of the fleet through one real agent for each node
    Replay(Replay),
    /// Put a collector under the load of many agents, and tell what it cost
    Load(Load),
    /// Make a ledger with closed days at once, for benchmarks of reports
    Synthesize(Synthesize),
    /// Run agents, links, collectors and stores with faults that seeds decide, and check every promise
    Simulate(Simulate),
}

#[derive(Debug, clap::Args)]
struct Replay {
    /// Address of the collector
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9841")]
    collector: String,
    /// Nodes: the first half with simulated H100, the others with L40S
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    nodes: u32,
    /// GPUs in each node
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=16))]
    gpus: u32,
    /// Days until the last full hour
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// The same seed gives the same fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between two samples; divides 300
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = step_ms)]
    step: u64,
    /// Go on live, with a sample every 5 seconds, until stopped
    #[arg(long)]
    live: bool,
    /// Folder for the agents' spools [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    spools: Option<PathBuf>,
    /// Write what the ledger must hold afterwards to this file, as JSON
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

fn step_ms(seconds: &str) -> Result<u64, String> {
    let ms = seconds.parse::<u64>().ok().and_then(|s| s.checked_mul(1_000));
    ms.filter(|&ms| ms > 0 && SLOT_MS.is_multiple_of(ms))
        .ok_or_else(|| "expected a number of seconds that divides 300, such as 10, 30 or 60".to_owned())
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Replay(args) => replay(args),
        Command::Load(args) => load(&args),
        Command::Simulate(args) => simulate(&args),
        Command::Synthesize(args) => synthesize(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("gpuledger-fleet: {error:#}");
        ExitCode::from(3)
    })
}

fn replay(args: Replay) -> anyhow::Result<ExitCode> {
    gpuledger_fleet::log();
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(run(args))?;
    Ok(ExitCode::SUCCESS)
}

fn load(args: &Load) -> anyhow::Result<ExitCode> {
    log_if_asked();
    match args.wanted() {
        Ok(wanted) => Ok(if args.run(&wanted)? { ExitCode::SUCCESS } else { ExitCode::from(1) }),
        Err(misuse) => {
            eprintln!("gpuledger-fleet: {misuse}");
            Ok(ExitCode::from(2))
        }
    }
}

fn synthesize(args: &Synthesize) -> anyhow::Result<ExitCode> {
    if let Some(path) = args.in_the_way() {
        eprintln!("gpuledger-fleet: --ledger: {} exists already; name another file", path.display());
        return Ok(ExitCode::from(2));
    }
    let told = |days| {
        if days % 30 == 0 {
            eprintln!("   {days} days");
        }
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let made = runtime.block_on(args.run(clock::now_ms(), told))?;
    eprintln!("{} rows in {} files of {} bytes", made.rows, made.files, made.bytes);
    Ok(ExitCode::SUCCESS)
}

fn simulate(args: &Simulate) -> anyhow::Result<ExitCode> {
    let place = match args.place() {
        Ok(place) => place,
        Err(error) => {
            eprintln!("gpuledger-fleet: --store: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    log_if_asked();
    Ok(if args.run(&place)? { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What breaks on purpose, or for thousands of agents at once, would fill the screen.
fn log_if_asked() {
    if std::env::var_os("RUST_LOG").is_some() {
        gpuledger_fleet::log();
    }
}

async fn run(args: Replay) -> anyhow::Result<()> {
    history::reachable(&args.collector).await?;
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let fleet = Arc::new(Fleet::ending_at(clock::now_ms(), args.days, args.nodes, args.gpus, args.seed));
    let plan = Plan {
        fleet: Arc::clone(&fleet),
        step_ms: args.step,
        endpoint: args.collector,
        folder: args.spools.unwrap_or_else(|| temporary.path().to_owned()),
    };
    if let Some(path) = &args.truth {
        write_truth(path, &Truth::of(&fleet, args.step))?;
    }
    let samples = plan.samples();
    eprintln!(
        "replaying {} days of {} nodes with {} simulated GPUs each: {samples} samples",
        args.days, args.nodes, args.gpus
    );
    let progress = Arc::new(Progress::default());
    let agents = progress::shown(&plan, &progress, history::all(&plan, &progress)).await?;
    eprintln!("{} samples are committed", progress.recorded());
    if args.live {
        eprintln!("going on live; Ctrl-C ends it");
        let cancel = CancellationToken::new();
        history::live(agents, &plan, Duration::from_secs(5), &cancel).until_interrupted(&cancel).await?;
    }
    Ok(())
}

fn write_truth(path: &Path, truth: &Truth) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(truth)?;
    std::fs::write(path, json).with_context(|| format!("cannot write the truth to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_step_divides_a_slot() {
        assert_eq!(step_ms("60"), Ok(60_000));
        for bad in ["0", "7", "-1", "x", "99999999999999999999"] {
            assert!(step_ms(bad).is_err(), "{bad}");
        }
    }
}
