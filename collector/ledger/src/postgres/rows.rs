//! SQL of the tables that hold rows in columns.
//!
//! Rows travel in one statement as one array a column, which the server turns into rows by
//! `unnest`: one prepared statement for any number of rows. Many that are to be added go by
//! [`bulk`](super::bulk).

use super::bulk;
use super::fault::Fault;
use crate::LedgerError;
use crate::columns::{Columnar, LO_BITS, LO_MASK, MEMORY};
use deadpool_postgres::Transaction;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Rows in one statement: a few mebibytes, far below what a message may have.
const ROWS_PER_STATEMENT: usize = 20_000;

/// A table of rows `R`, of which each has a key of `K` integers.
pub struct Table<R, const K: usize> {
    pub name: &'static str,
    /// The columns of the key, as the primary key has them.
    pub key: [&'static str; K],
    row: PhantomData<R>,
}

pub const GPU_HOUR: Table<crate::GpuHour, 3> = Table::new("gpu_hour", ["gpu", "hour", "owner"]);
pub const NODE_HOUR: Table<crate::NodeHour, 2> = Table::new("node_hour", ["node", "hour"]);
/// What has expired, in all.
pub const GPU_EXPIRED: Table<crate::GpuHour, 1> = Table::new("gpu_expired", ["gpu"]);
pub const NODE_EXPIRED: Table<crate::NodeHour, 1> = Table::new("node_expired", ["node"]);

/// Rows by key: sorted, so that every writer locks them in one order.
pub type Keyed<R, const K: usize> = BTreeMap<[i32; K], R>;

impl<R: Columnar, const K: usize> Table<R, K> {
    const fn new(name: &'static str, key: [&'static str; K]) -> Self {
        Self { name, key, row: PhantomData }
    }

    pub(super) fn all(&self) -> Vec<&'static str> {
        self.key.iter().copied().chain(R::LAYOUT.names()).collect()
    }

    /// Inserts rows; adds to those that are there.
    pub async fn add(&self, tx: &Transaction<'_>, rows: &Keyed<R, K>) -> Result<(), Fault> {
        if rows.len() >= bulk::ROWS_MIN && bulk::add(self, tx, rows).await? {
            return Ok(());
        }
        let sql = format!("{} {}", self.sql_insert(), self.sql_add());
        self.execute(tx, &sql, by_key(rows)).await.map(drop)
    }

    /// Inserts rows that are not there.
    pub async fn insert(&self, tx: &Transaction<'_>, rows: &Keyed<R, K>) -> Result<(), Fault> {
        self.execute(tx, &self.sql_insert(), by_key(rows)).await.map(drop)
    }

    /// Deletes the rows that are there with exactly these values, and says how many those were. They are
    /// those of a whole day, too many to be copied, and are given in the order of their keys.
    pub async fn delete_equal(&self, tx: &Transaction<'_>, rows: &[([i32; K], &R)]) -> Result<u64, Fault> {
        let names = self.all();
        let equal: Vec<String> = names.iter().map(|c| format!("t.{c} IS NOT DISTINCT FROM v.{c}")).collect();
        // The key by plain equality, so that its index serves.
        let key: Vec<String> = self.key.iter().map(|c| format!("t.{c} = v.{c}")).collect();
        let sql = format!(
            "DELETE FROM {} AS t USING unnest({}) AS v({}) WHERE {} AND {}",
            self.name,
            Self::places(),
            names.join(", "),
            key.join(" AND "),
            equal[K..].join(" AND "),
        );
        self.execute(tx, &sql, rows.iter().copied()).await
    }

    /// Key and columns of the rows that a condition names, in the table's order of columns.
    pub fn sql_select(&self, rest: &str) -> String {
        format!("SELECT {} FROM {} {rest}", self.all().join(", "), self.name)
    }

    /// A group's number and the sum of its rows' columns. The sum of integers is a decimal, which
    /// becomes an integer again or an error.
    pub fn sql_totals(&self, group: &str) -> String {
        let sums = R::LAYOUT.sums.iter().copied().chain(MEMORY);
        let mut columns: Vec<String> = sums.map(|c| format!("sum({c})::bigint")).collect();
        columns.extend(R::LAYOUT.maxima.iter().map(|c| format!("max({c})")));
        format!("SELECT {group}, {} FROM {} GROUP BY {group} ORDER BY {group}", columns.join(", "), self.name)
    }

    /// Takes a row apart that one of the two selects gave: `K` columns of a key, then the row's.
    pub fn read(row: &Row) -> Result<([i32; K], R), Fault> {
        let mut key = [0; K];
        for (at, part) in key.iter_mut().enumerate() {
            *part = row.try_get(at)?;
        }
        let values: Vec<Option<i64>> =
            (K..K + R::LAYOUT.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        Ok((key, R::from_columns(&values)?))
    }

    fn sql_insert(&self) -> String {
        format!(
            "INSERT INTO {} AS t ({}) SELECT * FROM unnest({})",
            self.name,
            self.all().join(", "),
            Self::places()
        )
    }

    /// Behind an insert: adds what is proposed to what is there, `t`. `greatest` passes over what is absent.
    pub(super) fn sql_add(&self) -> String {
        let mut updates: Vec<String> =
            R::LAYOUT.sums.iter().map(|c| format!("{c} = t.{c} + excluded.{c}")).collect();
        let [hi, lo] = MEMORY;
        updates.push(format!("{hi} = t.{hi} + excluded.{hi} + ((t.{lo} + excluded.{lo}) >> {LO_BITS})"));
        updates.push(format!("{lo} = (t.{lo} + excluded.{lo}) & {LO_MASK}"));
        updates.extend(R::LAYOUT.maxima.iter().map(|c| format!("{c} = greatest(t.{c}, excluded.{c})")));
        format!("ON CONFLICT ({}) DO UPDATE SET {}", self.key.join(", "), updates.join(", "))
    }

    fn places() -> String {
        let kinds = (0..K).map(|_| "int4").chain((0..R::LAYOUT.len()).map(|_| "int8"));
        let places: Vec<String> = kinds.zip(1..).map(|(kind, n)| format!("${n}::{kind}[]")).collect();
        places.join(", ")
    }

    /// Runs a statement whose parameters are the arrays of key and columns, piece by piece.
    async fn execute<'a>(
        &self,
        tx: &Transaction<'_>,
        sql: &str,
        mut rows: impl Iterator<Item = ([i32; K], &'a R)>,
    ) -> Result<u64, Fault>
    where
        R: 'a,
    {
        let mut affected = 0;
        loop {
            let arrays = Arrays::of(rows.by_ref().take(ROWS_PER_STATEMENT))?;
            if arrays.keys[0].is_empty() {
                return Ok(affected);
            }
            affected += tx.execute(&tx.prepare_cached(sql).await?, &arrays.parameters()).await?;
        }
    }
}

fn by_key<R, const K: usize>(rows: &Keyed<R, K>) -> impl Iterator<Item = ([i32; K], &R)> {
    rows.iter().map(|(key, row)| (*key, row))
}

/// Rows as one array a column.
struct Arrays<const K: usize> {
    keys: [Vec<i32>; K],
    columns: Vec<Vec<Option<i64>>>,
}

impl<const K: usize> Arrays<K> {
    fn of<'a, R: Columnar + 'a>(rows: impl Iterator<Item = ([i32; K], &'a R)>) -> Result<Self, LedgerError> {
        let mut arrays =
            Self { keys: std::array::from_fn(|_| Vec::new()), columns: vec![Vec::new(); R::LAYOUT.len()] };
        for (key, row) in rows {
            for (array, part) in arrays.keys.iter_mut().zip(key) {
                array.push(part);
            }
            for (array, value) in arrays.columns.iter_mut().zip(row.columns()?) {
                array.push(value);
            }
        }
        Ok(arrays)
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let keys = self.keys.iter().map(|array| array as &(dyn ToSql + Sync));
        keys.chain(self.columns.iter().map(|array| array as &(dyn ToSql + Sync))).collect()
    }
}

/// Adds a row to those of its key.
pub fn put<R: Columnar, const K: usize>(
    rows: &mut Keyed<R, K>,
    key: [i32; K],
    row: &R,
) -> Result<(), LedgerError> {
    rows.entry(key).or_default().merge(row)?;
    Ok(())
}
