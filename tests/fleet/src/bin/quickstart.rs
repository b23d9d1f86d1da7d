//! `cargo quickstart`: what a fleet costs, from nothing, in a minute.
//!
//! Starts a collector on an embedded ledger in a temporary folder, replays thirty days of a small
//! simulated fleet through real agents, compares the ledger with the simulated truth, prints the
//! statement, and goes on live, with this machine's own GPUs where there is a driver.
//!
//! The statement goes to standard output, everything else to standard error. Exit codes: 0 done, 1 the
//! ledger differs from the truth, 2 wrong use, 3 failed at run time.

use anyhow::Context as _;
use clap::Parser;
use gpuledger_collector::app::Running;
use gpuledger_collector::costing::{self, Period};
use gpuledger_collector::fleet::Fleet as Register;
use gpuledger_collector::report::StatementFormat;
use gpuledger_fleet::agents::{Agent, Plan, Progress};
use gpuledger_fleet::local::{self, Local};
use gpuledger_fleet::model::Fleet;
use gpuledger_fleet::truth::{Disagreement, Truth};
use gpuledger_fleet::{clock, collector, progress, register, replay};
use gpuledger_tco::statement::GroupBy;
use jiff::Timestamp;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Warnings; but that plain text was chosen, and how many agents could connect, is no news of a few
/// agents in one process.
const LOGGED: &str = "warn,gpuledger_collector::app=error,gpuledger_collector::net::places=error";
/// Time between two samples of the history.
const STEP_MS: u64 = 60_000;
/// Time between two samples when going on live.
const TICK: Duration = Duration::from_secs(5);
const NODES: u32 = 4;
const GPUS: u32 = 8;

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
    gpuledger_fleet::log_of(LOGGED);
    let runtime = tokio::runtime::Runtime::new().context("cannot start");
    match runtime.and_then(|runtime| runtime.block_on(run(&args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            let differs = matches!(error.downcast_ref(), Some(Disagreement::Differs(_)));
            ExitCode::from(if differs { 1 } else { 3 })
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("gpuledger-quickstart-").tempdir();
    let temporary = temporary.context("cannot make a temporary folder")?;
    let folder = temporary.path();
    let fleet = Arc::new(Fleet::ending_at(clock::now_ms(), args.days, NODES, GPUS, args.seed));
    let register = register::write(&fleet, folder)?;
    let collector = collector::start(folder, STEP_MS).await?;
    let plan = Plan {
        fleet: Arc::clone(&fleet),
        step_ms: STEP_MS,
        endpoint: format!("http://{}", collector.grpc_addr),
        folder: folder.join("spools"),
    };
    let agents = history(args, &plan).await?;
    let agreement = Truth::of(&fleet, STEP_MS).compare(collector.ledger.as_ref()).await?;
    eprintln!("   {agreement}\n");
    print_statement(&fleet, &register, &collector).await?;
    if args.once {
        replay::stop(agents).await?;
    } else {
        live(agents, &plan, folder, &collector).await?;
    }
    collector.stop().await?;
    Ok(())
}

/// Replays everything and says so.
async fn history(args: &Args, plan: &Plan) -> anyhow::Result<Vec<Agent>> {
    let (nodes, gpus) = (NODES, NODES * GPUS);
    eprintln!(
        "gpuledger quickstart: {} days of {nodes} nodes with {gpus} simulated GPUs, through real agents, gRPC and ledger",
        args.days
    );
    let began = Instant::now();
    let progress = Arc::new(Progress::default());
    let agents = progress::shown(plan, &progress, replay::all(plan, &progress)).await?;
    let (samples, took) = (progress.recorded(), began.elapsed());
    eprintln!("   {samples} samples of every node and GPU are committed after {:.1} s", took.as_secs_f64());
    Ok(agents)
}

async fn print_statement(fleet: &Fleet, register: &Path, collector: &Running) -> anyhow::Result<()> {
    let register = Register::load(register)?;
    let period = Period::new(instant(fleet.from_ms)?, instant(fleet.to_ms)?)?;
    let statement = costing::statement(collector.ledger.as_ref(), &register, period, GroupBy::Model).await?;
    let mut text = Vec::new();
    StatementFormat::Table.format().write(&statement, &mut text)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&text).and_then(|()| out.flush()).context("cannot write the statement")
}

/// Goes on until Ctrl-C.
async fn live(agents: Vec<Agent>, plan: &Plan, folder: &Path, collector: &Running) -> anyhow::Result<()> {
    let local = local::attach(folder, &plan.endpoint).await?;
    eprintln!();
    match &local {
        Local::Attached { gpus, .. } => eprintln!("This machine's {gpus} GPUs are attached."),
        Local::Nothing { reason } => eprintln!("No GPUs of this machine are attached: {reason}."),
    }
    let fleet = &plan.fleet;
    let (from, to, folder) = (instant(fleet.from_ms)?, instant(fleet.to_ms)?, folder.display());
    eprintln!(
        "The simulated fleet goes on live:\n\
         \x20  page      http://{http}/\n\
         \x20  metrics   http://{http}/metrics\n\
         \x20  agents    {agents}  (gpuledger-agent --collector {agents} run)\n\
         \x20  files     {folder}\n\
         Another view of the same ledger, in another terminal:\n\
         \x20  cargo run --release --bin gpuledger -- --ledger {folder}/ledger.db --fleet {folder}/fleet.toml \\\n\
         \x20    report tco --from {from} --to {to} --by owner\n\
         Ctrl-C ends it and removes the files.",
        http = collector.http_addr,
        agents = plan.endpoint,
    );
    let cancel = CancellationToken::new();
    replay::live(agents, plan, TICK, &cancel).until_interrupted(&cancel).await?;
    if let Local::Attached { agent, .. } = local {
        // It has heard Ctrl-C as well and ends within seconds.
        let ended = tokio::task::spawn_blocking(move || agent.join()).await?;
        ended.map_err(|_| anyhow::anyhow!("the agent of this machine failed"))??;
    }
    Ok(())
}

fn instant(ms: u64) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_millisecond(i64::try_from(ms)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Args::command().debug_assert();
        assert!(Args::parse_from(["quickstart", "--once"]).once);
    }
}
