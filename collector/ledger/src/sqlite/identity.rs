//! The ledger's identity, a fact of the file.

use crate::LedgerError;
use crate::sqlite::fault;
use rusqlite::{Connection, OptionalExtension as _};

const NAME: &str = "identity";

pub fn get(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM fact WHERE name = ?1", [NAME], |row| row.get(0)).optional()
}

pub fn set(connection: &Connection, identity: Option<&str>) -> Result<(), LedgerError> {
    let failed = fault::at("name the ledger");
    let done = match identity {
        Some(identity) => {
            connection.execute("INSERT OR IGNORE INTO fact (name, value) VALUES (?1, ?2)", (NAME, identity))
        }
        None => connection.execute("DELETE FROM fact WHERE name = ?1", [NAME]),
    };
    done.map(drop).map_err(failed)
}
