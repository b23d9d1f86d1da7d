//! One simulated agent as a process that tests kill: see `gpuledger_fleet::killable`.
//!
//! Exit codes: 0 everything is recorded and acknowledged, 2 wrong use, 3 failed at run time.

use anyhow::Context as _;
use clap::Parser;
use gpuledger_fleet::killable::Job;
use gpuledger_fleet::model::Fleet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// One agent of a simulated fleet with mishaps on every day, until an instant of its history.
#[derive(Debug, Parser)]
#[command(name = "simulated-agent", version, about, max_term_width = 100)]
struct Args {
    /// Address of the collector
    #[arg(long, value_name = "URL")]
    collector: String,
    /// The agent's own folder; the same for every process of it
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// The same seed gives the same fleet
    #[arg(long)]
    seed: u64,
    /// End of the fleet's history, in milliseconds since the Unix epoch
    #[arg(long)]
    end_ms: u64,
    /// Days of the fleet's history
    #[arg(long)]
    days: u32,
    /// Nodes of the fleet
    #[arg(long)]
    nodes: u32,
    /// GPUs in each node
    #[arg(long)]
    gpus: u32,
    /// The agent's node, from 0
    #[arg(long)]
    node: u32,
    /// Milliseconds between two samples
    #[arg(long)]
    step_ms: u64,
    /// The last sample
    #[arg(long)]
    until_ms: u64,
    /// Microseconds that a sample takes
    #[arg(long)]
    pace_us: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    gpuledger_fleet::log();
    match run(args) {
        Ok(samples) => {
            println!("{samples} samples are taken, and everything is acknowledged");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulated-agent: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn run(args: Args) -> anyhow::Result<u64> {
    let job = Job {
        fleet: Arc::new(Fleet::of_bad_days(args.end_ms, args.days, args.nodes, args.gpus, args.seed)),
        node: args.node,
        step_ms: args.step_ms,
        until_ms: args.until_ms,
        pace: Duration::from_micros(args.pace_us),
        endpoint: args.collector,
        folder: args.folder,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start")?.block_on(job.run())?)
}
