//! Where the ledgers of the runs are: each run has one of its own.
//!
//! On SQLite it is a file in the run's folder. On a PostgreSQL server it is a new schema,
//! `sim_<process>_<seed>_<number>`, dropped when the run has ended, also in failure; a simulation that
//! is killed leaves the schemas of the runs that it was in.

use super::store::open_in;
use gpuledger_collector::store::{Access, Location, PostgresUrl, StoreError, open_store};
use gpuledger_ledger::{LedgerError, Store};
use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::{Client, Config, NoTls};

/// What holds the ledgers of the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file for each.
    Sqlite,
    /// A server, with a schema for each.
    Postgres(PostgresUrl),
}

/// What cannot be had from a place. No message shows a password.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("expected sqlite or postgres://USER@HOST/DATABASE, with the password in PGPASSWORD: {reason}")]
    Unknown { reason: String },
    #[error(
        "the address of a simulation's server has no options: expected postgres://USER@HOST/DATABASE and nothing \
         behind it, since each run is led to a schema of its own, without TLS"
    )]
    Options,
    #[error("{server}: cannot {operation}: {reason}")]
    Server { server: PostgresUrl, operation: &'static str, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text == "sqlite" {
            return Ok(Self::Sqlite);
        }
        match text.parse() {
            Ok(Location::Postgres(url)) if url.expose().contains(['?', '#']) => Err(PlaceError::Options),
            Ok(Location::Postgres(url)) => Ok(Self::Postgres(url)),
            // It is not repeated: a slip of the hand may have made it of an address with a password.
            Ok(Location::File(_)) => Err(PlaceError::Unknown { reason: "this is neither".to_owned() }),
            Err(error) => Err(PlaceError::Unknown { reason: error.to_string() }),
        }
    }
}

/// As it is typed, but without a password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("sqlite"),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// The ledger of one run.
pub struct Site {
    /// As each collector has opened it, or once for all.
    pub ledgers: Vec<Arc<dyn Store>>,
    schema: Option<Schema>,
}

/// A schema of its own on a server, which the server forgets only when it is told to.
pub(crate) struct Schema {
    name: String,
    server: PostgresUrl,
    client: Client,
}

impl Place {
    /// Whether a ledger is in files that can be copied and torn.
    pub const fn has_files(&self) -> bool {
        matches!(self, Self::Sqlite)
    }

    /// A new ledger for the run of a seed.
    pub async fn open(&self, seed: u64, collectors: usize, folder: &Path) -> Result<Site, PlaceError> {
        let Self::Postgres(server) = self else {
            return Ok(Site { ledgers: vec![open_in(folder, 0)?], schema: None });
        };
        let schema = Schema::create(server, &format!("sim_{}_{seed}", std::process::id())).await?;
        let opened = schema.open(collectors).await;
        let mut site = Site { ledgers: Vec::new(), schema: Some(schema) };
        match opened {
            Ok(ledgers) => site.ledgers = ledgers,
            Err(error) => {
                site.close().await?;
                return Err(error);
            }
        }
        Ok(site)
    }
}

impl Site {
    /// Removes the ledger from the server that it is on; files go with their folder.
    pub async fn close(self) -> Result<(), PlaceError> {
        drop(self.ledgers);
        match self.schema {
            Some(schema) => schema.drop().await,
            None => Ok(()),
        }
    }
}

impl Schema {
    /// A new one: its name is what is given and a number.
    pub(crate) async fn create(server: &PostgresUrl, label: &str) -> Result<Self, PlaceError> {
        // The same seed may be run twice in one process at the same time.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{label}_{number}");
        // The reason may quote a piece of the address.
        let config = server.expose().parse::<Config>();
        let mut config = config.map_err(|_| failed(server, "understand its address", "it is malformed"))?;
        // As the product does it.
        if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
            config.password(password);
        }
        let connected = config.application_name("gpuledger-fleet").connect(NoTls).await;
        let (client, connection) = connected.map_err(|error| failed(server, "connect", &told(&error)))?;
        // It ends with the client; what fails of it, the client's calls tell.
        tokio::spawn(connection);
        let schema = Self { name, server: server.clone(), client };
        schema.execute("create a schema", &format!("CREATE SCHEMA {}", schema.name)).await?;
        Ok(schema)
    }

    /// What a collector opens as its ledger.
    pub(crate) fn location(&self) -> Result<Location, PlaceError> {
        let url = format!("{}?options=-csearch_path%3D{}", self.server.expose(), self.name);
        url.parse().map_err(|_| PlaceError::Options)
    }

    async fn open(&self, collectors: usize) -> Result<Vec<Arc<dyn Store>>, PlaceError> {
        let location = self.location()?;
        let mut ledgers = Vec::with_capacity(collectors);
        for _ in 0..collectors {
            ledgers.push(open_store(&location, Access::Write).await?);
        }
        Ok(ledgers)
    }

    pub(crate) async fn drop(self) -> Result<(), PlaceError> {
        self.execute("drop a schema", &format!("DROP SCHEMA {} CASCADE", self.name)).await
    }

    /// Runs statements by a connection of its own.
    pub(crate) async fn execute(&self, operation: &'static str, sql: &str) -> Result<(), PlaceError> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| failed(&self.server, operation, &told(&error)))
    }

    /// Asks for one value by that connection.
    pub(crate) async fn ask<T>(&self, operation: &'static str, sql: &str) -> Result<T, PlaceError>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.client.query_one(sql, &[]).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| failed(&self.server, operation, &told(&error)))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

fn failed(server: &PostgresUrl, operation: &'static str, reason: &str) -> PlaceError {
    PlaceError::Server { server: server.clone(), operation, reason: reason.to_owned() }
}

fn told(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(server), _) => server.message().to_owned(),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_what_it_shows_but_for_the_password() {
        for (given, told) in [
            ("sqlite", "sqlite"),
            ("postgres://sim@h:5433/d", "postgres://sim@h:5433/d"),
            ("postgres://sim:hidden@h/d", "postgres://sim@h/d"),
        ] {
            let place: Place = given.parse().unwrap();
            assert_eq!(place.to_string(), told);
            assert!(!format!("{place:?}").contains("hidden"));
        }
    }

    #[test]
    fn what_is_no_place_is_refused_and_no_message_repeats_it() {
        for (given, told) in [
            ("", "empty"),
            ("hidden.db", "expected sqlite or postgres://"),
            ("postgres:/sim:hidden@h/d", "expected sqlite or postgres://"),
            ("mysql://u:hidden@h/d", "expected sqlite or postgres://"),
            ("postgres://u:hidden@h", "names no database"),
            ("postgres://u:hidden@h/d?sslmode=require", "has no options"),
        ] {
            let message = given.parse::<Place>().unwrap_err().to_string();
            assert!(message.contains(told) && !message.contains("hidden"), "{given}: {message}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_without_the_password() {
        // A port of the first thousand that nothing listens on.
        let place: Place = "postgres://sim:hidden@127.0.0.1:9/d".parse().unwrap();
        let error = place.open(7, 1, Path::new("")).await.err().unwrap().to_string();
        assert!(error.starts_with("postgres://sim@127.0.0.1:9/d: cannot connect: "), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
}
