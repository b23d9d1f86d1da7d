//! The schema as the linear list of steps that lead to it, and whose database it is. A released step
//! never changes.

use super::address::Address;
use super::fault::{Fault, told};
use super::pool::in_transaction;
use crate::LedgerError;
use deadpool_postgres::{Pool, Transaction};
use std::path::PathBuf;

const STEPS: &[&str] = &[include_str!("schema/1.sql")];

/// Held while the schema is looked at and changed, so that collectors that start together do it one
/// after the other. "GPUL" in ASCII.
const LOCK: i64 = 0x4750_554c;

/// Tables of the current schema that belong to no extension.
const TABLES: &str = "SELECT c.relname::text FROM pg_class c \
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
                     AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1";

/// The schema version that this build reads and writes.
fn known_version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings the schema up to this build's: all steps in one transaction.
pub async fn for_writing(pool: &Pool, address: &Address) -> Result<(), LedgerError> {
    let done: Result<(), Fault> = in_transaction!(pool, Write, Long, tx => migrate(tx, address));
    done.map_err(|fault| of_opening(address, fault))
}

/// Sees to it that there is a ledger of this build's schema; changes nothing.
pub async fn existing(pool: &Pool, address: &Address) -> Result<(), LedgerError> {
    let found: Result<Option<i64>, Fault> = in_transaction!(pool, Read, Short, tx => identify(tx, address));
    match found.map_err(|fault| of_opening(address, fault))? {
        Some(found) if found == known_version() => Ok(()),
        Some(found) => Err(address.failed(format!(
            "its schema {found} is older than this build's {}; a command that writes brings it up to date",
            known_version()
        ))),
        None => Err(not_ours(address, "it is empty")),
    }
}

async fn migrate(tx: &Transaction<'_>, address: &Address) -> Result<(), Fault> {
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let found = identify(tx, address).await?.unwrap_or(0);
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done >= STEPS.len() {
        return Ok(());
    }
    for step in &STEPS[done..] {
        tx.batch_execute(step).await?;
    }
    tx.execute(
        "INSERT INTO gpuledger_meta (name, value) VALUES ('schema', $1) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[&known_version().to_string()],
    )
    .await?;
    Ok(())
}

/// The version of the ledger that is there; `None` where there is nothing.
async fn identify(tx: &Transaction<'_>, address: &Address) -> Result<Option<i64>, Fault> {
    let row = tx
        .query_one(
            "SELECT current_schema()::text, current_setting('server_encoding'), current_setting('fsync')",
            &[],
        )
        .await?;
    let (schema, encoding, fsync): (Option<String>, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let Some(schema) = schema else {
        return Err(address.failed("no schema is selected: search_path names none that exists").into());
    };
    if encoding != "UTF8" {
        let reason = format!("its encoding is {encoding}; create the database with ENCODING 'UTF8'");
        return Err(address.failed(reason).into());
    }
    if fsync == "off" {
        tracing::warn!(
            ledger = address.label,
            "the PostgreSQL server runs with fsync = off: a power cut loses what was acknowledged"
        );
    }
    let tables: Vec<String> = tx.query(TABLES, &[]).await?.iter().map(|row| row.get(0)).collect();
    if !tables.iter().any(|table| table == "gpuledger_meta") {
        return match tables.first() {
            None => Ok(None),
            Some(first) => Err(not_ours(
                address,
                &format!(
                    "schema {schema:?} holds tables of another program, such as {first:?}; use a database or a schema of its own"
                ),
            )
            .into()),
        };
    }
    let value = tx.query_opt("SELECT value FROM gpuledger_meta WHERE name = 'schema'", &[]).await?;
    let value: Option<String> = value.map(|row| row.try_get(0)).transpose()?;
    let Some(found) = value.and_then(|value| value.parse::<i64>().ok()) else {
        return Err(not_ours(address, "gpuledger_meta has no schema version").into());
    };
    let known = known_version();
    if found > known {
        return Err(LedgerError::TooNew { path: PathBuf::from(&address.label), found, known }.into());
    }
    Ok(Some(found))
}

/// SQLSTATE classes of a wrong user or password, a database that does not exist, rights that are missing.
const REFUSALS: [&str; 3] = ["28", "3D", "42"];
/// What tokio-postgres says where the server asks for a password and there is none.
const NO_PASSWORD: &str = "password missing";

/// How it says that the two do not agree about TLS.
const NO_TRUST: &str = "error performing TLS handshake";

fn of_opening(address: &Address, fault: Fault) -> LedgerError {
    match fault {
        Fault::Ledger(error) => error,
        Fault::Postgres(error) | Fault::Stale(error) if !is_refusal(&error) => LedgerError::Unreachable {
            path: PathBuf::from(&address.label),
            reason: format!("PostgreSQL: {}", told(&error)),
        },
        // The pool has none to give.
        Fault::Other(reason) => LedgerError::Unreachable { path: PathBuf::from(&address.label), reason },
        Fault::Postgres(error) | Fault::Stale(error) if told(&error).contains(NO_PASSWORD) => {
            address.failed("the server asks for a password: put it into the environment variable PGPASSWORD")
        }
        other => match other.during("open the ledger") {
            LedgerError::Failed { reason, .. } => address.failed(reason),
            LedgerError::ReadOnly { .. } => address.failed("the database is read-only"),
            LedgerError::Locked { .. } => address.failed("another process changes its schema; try again"),
            LedgerError::DiskFull { .. } => address.failed("the server's disk is full"),
            other => other,
        },
    }
}

/// Whether user, password or database are the mistake, as far as the server or the login says it.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => REFUSALS.iter().any(|class| code.code().starts_with(class)),
        None => told(error).contains(NO_PASSWORD) || told(error).starts_with(NO_TRUST),
    }
}

fn not_ours(address: &Address, reason: &str) -> LedgerError {
    LedgerError::NotALedger { path: PathBuf::from(&address.label), reason: reason.to_owned() }
}
