//! `cargo quickstart`: what a fleet costs, from nothing, in a minute.
//!
//! Starts a collector on an embedded ledger in a temporary folder, replays thirty days of a small
//! simulated fleet through real agents, compares the ledger with the simulated truth, prints the
//! statement, and goes on live, with this machine's own GPUs where there is a driver.
//!
//! The statement goes to standard output, everything else to standard error.

use clap::Parser;
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::model::Fleet;
use gpuledger_fleet::truth::Truth;
use gpuledger_fleet::{clock, collector, progress, replay};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

const STEP_MS: u64 = 60_000;

/// What a fleet costs, from nothing, in a minute. All GPUs that it replays are simulated.
#[derive(Debug, Parser)]
#[command(name = "quickstart", version, about, max_term_width = 100)]
struct Args {
    /// End after the statement
    #[arg(long)]
    once: bool,
    /// Days to replay, until the last full hour
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// The same seed gives the same fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    gpuledger_fleet::log();
    let ended =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(run(args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("gpuledger-quickstart-").tempdir()?;
    let running = collector::start(temporary.path(), STEP_MS).await?;
    let fleet = Arc::new(Fleet::ending_at(clock::now_ms(), args.days, 4, 8, args.seed));
    let plan = Plan {
        fleet: Arc::clone(&fleet),
        step_ms: STEP_MS,
        endpoint: format!("http://{}", running.grpc_addr),
        folder: temporary.path().join("spools"),
    };
    let began = Instant::now();
    let progress = Arc::new(Progress::default());
    let _agents = progress::shown(&plan, &progress, replay::all(&plan, &progress)).await?;
    eprintln!("{:?}", began.elapsed());
    let agreement = Truth::of(&fleet, STEP_MS).compare(running.ledger.as_ref()).await?;
    eprintln!("{agreement}");
    tokio::time::sleep(Duration::from_millis(10)).await;
    running.stop().await?;
    Ok(())
}
