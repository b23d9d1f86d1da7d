//! Adding the rows of a large fleet: copied into a table of this connection, and added from there in one
//! statement.
//!
//! Arrays the server takes apart one by one: without them a commit of 1,000 nodes with 8,000 GPUs costs it a
//! twelfth less in all. Few rows are not worth the statements that it takes, and a role that may make no temporary
//! tables adds all its rows from arrays.
//!
//! They are added by an upsert and not by `UPDATE … FROM`, which is a little less work only where the planner
//! finds the index of the key. With tables that nobody has analysed yet it takes the one by hour, and then
//! looks at all rows of the hour for each of them.

use super::fault::Fault;
use super::rows::{Keyed, Table};
use crate::columns::Columnar;
use deadpool_postgres::Transaction;
use std::pin::pin;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

/// From so many rows on it is less work than upserts.
pub const ROWS_MIN: usize = 1_000;

/// Adds rows; `false`, and nothing is done, where the role may not.
pub async fn add<R: Columnar, const K: usize>(
    table: &Table<R, K>,
    tx: &Transaction<'_>,
    rows: &Keyed<R, K>,
) -> Result<bool, Fault> {
    let may = "SELECT has_database_privilege(current_database(), 'TEMPORARY')";
    if !tx.query_one(&tx.prepare_cached(may).await?, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let sql = Sql::of(table);
    tx.batch_execute(&sql.create).await?;
    copy(&sql.copy, tx, rows).await?;
    tx.execute(&tx.prepare_cached(&sql.add).await?, &[]).await?;
    Ok(true)
}

async fn copy<R: Columnar, const K: usize>(
    sql: &str,
    tx: &Transaction<'_>,
    rows: &Keyed<R, K>,
) -> Result<(), Fault> {
    let sink = tx.copy_in(&tx.prepare_cached(sql).await?).await?;
    let types = [vec![Type::INT4; K], vec![Type::INT8; R::LAYOUT.len()]].concat();
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    let mut columns = Vec::with_capacity(R::LAYOUT.len());
    for (key, row) in rows {
        columns.clear();
        row.put_columns(&mut columns)?;
        let key = key.iter().map(|part| part as &(dyn ToSql + Sync));
        let values: Vec<_> = key.chain(columns.iter().map(|value| value as &(dyn ToSql + Sync))).collect();
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// The statements of one table.
struct Sql {
    create: String,
    copy: String,
    add: String,
}

impl Sql {
    fn of<R: Columnar, const K: usize>(table: &Table<R, K>) -> Self {
        let (name, columns) = (table.name, table.all().join(", "));
        let new = format!("pg_temp.{name}_new");
        Self {
            // Emptied by each commit. It stays, because making one writes into the server's catalogue.
            create: format!("CREATE TABLE IF NOT EXISTS {new} (LIKE {name}) ON COMMIT DELETE ROWS"),
            copy: format!("COPY {new} ({columns}) FROM STDIN BINARY"),
            add: format!(
                "INSERT INTO {name} AS t ({columns}) SELECT {columns} FROM {new} {}",
                table.sql_add()
            ),
        }
    }
}
