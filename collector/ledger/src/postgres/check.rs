//! What must be true of every row, asked of the whole ledger. Structure below the rows is the server's
//! to keep: `pg_amcheck` and its checksums examine it.

use super::fault::Fault;
use deadpool_postgres::Transaction;

/// Faults of one kind that are listed one by one; the rest is counted.
const LISTED_MAX: usize = 20;

/// One invariant: a query that returns one text a fault. `{hour}` stands for a row's hour in words.
struct Invariant {
    /// What the listed rows break, when there are more than can be listed.
    name: &'static str,
    sql: &'static str,
}

const HOUR: &str = "to_char(to_timestamp(hour * 3600.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI\"Z\"')";

// A sum of integers is a decimal here, which has no end; products are made decimals.
const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "GPU hours longer than an hour",
        sql: "SELECT format('GPU %s, hour %s: %s ms were observed in an hour of 3600000 ms', gpu, {hour}, \
              sum(active_ms::numeric + held_ms + free_ms + down_ms)) FROM gpu_hour GROUP BY gpu, hour \
              HAVING sum(active_ms::numeric + held_ms + free_ms + down_ms) > 3600000",
    },
    Invariant {
        name: "node hours longer than an hour",
        sql: "SELECT format('node %s, hour %s: %s ms were observed in an hour of 3600000 ms', node, {hour}, \
              observed_ms) FROM node_hour WHERE observed_ms > 3600000",
    },
    Invariant {
        name: "negative quantities of GPUs",
        sql: "SELECT format('GPU %s, hour %s, owner %s: a quantity is negative', gpu, {hour}, owner) \
              FROM gpu_hour WHERE least(active_ms, held_ms, free_ms, down_ms, counter_mj, gap_mj, estimated_mj, \
              active_mj, busy_ppm_ms, busy_known_ms, throttled_ms, samples, memory_hi, memory_lo, power_max_mw) < 0",
    },
    Invariant {
        name: "negative quantities of nodes",
        sql: "SELECT format('node %s, hour %s: a quantity is negative', node, {hour}) FROM node_hour \
              WHERE least(observed_ms, counter_mj, gap_mj, estimated_mj, metered_ms, cpu_ppm_ms, cpu_known_ms, \
              samples, memory_hi, memory_lo, power_max_mw) < 0",
    },
    Invariant {
        name: "GPU rows with more energy in gaps than in all",
        sql: "SELECT format('GPU %s, hour %s, owner %s: %s mJ in gaps are more than the counter''s %s mJ', gpu, \
              {hour}, owner, gap_mj, counter_mj) FROM gpu_hour WHERE gap_mj > counter_mj",
    },
    Invariant {
        name: "node rows with more energy in gaps than in all",
        sql: "SELECT format('node %s, hour %s: %s mJ in gaps are more than the counter''s %s mJ', node, {hour}, \
              gap_mj, counter_mj) FROM node_hour WHERE gap_mj > counter_mj",
    },
    Invariant {
        name: "GPU rows with more active energy than energy",
        sql: "SELECT format('GPU %s, hour %s, owner %s: %s mJ while active are more than %s mJ in all', gpu, \
              {hour}, owner, active_mj, counter_mj::numeric + estimated_mj) FROM gpu_hour \
              WHERE active_mj > counter_mj::numeric + estimated_mj",
    },
    // Over all owners: each quantity is split among them by itself and rounded to its own unit.
    Invariant {
        name: "GPU hours busier than the time allows",
        sql: "SELECT format('GPU %s, hour %s: busy for %s ppm·ms in %s ms', gpu, {hour}, sum(busy_ppm_ms), \
              sum(busy_known_ms)) FROM gpu_hour GROUP BY gpu, hour \
              HAVING sum(busy_ppm_ms) > sum(busy_known_ms) * 1000000",
    },
    Invariant {
        name: "node rows busier than the time allows",
        sql: "SELECT format('node %s, hour %s: CPUs busy for %s ppm·ms in %s ms', node, {hour}, cpu_ppm_ms, \
              cpu_known_ms) FROM node_hour WHERE cpu_ppm_ms > cpu_known_ms::numeric * 1000000",
    },
    Invariant {
        name: "rows of GPUs that are not registered",
        sql: "SELECT DISTINCT format('rows of GPU %s, which is not registered', gpu) FROM gpu_hour h \
              WHERE NOT EXISTS (SELECT FROM gpu WHERE key = h.gpu)",
    },
    Invariant {
        name: "rows of owners that are not registered",
        sql: "SELECT DISTINCT format('rows of owner %s, which is not registered', owner) FROM gpu_hour h \
              WHERE owner > 1 AND NOT EXISTS (SELECT FROM owner WHERE key = h.owner)",
    },
    Invariant {
        name: "rows of nodes that are not registered",
        sql: "SELECT DISTINCT format('rows of node %s, which is not registered', node) FROM node_hour h \
              WHERE NOT EXISTS (SELECT FROM node WHERE key = h.node)",
    },
    Invariant {
        name: "GPU rows outside the time that the GPU was seen",
        sql: "SELECT format('GPU %s: row of hour %s lies outside the time in which it was seen', gpu, {hour}) \
              FROM gpu_hour LEFT JOIN gpu_seen USING (gpu) WHERE first_ms IS NULL \
              OR hour * 3600000::bigint > last_ms OR (hour + 1) * 3600000::bigint < first_ms",
    },
    Invariant {
        name: "node rows outside the time that the node was seen",
        sql: "SELECT format('node %s: row of hour %s lies outside the time in which it was seen', node, {hour}) \
              FROM node_hour LEFT JOIN node_seen USING (node) WHERE first_ms IS NULL \
              OR hour * 3600000::bigint > last_ms OR (hour + 1) * 3600000::bigint < first_ms",
    },
    // Time and samples: over all days of a large fleet, energy need not fit in 63 bits.
    Invariant {
        name: "totals of GPU rows that are not those of the expired files",
        sql: "SELECT format('expired files held %s ms of GPUs in %s samples, what is kept of them says %s ms in %s \
              samples', f.ms, f.n, t.ms, t.n) FROM (SELECT coalesce(sum(observed_ms), 0), coalesce(sum(samples), 0) \
              FROM day_file WHERE status = 'expired' AND rows_of = 'gpu_hours') AS f(ms, n), \
              (SELECT coalesce(sum(active_ms::numeric + held_ms + free_ms + down_ms), 0), coalesce(sum(samples), 0) \
              FROM gpu_expired) AS t(ms, n) WHERE (f.ms, f.n) <> (t.ms, t.n)",
    },
    Invariant {
        name: "totals of node rows that are not those of the expired files",
        sql: "SELECT format('expired files held %s ms of nodes in %s samples, what is kept of them says %s ms in %s \
              samples', f.ms, f.n, t.ms, t.n) FROM (SELECT coalesce(sum(observed_ms), 0), coalesce(sum(samples), 0) \
              FROM day_file WHERE status = 'expired' AND rows_of = 'node_hours') AS f(ms, n), \
              (SELECT coalesce(sum(observed_ms), 0), coalesce(sum(samples), 0) FROM node_expired) AS t(ms, n) \
              WHERE (f.ms, f.n) <> (t.ms, t.n)",
    },
    Invariant {
        name: "files beyond the last version of their day",
        sql: "SELECT format('the file %s has a version that its day was never given', path) FROM day_file f WHERE NOT \
              EXISTS (SELECT FROM day_version v WHERE v.rows_of = f.rows_of AND v.day = f.day AND last >= version)",
    },
    Invariant {
        name: "nodes with sequences and no state",
        sql: "SELECT DISTINCT format('node %s has committed sequences and no state', node) FROM epoch e \
              WHERE NOT EXISTS (SELECT FROM node_state s WHERE s.node = e.node AND s.version > 0)",
    },
    // What a file has by foreign keys and by its own numbering.
    Invariant {
        name: "nodes without a place for their state",
        sql: "SELECT format('node %s has no state to be locked', key) FROM node n \
              WHERE NOT EXISTS (SELECT FROM node_state WHERE node = n.key)",
    },
    Invariant {
        name: "states, sequences and GPUs of nodes that are not registered",
        sql: "SELECT format('a row of %s refers to node %s, which is not registered', what, node) FROM \
              (SELECT 'node_state' AS what, node FROM node_state UNION SELECT 'epoch', node FROM epoch \
              UNION SELECT 'gpu', node FROM gpu UNION SELECT 'node_expired', node FROM node_expired) r \
              WHERE NOT EXISTS (SELECT FROM node WHERE key = r.node)",
    },
    Invariant {
        name: "expired totals of GPUs that are not registered",
        sql: "SELECT format('a row of gpu_expired refers to GPU %s, which is not registered', gpu) \
              FROM gpu_expired e WHERE NOT EXISTS (SELECT FROM gpu WHERE key = e.gpu)",
    },
    Invariant {
        name: "numbers beyond their counter",
        sql: "SELECT format('%s %s is beyond its counter, which says %s', name, max(r.key), last) FROM counter \
              JOIN (SELECT 'node' AS what, key FROM node UNION ALL SELECT 'gpu', key FROM gpu \
              UNION ALL SELECT 'owner', key FROM owner) r ON what = name GROUP BY name, last \
              HAVING max(r.key) > last",
    },
];

/// One line for each fault; empty means sound.
pub async fn faults(tx: &Transaction<'_>) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    for invariant in INVARIANTS {
        let sql = format!("{} ORDER BY 1", invariant.sql.replace("{hour}", HOUR));
        // A broken ledger may have a fault a row: only those that are shown leave the server.
        let limited = format!("SELECT f, count(*) OVER () FROM ({sql}) AS faults(f) LIMIT {LISTED_MAX}");
        let rows = tx.query(&limited, &[]).await?;
        for row in &rows {
            found.push(row.try_get(0)?);
        }
        let all: i64 = rows.first().map_or(Ok(0), |row| row.try_get(1))?;
        let more = all.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
        if more > 0 {
            found.push(format!("… and {more} more: {}", invariant.name));
        }
    }
    Ok(found)
}
