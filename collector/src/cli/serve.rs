//! `serve` and `check-config`.

use super::Failure;
use crate::app;
use crate::config::Config;
use crate::fleet::Fleet;
use std::io::{self, IsTerminal as _, Write as _};

/// Serves until the process is told to stop. Logs go to standard error.
pub fn serve(config: Config) -> Result<(), Failure> {
    let logs = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(config.log_level);
    logs.with_ansi(io::stderr().is_terminal()).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?;
    runtime.block_on(app::serve(config)).map_err(|error| {
        if error.is_usage() { Failure::Usage(error.to_string()) } else { Failure::Runtime(error.to_string()) }
    })
}

/// Says what a configuration and a register that were found good mean.
pub fn check(config: &Config) -> Result<(), Failure> {
    let register = match &config.fleet {
        Some(path) => {
            let fleet = Fleet::load(path).map_err(|error| Failure::Usage(error.to_string()))?;
            let (sites, assets, prices) = (fleet.sites.len(), fleet.assets.len(), fleet.prices.len());
            format!("{}: {sites} sites, {assets} assets, {prices} rent prices", path.display())
        }
        None => "none: nothing has a cost".to_owned(),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "ledger       {}", config.ledger)?;
    writeln!(out, "fleet        {register}")?;
    writeln!(out, "agents       {}", config.grpc_listen)?;
    writeln!(out, "HTTP         {}", config.http_listen)?;
    Ok(out.flush()?)
}
