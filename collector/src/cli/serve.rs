//! `serve` and `check-config`.

use super::Failure;
use crate::app;
use crate::config::Config;
use crate::fleet::Fleet;
use crate::store::Location;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// A thread that has nothing to do looks again after this time instead of at once: at a thousand batches a
/// second, waking for each by itself costs more than half of what it is to take them in. An agent does not
/// notice, since it waits for the next commit anyway, nor does whoever opens a page.
const GATHER: Duration = Duration::from_millis(5);

/// Serves until the process is told to stop. Logs go to standard error.
pub fn serve(config: Config) -> Result<(), Failure> {
    let logs = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(config.log_level);
    logs.with_ansi(io::stderr().is_terminal()).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(|| std::thread::sleep(GATHER))
        .build();
    let runtime = runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?;
    runtime.block_on(app::serve(config)).map_err(|error| {
        if error.is_usage() { Failure::Usage(error.to_string()) } else { Failure::Runtime(error.to_string()) }
    })
}

/// Says what a configuration and a register that were found good mean.
pub fn check(config: &Config) -> Result<(), Failure> {
    let register = match &config.fleet {
        Some(path) => holds(path)?,
        None => "none: nothing has a cost".to_owned(),
    };
    let encryption = if let Some(files) = &config.tls {
        let facts = files.server().map_err(|error| Failure::Usage(error.to_string()))?.facts;
        for warning in &facts.warnings {
            writeln!(io::stderr(), "warning: {warning}")?;
        }
        let until = gpuledger_tls::day(facts.own.not_after_s);
        format!("TLS as {}, until {until}", facts.own.hosts.join(", "))
    } else {
        writeln!(io::stderr(), "warning: insecure = true: agents send in plain text")?;
        "plain text".to_owned()
    };
    let mut out = io::stdout().lock();
    writeln!(out, "ledger       {}", config.ledger)?;
    writeln!(out, "closed days  {}", closed_days(config))?;
    writeln!(out, "fleet        {register}")?;
    writeln!(out, "agents       {}: {encryption}", config.grpc_listen)?;
    writeln!(out, "HTTP         {}", config.http_listen)?;
    writeln!(out, "remote write {}", remote_write(config))?;
    Ok(out.flush()?)
}

/// Where whole series are sent, and what waits where.
fn remote_write(config: &Config) -> String {
    let Some(options) = &config.remote_write else { return "none: nothing is sent or queued".to_owned() };
    let (url, families, queue) = (&options.target.url, options.families.len(), options.queue.display());
    format!("{url}: {families} families; up to {} MiB wait in {queue}", options.queue_bytes >> 20)
}

/// What becomes of days that are over, as far as the configuration says it.
fn closed_days(config: &Config) -> String {
    let archive = &config.archive;
    if !archive.enabled {
        return "none: days stay in the ledger".to_owned();
    }
    let place = match (&archive.location, &config.ledger) {
        (Some(place), _) => place.clone(),
        (None, Location::File(ledger)) => {
            format!("{}.days, unless they are elsewhere already", ledger.display())
        }
        (None, Location::Postgres(_)) => {
            return "none, unless they are somewhere already: set location under [archive]".to_owned();
        }
    };
    let hours = archive.close_after.as_secs() / 3_600;
    let kept = archive.keep_days.map_or_else(|| "for ever".to_owned(), |days| format!("for {days} days"));
    format!("{place}; after {hours} h, kept {kept}")
}

/// Says what a register that was found good holds.
pub fn check_fleet(path: &Path) -> Result<(), Failure> {
    let register = holds(path)?;
    let mut out = io::stdout().lock();
    writeln!(out, "fleet        {register}")?;
    Ok(out.flush()?)
}

/// What a register holds, in short: what is always there, and what was stated beside it.
fn holds(path: &Path) -> Result<String, Failure> {
    let fleet = Fleet::load(path).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut parts = vec![
        format!("{} sites", fleet.sites.len()),
        format!("{} assets", fleet.holdings.entries.len()),
        format!("{} rent prices", fleet.prices.len()),
    ];
    let more = [
        ("bindings", fleet.holdings.bindings.len()),
        ("overheads", fleet.overheads.len()),
        ("cost centre rules", fleet.centres.len()),
        ("rent terms", fleet.rent_terms.len()),
        ("business models", fleet.models.len()),
    ];
    parts.extend(
        more.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")),
    );
    Ok(format!("{}: {}", path.display(), parts.join(", ")))
}
