//! Arguments as typed. [`super::resolve`] turns them into what a command works with.

use super::import_args;
pub use super::import_args::Export;
pub use super::report_args::Report;
use crate::ca::{CA_DAYS, HostName, LEAF_DAYS};
use crate::import::mapping::{EnergyUnit, Mapping, PowerUnit, TimeUnit};
use clap::{ArgGroup, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  gpuledger --config /etc/gpuledger/collector.toml serve
  gpuledger --ledger ledger.db --fleet fleet.toml report tco --from 2026-10-01 --to 2026-11-01
  gpuledger --ledger ledger.db --fleet fleet.toml report showback --from 2026-10 --to 2026-11 --explain research
  gpuledger --ledger ledger.db report energy --from 2026-10-01 --to 2026-10-02 --by node,hour
  gpuledger --ledger ledger.db verify
  gpuledger --ledger ledger.db backup --out ledger-2026-11-20.db

Exit codes: 0 done; 1 a check found something; 2 wrong use or bad input, nothing changed;
3 failed at run time.";

const TELEMETRY_EXAMPLES: &str = "\
Examples:
  Power of whole nodes, one column names the node:
    gpuledger --ledger ledger.db import telemetry power.csv.gz --node-column node \\
        --time-column t_ms --time-unit ms --power-column power_w --where run=17

  An energy counter of each GPU of one server:
    gpuledger --ledger ledger.db import telemetry gpus.csv --node gpu-01 --gpu-column uuid \\
        --time-column time --time-unit rfc3339 --energy-column energy --energy-unit J

The whole file is checked before anything is written. The same import a second time, or time that
the ledger has counted already, adds nothing.";

const VERIFY_NOTES: &str = "\
One line for each check, with the promise that it is about: `ok`, or `BROKEN` and below it what is \
wrong. Everything is read: the store, the file of every closed day with its checksum and sums, and the \
totals of what has expired. A collector may go on meanwhile; nothing is changed. What a damaged file or row \
holds no more is missing in later lines too: begin with the first.

Exit codes: 0 every promise holds; 1 one is broken; 2 there is no such ledger; 3 it cannot be read.";

const BACKUP_NOTES: &str = "\
The backup is the ledger of one moment; a collector may go on meanwhile. FILE is a whole SQLite ledger, \
whatever the original is in. Closed days in a folder are copied to FILE.days; in an object store they \
stay and are referenced. There the collector removes a file one hour after a newer version of its day has \
come: let the store keep versions, or copy the bucket too.

To look into a backup, name it:
    gpuledger --ledger FILE verify

To restore it, stop the collector, put the old ledger aside and the backup in its place:
    mv ledger.db ledger.db.before
    mv ledger.db.days ledger.db.days.before
    rm -f ledger.db-wal ledger.db-shm
    mv FILE ledger.db
    mv FILE.days ledger.db.days

To restore it into PostgreSQL:
    gpuledger --ledger FILE migrate --to postgres://USER@HOST/DATABASE --archive PLACE

An archive in an object store is still the lost ledger's: remove the file LEDGER there when nothing uses \
that one any more. Until then the backup only reads there.

Agents go on by themselves and send again what their spools still hold. Of what they do not hold any \
more the energy is in the next reading of each counter, and the hours are unmonitored.

Examples:
    gpuledger --ledger ledger.db backup --out /backup/ledger-$(date +%F).db
    gpuledger --ledger postgres://ledger@db/gpu backup --out /backup/ledger.db";

const MIGRATE_NOTES: &str = "\
The old ledger is only read and stays as it is; the new place must be empty. At the end both are read \
again and compared, record by record: the same SHA-256 over nodes, GPUs, owners, sequences, assets, files \
and rows. Stop the collector first, or it will write to the old ledger meanwhile, which is found.

Closed days are copied where --archive says, or else to LOCATION.days beside an SQLite file; a database has \
no such folder, so say it there. Where --archive names the place in which they are, they stay and are the \
new ledger's alone: the old one closes no more days there and removes no files.

Exit codes: 0 copied and equal; 1 copied and found different; 2 the new place is not empty or not usable, \
nothing was changed; 3 failed at run time.

Examples:
    gpuledger --ledger ledger.db migrate --to postgres://ledger@db/gpu --archive s3://bucket/gpu
    gpuledger --ledger postgres://ledger@db/gpu migrate --to ledger.db";

const GC_NOTES: &str = "\
Files of closed days become superfluous where a newer version of the day replaced them, where they are \
older than archive.keep_days, and where a collector died between writing a file and entering it. `serve` \
removes by itself all but those of which the ledger knows nothing; this command removes those too.

An archive is one ledger's: the file LEDGER at its root says whose, and on another ledger this command \
refuses. A ledger restored from a backup does not know the days that were closed after it: look first, with \
--dry-run.

Examples:
    gpuledger --ledger ledger.db gc --dry-run
    gpuledger --config /etc/gpuledger/collector.toml gc --grace 24h";

const CA_NOTES: &str = "\
Once, on a machine that is neither a node nor reachable from one, if there is such:
    gpuledger ca init
    gpuledger ca issue --collector ledger.example,10.0.0.5
    gpuledger ca issue gpu-01

Each folder under gpuledger-ca then has the three files that go to /etc/gpuledger/tls/ of the machine that it \
is named after. Keep gpuledger-ca/ca.key to yourself: who has it can send as any node.

A certificate is for one year, or for --days. Issue it again with --force before that and copy the files: \
agents and collectors notice within ten seconds, and at once on SIGHUP.";

/// What GPU servers cost: readings in, money out.
#[derive(Debug, Parser)]
#[command(name = "gpuledger", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    // The value of the variable may hold a password, and so may a value that is refused: it is taken
    // as it comes and checked where no message repeats it.
    #[arg(
        long,
        global = true,
        value_name = "FILE|postgres://…",
        help = "The ledger: an SQLite file, or postgres://USER@HOST/DATABASE. Its password belongs into the \
                environment variable PGPASSWORD: others can read arguments",
        env = "GPULEDGER_LEDGER",
        hide_env_values = true
    )]
    pub ledger: Option<OsString>,
    /// Assets, sites, tariffs and prices (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "GPULEDGER_FLEET")]
    pub fleet: Option<PathBuf>,
    /// The collector's configuration (TOML) [default: /etc/gpuledger/collector.toml where it exists]
    #[arg(long, global = true, value_name = "FILE", env = "GPULEDGER_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take readings from agents into the ledger and serve metrics, until stopped
    Serve,
    /// Read configuration and fleet, say what is wrong with them or that nothing is
    ///
    /// With --fleet and no configuration file the fleet alone is read.
    CheckConfig,
    /// Bring in what exists already
    #[command(subcommand)]
    Import(Import),
    /// Give out what was brought in, in the same form
    #[command(subcommand)]
    Export(Export),
    /// Say what was used, what it cost, and what else there was to choose
    #[command(subcommand)]
    Report(Report),
    /// Check the ledger's promises: one line each, exit code 1 when one is broken
    #[command(after_help = VERIFY_NOTES)]
    Verify,
    /// Write the whole ledger of one moment into a new SQLite file
    #[command(after_help = BACKUP_NOTES)]
    Backup {
        /// The file to write; FILE.days gets the closed days. Neither may exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Copy the whole ledger into an empty file or database and prove both equal
    #[command(after_help = MIGRATE_NOTES)]
    Migrate(Migrate),
    /// Remove files of closed days that nobody needs any more
    #[command(after_help = GC_NOTES)]
    Gc(Gc),
    /// Make the certificates that agents and collectors know each other by
    #[command(subcommand, after_help = CA_NOTES)]
    Ca(Ca),
}

#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Make the fleet's own certificate authority: ca.pem, which everybody gets, and ca.key, which nobody gets
    Init {
        /// The folder to write to
        #[arg(long, value_name = "DIR", default_value = CA_FOLDER)]
        out: PathBuf,
        /// Replace a CA that is there: all that it issued is worth nothing then
        #[arg(long)]
        force: bool,
    },
    /// Issue the certificate of a node, or with --collector that of a collector
    Issue(Issue),
}

/// Where a CA is unless a flag says otherwise.
pub const CA_FOLDER: &str = "gpuledger-ca";

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["node", "collector"]))]
pub struct Issue {
    /// The node's name, as its agent has it (key node; the host's name by default)
    pub node: Option<String>,
    /// Names and addresses by which agents reach the collector, separated by commas
    #[arg(long, value_name = "NAME|IP", value_delimiter = ',')]
    pub collector: Vec<HostName>,
    /// Days until it expires; never later than the CA
    #[arg(long, value_name = "N", default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(CA_DAYS)))]
    pub days: u32,
    /// The folder of the CA
    #[arg(long, value_name = "DIR", default_value = CA_FOLDER)]
    pub ca: PathBuf,
    /// The folder to write to [default: one for each node in that of the CA, `collector` for a collector]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct Migrate {
    #[arg(
        long,
        value_name = "LOCATION",
        help = "The new place: an SQLite file, or postgres://USER@HOST/DATABASE"
    )]
    pub to: OsString,
    #[arg(
        long,
        value_name = "PLACE",
        help = "Where the new ledger's closed days go: a folder or s3://BUCKET/PREFIX"
    )]
    pub archive: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Name the files and remove none
    #[arg(long)]
    pub dry_run: bool,
    /// Leave files alone for this long after they became superfluous, for those who still read them:
    /// 30m, 1h, 24h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::period::duration_ms)]
    pub grace: u64,
    /// Leave files of which the ledger knows nothing
    #[arg(long)]
    pub keep_unknown: bool,
}

#[derive(Debug, Subcommand)]
pub enum Import {
    /// Power or energy readings of the past from a CSV file, gzip or plain
    #[command(after_help = TELEMETRY_EXAMPLES)]
    Telemetry(Box<Telemetry>),
    /// Assets from a CSV file into the ledger's register
    #[command(after_help = import_args::ASSETS_NOTES)]
    Assets(import_args::Assets),
    /// Rent prices into a file that the fleet names
    #[command(after_help = import_args::PRICES_NOTES)]
    Prices(Box<import_args::Prices>),
    /// Exchange rates into a file that the fleet names
    #[command(after_help = import_args::RATES_NOTES)]
    Rates(import_args::Rates),
    /// Cost centres of owners into a file that the fleet names
    #[command(after_help = import_args::CENTRES_NOTES)]
    Centres(import_args::Centres),
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("where-from").required(true).args(["node", "node_column"]))]
#[command(group = ArgGroup::new("quantity").required(true).args(["power_column", "energy_column"]))]
pub struct Telemetry {
    /// The file; compressed with gzip or not
    pub file: PathBuf,
    /// Column with the node's name
    #[arg(long, value_name = "COLUMN")]
    pub node_column: Option<String>,
    /// Name of the one node that all rows are of
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Column with the GPU's UUID, where readings are of GPUs and not of whole nodes
    #[arg(long, value_name = "COLUMN")]
    pub gpu_column: Option<String>,
    /// Model of GPUs that the ledger does not know yet, such as "NVIDIA H100 80GB HBM3"
    #[arg(long, value_name = "MODEL", requires = "gpu_column")]
    pub gpu_model: Option<String>,
    /// Column with the time of the reading
    #[arg(long, value_name = "COLUMN")]
    pub time_column: String,
    /// Unit of the time column
    #[arg(long, value_name = "UNIT")]
    pub time_unit: TimeUnit,
    /// Column with power: integrated by the trapezoid rule
    #[arg(long, value_name = "COLUMN")]
    pub power_column: Option<String>,
    /// Unit of the power column
    #[arg(long, value_name = "UNIT", default_value = "W", conflicts_with = "energy_column")]
    pub power_unit: PowerUnit,
    /// Column with a counter of energy that rises until it is reset
    #[arg(long, value_name = "COLUMN", requires = "energy_unit")]
    pub energy_column: Option<String>,
    /// Unit of the energy column
    #[arg(long, value_name = "UNIT", requires = "energy_column")]
    pub energy_unit: Option<EnergyUnit>,
    /// Only rows whose column has exactly this text; several must all hold
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = Mapping::filter)]
    pub filters: Vec<(String, String)>,
    /// Longest time between two readings that counts as observed: 500ms, 60s, 5m, 1h
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = super::period::duration_ms)]
    pub longest_gap: u64,
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
    fn a_certificate_is_a_node_s_or_a_collector_s() {
        let parse = |extra: &[&str]| Args::try_parse_from(["gpuledger", "ca", "issue"].iter().chain(extra));
        assert!(parse(&["gpu-01"]).is_ok());
        assert!(parse(&["--collector", "ledger.example,10.0.0.5", "--days", "30"]).is_ok());
        for bad in [&[][..], &["gpu-01", "--collector", "a"], &["--collector", "a:1"], &["a", "--days", "0"]]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reading_has_one_quantity_and_one_source_of_its_node() {
        let parse = |extra: &[&str]| {
            let fixed =
                ["gpuledger", "import", "telemetry", "f.csv", "--time-column", "t", "--time-unit", "ms"];
            Args::try_parse_from(fixed.iter().chain(extra))
        };
        assert!(parse(&["--node", "a", "--power-column", "p"]).is_ok());
        assert!(parse(&["--node-column", "n", "--energy-column", "e", "--energy-unit", "kWh"]).is_ok());
        for bad in [
            &["--power-column", "p"][..],
            &["--node", "a"],
            &["--node", "a", "--node-column", "n", "--power-column", "p"],
            &["--node", "a", "--power-column", "p", "--energy-column", "e", "--energy-unit", "J"],
            &["--node", "a", "--energy-column", "e"],
            &["--node", "a", "--power-column", "p", "--where", "run"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
