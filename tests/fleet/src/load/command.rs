//! `gpuledger-fleet load`.

use super::report::{Report, table};
use super::run::{self, Wanted};
use super::trial::Trial;
use crate::simulate::{Place, PlaceError};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Load {
    /// Agents, each with a node of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// GPUs in each node, 30 readings a second each
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=16))]
    gpus: u32,
    /// Seconds for which they send
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    // Read later: clap repeats what it refuses, and that may hold a password.
    #[arg(
        long,
        value_name = "STORE",
        num_args = 1..=2,
        default_value = "sqlite",
        help = "What holds the ledger: sqlite, or postgres://USER@HOST/DATABASE, where the run gets a schema of its \
                own. The password belongs into the environment variable PGPASSWORD"
    )]
    store: Vec<String>,
    /// Send in plain text
    #[arg(long)]
    insecure: bool,
    /// Kill the collector after so many seconds, and start it again
    #[arg(long, value_name = "SECONDS", conflicts_with = "stall_store")]
    restart_after: Option<u32>,
    /// Let nobody write to the store for so long, beginning after a third of the run
    #[arg(long, value_name = "SECONDS")]
    stall_store: Option<u32>,
    /// Runs with so many nodes, one after the other, side by side in what is printed
    #[arg(long, value_name = "NODES,…", value_delimiter = ',', conflicts_with = "nodes")]
    steps: Vec<u32>,
    /// Keep ledger, configuration and log in this folder, which must be empty [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub enum Misuse {
    #[error("--store: {0}")]
    Store(#[from] PlaceError),
    #[error("--steps: {0} nodes; expected 1 to 100000")]
    Steps(u32),
    #[error("--restart-after: the run is over by then, after {0} s")]
    Late(u32),
    #[error("--folder: {} is not empty", .0.display())]
    NotEmpty(PathBuf),
}

impl Load {
    /// The runs, one after the other.
    pub fn wanted(&self) -> Result<Vec<Wanted>, Misuse> {
        let place = self.place()?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let trial = match (self.restart_after, self.stall_store) {
            (Some(after), _) if after >= self.seconds => return Err(Misuse::Late(self.seconds)),
            (Some(after), _) => Trial::Restart { after: seconds(after) },
            (None, Some(time)) => Trial::Stall { after: seconds(self.seconds) / 3, time: seconds(time) },
            (None, None) => Trial::None,
        };
        if let Some(folder) = &self.folder
            && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
        {
            return Err(Misuse::NotEmpty(folder.clone()));
        }
        let steps = if self.steps.is_empty() { std::slice::from_ref(&self.nodes) } else { &self.steps };
        let wanted = |&nodes: &u32| {
            if !(1..=100_000).contains(&nodes) {
                return Err(Misuse::Steps(nodes));
            }
            let (gpus, seconds, insecure, place) = (self.gpus, self.seconds, self.insecure, place.clone());
            Ok(Wanted { nodes, gpus, seconds, insecure, place, trial })
        };
        steps.iter().map(wanted).collect()
    }

    /// `postgres URL` is as good as the URL alone.
    fn place(&self) -> Result<Place, PlaceError> {
        match self.store.as_slice() {
            [kind, url] if kind == "postgres" => url.parse(),
            [one] => one.parse(),
            _ => Err(PlaceError::Unknown { reason: "two words that do not belong together".to_owned() }),
        }
    }

    /// Runs what was asked for and prints it. True where the ledgers have everything once.
    #[allow(clippy::print_stdout, reason = "this is a command's output")]
    pub fn run(&self, wanted: &[Wanted]) -> anyhow::Result<bool> {
        let temporary = tempfile::Builder::new().prefix("gpuledger-load-").tempdir();
        let temporary = temporary.context("cannot make a temporary folder")?;
        let folder = self.folder.as_deref().unwrap_or(temporary.path());
        let mut reports = Vec::new();
        for (number, wanted) in (1..).zip(wanted) {
            let folder =
                if self.steps.is_empty() { folder.to_owned() } else { folder.join(number.to_string()) };
            reports.push(one(wanted, &folder)?);
        }
        if self.json {
            println!("{}", json(&reports)?);
        } else {
            print!("{}", table(&reports)?);
        }
        Ok(reports.iter().all(Report::holds))
    }
}

/// One run, in a runtime of its own: what it has left behind must not be counted to the next.
fn one(wanted: &Wanted, folder: &Path) -> anyhow::Result<Report> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(run::run(wanted, folder))
}

/// The figures of the last run; with several, all of them beside it.
fn json(reports: &[Report]) -> serde_json::Result<serde_json::Value> {
    let mut object = serde_json::to_value(reports.last())?;
    if let (Some(fields), 2..) = (object.as_object_mut(), reports.len()) {
        fields.insert("steps".to_owned(), serde_json::to_value(reports)?);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        load: Load,
    }

    fn wanted(args: &[&str]) -> Result<Vec<Wanted>, Misuse> {
        Args::parse_from([&["load"], args].concat()).load.wanted()
    }

    #[test]
    fn a_store_is_named_by_its_address_with_or_without_its_kind() {
        let url = "postgres://load@h/d";
        for args in [&["--store", url][..], &["--store", "postgres", url, "--json"]] {
            assert_eq!(wanted(args).unwrap()[0].place.to_string(), url);
        }
        assert_eq!(wanted(&[]).unwrap()[0].place, Place::Sqlite);
        let hidden = wanted(&["--store", "sqlite", "postgres://u:hidden@h/d"]).unwrap_err().to_string();
        assert!(hidden.starts_with("--store: ") && !hidden.contains("hidden"), "{hidden}");
    }

    #[test]
    fn steps_are_runs_and_a_trial_lies_within_its_run() {
        let steps = wanted(&["--steps", "100,1000", "--seconds", "30"]).unwrap();
        assert_eq!(steps.iter().map(|run| run.nodes).collect::<Vec<_>>(), [100, 1_000]);
        assert!(matches!(wanted(&["--steps", "5,0"]), Err(Misuse::Steps(0))));
        let after = Duration::from_secs(20);
        assert_eq!(wanted(&["--restart-after", "20"]).unwrap()[0].trial, Trial::Restart { after });
        let stall = Trial::Stall { after, time: Duration::from_secs(60) };
        assert_eq!(wanted(&["--stall-store", "60"]).unwrap()[0].trial, stall);
        assert!(matches!(wanted(&["--restart-after", "60"]), Err(Misuse::Late(60))));
    }

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert!(wanted(&["--folder", path]).is_ok());
        std::fs::write(folder.path().join("mine"), "").unwrap();
        assert!(matches!(wanted(&["--folder", path]), Err(Misuse::NotEmpty(_))));
    }
}
