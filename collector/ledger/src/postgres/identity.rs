//! The ledger's identity, beside its schema's version.

use super::fault::Fault;
use deadpool_postgres::Transaction;

const NAME: &str = "identity";

pub async fn get(tx: &Transaction<'_>) -> Result<Option<String>, Fault> {
    let row = tx.query_opt("SELECT value FROM gpuledger_meta WHERE name = $1", &[&NAME]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub async fn set(tx: &Transaction<'_>, identity: Option<&str>) -> Result<(), Fault> {
    match identity {
        Some(identity) => {
            let sql =
                "INSERT INTO gpuledger_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
            tx.execute(sql, &[&NAME, &identity]).await?
        }
        None => tx.execute("DELETE FROM gpuledger_meta WHERE name = $1", &[&NAME]).await?,
    };
    Ok(())
}
