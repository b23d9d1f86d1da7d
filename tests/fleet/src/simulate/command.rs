//! `gpuledger-fleet simulate`.

use super::many::{Many, ManyError, Summary, run_all};
use super::place::{Place, PlaceError};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::num::NonZero;
use std::time::Instant;

/// What was asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Simulate {
    /// How many seeds, from the first one on [default: 1000, or 1 with --seed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "K")]
    seed: Option<u64>,
    // Read later: clap repeats what it refuses, and that may hold a password.
    #[arg(
        long,
        value_name = "STORE",
        default_value = "sqlite",
        help = "What holds the ledgers: sqlite, or postgres://USER@HOST/DATABASE, where each seed gets a schema of \
                its own while it runs. The password belongs into the environment variable PGPASSWORD"
    )]
    store: String,
    /// Seeds at the same time [default: one a core]
    #[arg(long, value_name = "THREADS")]
    jobs: Option<NonZero<usize>>,
    /// Begin no more seeds once one has failed
    #[arg(long)]
    until_failure: bool,
    /// Print what came of it as one JSON object
    #[arg(long)]
    json: bool,
    /// Print every event of every run to standard error
    #[arg(long)]
    events: bool,
}

impl Simulate {
    /// Where the ledgers are to be.
    pub fn place(&self) -> Result<Place, PlaceError> {
        self.store.parse()
    }

    /// Runs what was asked for and prints what came of it. True where every promise held.
    #[allow(clippy::print_stdout, reason = "this is a command's output")]
    pub fn run(&self, place: &Place) -> Result<bool, ManyError> {
        let first = self.seed.unwrap_or(0);
        let seeds = self.seeds.unwrap_or(if self.seed.is_some() { 1 } else { 1_000 });
        let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let jobs = self.jobs.unwrap_or(cores).get();
        let begun = Instant::now();
        let bar = bar(seeds);
        let progress = |done| bar.set_position(done);
        let many = Many {
            seeds: first..first.saturating_add(seeds),
            place: place.clone(),
            copies: true,
            threads: jobs,
            until_failure: self.until_failure,
            keep_events: self.events,
        };
        let summary = run_all(&many, &progress)?;
        bar.finish_and_clear();
        for event in &summary.events {
            eprintln!("{event}");
        }
        if self.json {
            println!(
                "{}",
                serde_json::json!({
                    "store": place.to_string(),
                    "runs": summary.runs,
                    "violations": summary.violations,
                    "first_failing_seed": summary.first_failing_seed,
                    "failing_seeds": summary.failing_seeds,
                    "seconds": begun.elapsed().as_secs(),
                    "digest": format!("{:016x}", summary.digest),
                    "counts": summary.counts,
                    "failures": summary.failures,
                })
            );
        }
        tell(&summary, place, self.json);
        Ok(summary.violations == 0)
    }
}

/// For people, on standard error.
fn tell(summary: &Summary, place: &Place, brief: bool) {
    for (seed, violations) in &summary.failures {
        eprintln!("seed {seed} broke a promise; `{}` replays it", replay(*seed, place));
        for violation in violations {
            eprintln!("   {violation}");
        }
    }
    let more = summary.failing_seeds.saturating_sub(summary.failures.len() as u64);
    if more > 0 {
        eprintln!("… and {more} more seeds");
    }
    if !brief {
        for (what, count) in &summary.counts {
            eprintln!("{count:>12} {what}");
        }
        eprintln!("{} runs, {} violations", summary.runs, summary.violations);
    }
}

/// The command that runs exactly this seed again; a password is left to the environment.
fn replay(seed: u64, place: &Place) -> String {
    let store = if *place == Place::Sqlite { String::new() } else { format!(" --store {place}") };
    format!("cargo run --release -p gpuledger-fleet -- simulate --seed {seed}{store} --events")
}

fn bar(seeds: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(seeds);
    let template = "   {bar:40} {percent:>3} %  {pos}/{len} seeds  {elapsed}";
    // The template is a constant; a wrong one would only look plain.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_seed_is_replayed_on_the_same_store_and_no_password_is_shown() {
        assert!(replay(7, &Place::Sqlite).ends_with(" simulate --seed 7 --events"));
        let told = replay(7, &"postgres://sim:hidden@h/d".parse().unwrap());
        assert!(told.ends_with(" simulate --seed 7 --store postgres://sim@h/d --events"), "{told}");
    }
}
