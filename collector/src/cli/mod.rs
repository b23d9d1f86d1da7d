//! The command line: arguments as typed ([`args`]) → resolved ([`resolve`]) → carried out.
//!
//! A command writes its result to standard output or a file, and everything else to standard error.
//! Every way to end has its exit code ([`failure::Failure`]).

pub mod args;
mod backup;
mod ca;
mod energy;
pub mod failure;
mod gc;
mod import;
mod import_args;
mod migrate;
mod output;
pub mod period;
mod progress;
mod register;
mod report;
mod report_args;
mod report_task;
mod resolve;
mod serve;
mod verify;

pub use failure::Failure;

use args::Args;
use clap::Parser as _;
use resolve::Task;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// Runs one command and gives the process's exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(told) => {
            // Help and version go to standard output and are no error; nothing is left to do where
            // even that cannot be written.
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let ended = resolve::task(args).and_then(carry_out);
    let Err(failure) = ended else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message() {
        let _ = writeln!(std::io::stderr(), "{message}");
    }
    failure.exit_code()
}

fn carry_out(task: Task) -> Result<(), Failure> {
    match task {
        Task::Serve(config) => serve::serve(*config),
        Task::CheckConfig(config) => serve::check(&config),
        Task::CheckFleet(fleet) => serve::check_fleet(&fleet),
        Task::ImportTelemetry(task) => block_on(import::telemetry(task)),
        Task::ImportAssets(task) => block_on(register::import_assets(task)),
        Task::ImportPrices(task) => register::import_prices(*task),
        Task::ImportRates(task) => register::import_rates(&task),
        Task::ImportCentres(task) => register::import_centres(&task),
        Task::ExportAssets(task) => block_on(register::export_assets(*task)),
        Task::Report(task) => block_on(report::report(*task)),
        Task::Verify(ledger) => block_on(verify::verify(ledger)),
        Task::Backup(ledger, out) => block_on(backup::backup(ledger, out)),
        Task::Migrate(task) => block_on(migrate::migrate(task)),
        Task::Gc(task) => block_on(gc::gc(task)),
        Task::CaInit { out, force } => ca::init(&out, force),
        Task::CaIssue(task) => ca::issue(&task),
    }
}

/// Commands end by themselves and have one thing to do at a time: one thread is enough.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?.block_on(command)
}
