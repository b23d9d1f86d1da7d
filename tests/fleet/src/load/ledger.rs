//! The ledger that a run writes to: one of its own, whichever store holds it.

use super::usage;
use super::view::Hold;
use crate::simulate::place::{Place, Schema};
use anyhow::Context as _;
use gpuledger_collector::store::Location;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A new ledger: a file in the run's folder, or a schema of its own on a server.
pub enum RunLedger {
    Sqlite(PathBuf),
    Postgres(Schema),
}

impl RunLedger {
    pub async fn create(place: &Place, folder: &Path) -> anyhow::Result<Self> {
        Ok(match place {
            Place::Sqlite => Self::Sqlite(folder.join("ledger.db")),
            Place::Postgres(server) => {
                Self::Postgres(Schema::create(server, &format!("load_{}", std::process::id())).await?)
            }
        })
    }

    pub fn location(&self) -> anyhow::Result<Location> {
        Ok(match self {
            Self::Sqlite(path) => Location::File(path.clone()),
            Self::Postgres(schema) => schema.location()?,
        })
    }

    /// The line of a collector's configuration that names it. May hold a password.
    pub fn setting(&self) -> anyhow::Result<String> {
        Ok(match self.location()? {
            Location::File(path) => format!("ledger = {path:?}\n"),
            Location::Postgres(url) => format!("ledger = {:?}\n", url.expose()),
        })
    }

    /// Processor time that the store's own server has used; `None` where the store is a library, or
    /// the server is not on this machine.
    pub async fn server_cpu(&self) -> Option<Duration> {
        let Self::Postgres(schema) = self else { return None };
        let backend: i32 = schema.ask("find the server's process", "SELECT pg_backend_pid()").await.ok()?;
        // Of a server on another machine the number means another process here, if any.
        let postmaster = usage::parent_of(u32::try_from(backend).ok()?, "postgres")?;
        usage::family_cpu(postmaster).ok()
    }

    /// Keeps everybody from writing for a while, as a disk or a server does that hangs.
    pub async fn stall(&self, time: Duration, hold: Arc<Hold>) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || hold_file(&path, time, &hold)).await?
            }
            Self::Postgres(schema) => hold_schema(schema, time, &hold).await,
        }
    }

    /// Removes it from the server that it is on; a file goes with its folder.
    pub async fn remove(self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(schema) => Ok(schema.drop().await?),
        }
    }
}

/// The collector's own transactions are over within this.
const LOCK_WITHIN: Duration = Duration::from_secs(60);

fn hold_file(path: &Path, time: Duration, hold: &Hold) -> anyhow::Result<()> {
    let locked = || -> rusqlite::Result<()> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(LOCK_WITHIN)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        hold.begin();
        std::thread::sleep(time);
        hold.end();
        connection.execute_batch("ROLLBACK")
    };
    locked().with_context(|| format!("cannot hold {} locked", path.display()))
}

async fn hold_schema(schema: &Schema, time: Duration, hold: &Hold) -> anyhow::Result<()> {
    const TABLES: &str = "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY tablename) \
                          FROM pg_tables WHERE schemaname = ";
    let tables: String = schema.ask("list the tables", &format!("{TABLES}'{}'", schema.name())).await?;
    // Readers are let through, writers wait.
    schema.execute("lock the tables", &format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE")).await?;
    hold.begin();
    tokio::time::sleep(time).await;
    hold.end();
    Ok(schema.execute("let go of the tables", "ROLLBACK").await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::view::Views;
    use std::time::Instant;

    #[tokio::test]
    async fn nobody_writes_to_a_file_that_is_stalled() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = RunLedger::create(&Place::Sqlite, folder.path()).await.unwrap();
        let path = folder.path().join("ledger.db");
        assert_eq!(ledger.setting().unwrap(), format!("ledger = {path:?}\n"));
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (n)").unwrap();
        let (done, mut over) = tokio::sync::oneshot::channel();
        let stalled = tokio::spawn(async move {
            ledger.stall(Duration::from_secs(2), Views::new(1).hold()).await.unwrap();
            done.send(()).unwrap();
        });
        let began = Instant::now();
        let mut refused = 0;
        while over.try_recv().is_err() {
            let other = Connection::open(&path).unwrap();
            other.busy_timeout(Duration::ZERO).unwrap();
            refused += u32::from(other.execute_batch("INSERT INTO t VALUES (1)").is_err());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stalled.await.unwrap();
        assert!(refused > 0 && began.elapsed() >= Duration::from_secs(2), "{refused}");
        Connection::open(&path).unwrap().execute_batch("INSERT INTO t VALUES (2)").unwrap();
    }
}
