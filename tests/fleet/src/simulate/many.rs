//! Many runs at once: one thread a core, each with one seed at a time.

use super::place::Place;
use super::run::{RunError, Settings, run};
use super::trail::Told;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Failing seeds that are told with what they violated; the rest is counted.
const FAILURES_TOLD_MAX: usize = 20;
/// Files of a run are written many times over and needed for a moment: memory is the place for them.
const MEMORY: &str = "/dev/shm";

/// What came of a range of seeds.
#[derive(Debug, Default)]
pub struct Summary {
    pub runs: u64,
    /// Promises that were broken, over all runs.
    pub violations: u64,
    pub first_failing_seed: Option<u64>,
    pub failing_seeds: u64,
    /// What really happened, over all runs.
    pub counts: BTreeMap<&'static str, u64>,
    /// Over all runs: two times the same seeds give the same.
    pub digest: u64,
    /// The first seeds that failed, by seed.
    pub failures: BTreeMap<u64, Vec<String>>,
    /// What each failing seed went through, where events were kept.
    pub events: Vec<String>,
}

/// A seed could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ManyError {
    #[error("cannot make a folder for the ledgers: {0}")]
    Folder(io::Error),
    #[error("cannot start a runtime: {0}")]
    Runtime(io::Error),
    #[error("seed {seed} could not be run")]
    Run { seed: u64, source: RunError },
}

impl Summary {
    fn add(&mut self, seed: u64, told: Told) {
        self.runs += 1;
        self.violations += told.violations.len() as u64;
        // In any order, since threads end in any order.
        self.digest ^= told.digest.rotate_left(u32::try_from(seed % 64).unwrap_or(0));
        for (what, count) in told.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.events.extend(told.events);
        if !told.violations.is_empty() {
            self.failing_seeds += 1;
            self.first_failing_seed = Some(self.first_failing_seed.map_or(seed, |first| first.min(seed)));
            self.failures.insert(seed, told.violations);
            while self.failures.len() > FAILURES_TOLD_MAX {
                self.failures.pop_last();
            }
        }
    }
}

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct Many {
    pub seeds: Range<u64>,
    /// Where their ledgers are.
    pub place: Place,
    /// Whether the ledgers' files are copied and torn as well, where they have files.
    pub copies: bool,
    /// Seeds at the same time.
    pub threads: usize,
    /// Whether no more seeds are begun once one has failed.
    pub until_failure: bool,
    pub keep_events: bool,
}

/// Runs the seeds. `progress` is told after each how many are done.
pub fn run_all(many: &Many, progress: &(dyn Fn(u64) + Sync)) -> Result<Summary, ManyError> {
    let (seeds, threads) = (many.seeds.clone(), many.threads.max(1));
    let memory = Path::new(MEMORY);
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.map_err(ManyError::Folder)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build().map_err(ManyError::Runtime)?;
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let summary = Mutex::new((Summary::default(), None));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                return;
            }
            let told = run_one(seed, many, folder.path(), &runtime);
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            // What another thread has begun is still told.
            match told {
                Ok(told) => summary.0.add(seed, told),
                Err(error) => {
                    summary.1.get_or_insert(error);
                    return;
                }
            }
            progress(summary.0.runs);
            if many.until_failure && summary.0.violations > 0 {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (summary, failed) = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(summary), Err)
}

fn run_one(
    seed: u64,
    many: &Many,
    folder: &Path,
    runtime: &tokio::runtime::Runtime,
) -> Result<Told, ManyError> {
    let folder = folder.join(seed.to_string());
    std::fs::create_dir_all(&folder).map_err(ManyError::Folder)?;
    let settings = Settings {
        folder: &folder,
        place: &many.place,
        copies: many.copies,
        runtime: runtime.handle().clone(),
        keep_events: many.keep_events,
    };
    let told = run(seed, &settings).map_err(|source| ManyError::Run { seed, source })?;
    std::fs::remove_dir_all(&folder).map_err(ManyError::Folder)?;
    Ok(told)
}
