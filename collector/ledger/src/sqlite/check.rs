//! What must be true of every row, asked of the whole file.

use rusqlite::Connection;

/// Faults of one kind that are listed one by one; the rest is counted.
const LISTED_MAX: usize = 20;

/// One invariant: a query that returns one text a fault.
struct Invariant {
    /// What the listed rows break, when there are more than can be listed.
    name: &'static str,
    sql: &'static str,
}

// Hour, GPU and owner within a key: see `key`. 438288 is the first hour in hours since 1970.
const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "GPU hours longer than an hour",
        sql: "SELECT 'GPU ' || (key >> 24 & 1048575) || ', hour ' || strftime('%Y-%m-%dT%H:00Z', \
              ((key >> 44) + 438288) * 3600, 'unixepoch') || ': ' || \
              sum(active_ms + held_ms + free_ms + down_ms) || ' ms were observed in an hour of 3600000 ms' \
              FROM gpu_hour GROUP BY key >> 24 HAVING sum(active_ms + held_ms + free_ms + down_ms) > 3600000",
    },
    Invariant {
        name: "node hours longer than an hour",
        sql: "SELECT 'node ' || (key >> 20 & 16777215) || ', hour ' || strftime('%Y-%m-%dT%H:00Z', \
              ((key >> 44) + 438288) * 3600, 'unixepoch') || ': ' || observed_ms || \
              ' ms were observed in an hour of 3600000 ms' FROM node_hour WHERE observed_ms > 3600000",
    },
    Invariant {
        name: "negative quantities of GPUs",
        sql: "SELECT 'GPU row ' || key || ' holds a negative quantity' FROM gpu_hour WHERE min(active_ms, \
              held_ms, free_ms, down_ms, counter_mj, gap_mj, estimated_mj, active_mj, busy_ppm_ms, \
              busy_known_ms, throttled_ms, samples, memory_hi, memory_lo, coalesce(power_max_mw, 0)) < 0",
    },
    Invariant {
        name: "negative quantities of nodes",
        sql: "SELECT 'node row ' || key || ' holds a negative quantity' FROM node_hour WHERE min(observed_ms, \
              counter_mj, gap_mj, estimated_mj, metered_ms, cpu_ppm_ms, cpu_known_ms, samples, memory_hi, \
              memory_lo, coalesce(power_max_mw, 0)) < 0",
    },
    Invariant {
        name: "GPU rows with more energy in gaps than in all",
        sql: "SELECT 'GPU row ' || key || ': ' || gap_mj || ' mJ in gaps are more than the counter''s ' || \
              counter_mj || ' mJ' FROM gpu_hour WHERE gap_mj > counter_mj",
    },
    Invariant {
        name: "node rows with more energy in gaps than in all",
        sql: "SELECT 'node row ' || key || ': ' || gap_mj || ' mJ in gaps are more than the counter''s ' || \
              counter_mj || ' mJ' FROM node_hour WHERE gap_mj > counter_mj",
    },
    Invariant {
        name: "GPU rows with more active energy than energy",
        sql: "SELECT 'GPU row ' || key || ': ' || active_mj || ' mJ while active are more than ' || \
              (counter_mj + estimated_mj) || ' mJ in all' FROM gpu_hour \
              WHERE active_mj > counter_mj + estimated_mj",
    },
    // Over all owners: each quantity is split among them by itself and rounded to its own unit.
    Invariant {
        name: "GPU hours busier than the time allows",
        sql: "SELECT 'GPU ' || (key >> 24 & 1048575) || ', hour ' || strftime('%Y-%m-%dT%H:00Z', \
              ((key >> 44) + 438288) * 3600, 'unixepoch') || ': busy for ' || sum(busy_ppm_ms) || \
              ' ppm·ms in ' || sum(busy_known_ms) || ' ms' FROM gpu_hour GROUP BY key >> 24 \
              HAVING sum(busy_ppm_ms) > sum(busy_known_ms) * 1000000",
    },
    Invariant {
        name: "node rows busier than the time allows",
        sql: "SELECT 'node row ' || key || ': CPUs busy for ' || cpu_ppm_ms || ' ppm·ms in ' || cpu_known_ms \
              || ' ms' FROM node_hour WHERE cpu_ppm_ms > cpu_known_ms * 1000000",
    },
    Invariant {
        name: "rows of GPUs that are not registered",
        sql: "SELECT DISTINCT 'rows of GPU ' || (key >> 24 & 1048575) || ', which is not registered' \
              FROM gpu_hour WHERE (key >> 24 & 1048575) NOT IN (SELECT key FROM gpu)",
    },
    Invariant {
        name: "rows of owners that are not registered",
        sql: "SELECT DISTINCT 'rows of owner ' || (key & 16777215) || ', which is not registered' \
              FROM gpu_hour WHERE (key & 16777215) > 1 AND (key & 16777215) NOT IN (SELECT key FROM owner)",
    },
    Invariant {
        name: "rows of nodes that are not registered",
        sql: "SELECT DISTINCT 'rows of node ' || (key >> 20 & 16777215) || ', which is not registered' \
              FROM node_hour WHERE (key >> 20 & 16777215) NOT IN (SELECT key FROM node)",
    },
    Invariant {
        name: "GPU rows outside the time that the GPU was seen",
        sql: "SELECT 'GPU ' || gpu.key || ': row of hour ' || strftime('%Y-%m-%dT%H:00Z', \
              ((gpu_hour.key >> 44) + 438288) * 3600, 'unixepoch') || \
              ' lies outside the time in which it was seen' \
              FROM gpu_hour JOIN gpu ON gpu.key = (gpu_hour.key >> 24 & 1048575) \
              LEFT JOIN gpu_seen ON gpu_seen.gpu = gpu.key WHERE first_ms IS NULL OR \
              ((gpu_hour.key >> 44) + 438288) * 3600000 > last_ms OR \
              ((gpu_hour.key >> 44) + 438289) * 3600000 < first_ms",
    },
    Invariant {
        name: "node rows outside the time that the node was seen",
        sql: "SELECT 'node ' || node.key || ': row of hour ' || strftime('%Y-%m-%dT%H:00Z', \
              ((node_hour.key >> 44) + 438288) * 3600, 'unixepoch') || \
              ' lies outside the time in which it was seen' \
              FROM node_hour JOIN node ON node.key = (node_hour.key >> 20 & 16777215) \
              LEFT JOIN node_seen ON node_seen.node = node.key WHERE first_ms IS NULL OR ((node_hour.key >> 44) + 438288) * 3600000 > last_ms OR \
              ((node_hour.key >> 44) + 438289) * 3600000 < first_ms",
    },
    // Time and samples: over all days of a large fleet, energy need not fit in 63 bits.
    Invariant {
        name: "totals of GPU rows that are not those of the expired files",
        sql: "SELECT 'expired files held ' || ms || ' ms of GPUs in ' || n || ' samples, what is kept of them says ' \
              || total_ms || ' ms in ' || total_n || ' samples' FROM \
              (SELECT coalesce(sum(observed_ms), 0) AS ms, coalesce(sum(samples), 0) AS n FROM day_file \
              WHERE status = 'expired' AND rows_of = 'gpu_hours'), \
              (SELECT coalesce(sum(active_ms + held_ms + free_ms + down_ms), 0) AS total_ms, \
              coalesce(sum(samples), 0) AS total_n FROM gpu_expired) WHERE ms <> total_ms OR n <> total_n",
    },
    Invariant {
        name: "totals of node rows that are not those of the expired files",
        sql: "SELECT 'expired files held ' || ms || ' ms of nodes in ' || n || ' samples, what is kept of them says ' \
              || total_ms || ' ms in ' || total_n || ' samples' FROM \
              (SELECT coalesce(sum(observed_ms), 0) AS ms, coalesce(sum(samples), 0) AS n FROM day_file \
              WHERE status = 'expired' AND rows_of = 'node_hours'), \
              (SELECT coalesce(sum(observed_ms), 0) AS total_ms, coalesce(sum(samples), 0) AS total_n \
              FROM node_expired) WHERE ms <> total_ms OR n <> total_n",
    },
    Invariant {
        name: "files beyond the last version of their day",
        sql: "SELECT 'the file ' || path || ' has a version that its day was never given' FROM day_file AS f \
              WHERE NOT EXISTS (SELECT 1 FROM day_version AS v WHERE v.rows_of = f.rows_of AND v.day = f.day \
              AND last >= version)",
    },
    Invariant {
        name: "nodes with sequences and no state",
        sql: "SELECT DISTINCT 'node ' || node || ' has committed sequences and no state' FROM epoch \
              WHERE node NOT IN (SELECT node FROM node_state)",
    },
];

/// One line for each fault; empty means sound. A file whose structure is broken is not read further.
pub fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut integrity = connection.prepare("PRAGMA integrity_check")?;
    let lines: Vec<String> = integrity.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if lines != ["ok"] {
        return Ok(lines.into_iter().map(|line| format!("file structure: {line}")).collect());
    }
    let mut found = Vec::new();
    let mut foreign = connection.prepare("PRAGMA foreign_key_check")?;
    let orphans = foreign.query_map([], |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} refers to a {parent} that is not there"))
    })?;
    for orphan in orphans {
        found.push(orphan?);
    }
    for invariant in INVARIANTS {
        list(connection, invariant, &mut found)?;
    }
    Ok(found)
}

fn list(connection: &Connection, invariant: &Invariant, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(invariant.sql)?;
    let mut faults = statement.query([])?;
    let mut more: u64 = 0;
    let mut listed = 0;
    while let Some(row) = faults.next()? {
        if listed < LISTED_MAX {
            found.push(row.get(0)?);
            listed += 1;
        } else {
            more += 1;
        }
    }
    if more > 0 {
        found.push(format!("… and {more} more: {}", invariant.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{open, register};
    use crate::suite::samples::{inventory, name};

    /// A statement that breaks a sound ledger, and what is then said of it.
    const BROKEN: &[(&str, &str)] = &[
        (
            "INSERT INTO day_file VALUES ('p', 'gpu_hours', 20541, 1, 'expired', 0, 9, zeroblob(32), \
             1, 1000, 7, 0, 0, 12)",
            "expired files held 1000 ms of GPUs in 12 samples, what is kept of them says 0 ms in 0 samples",
        ),
        (
            "INSERT INTO day_version VALUES ('gpu_hours', 20541, 1); INSERT INTO day_file VALUES \
             ('p', 'gpu_hours', 20541, 2, 'pending', 0, 0, zeroblob(32), 0, 0, 0, 0, 0, 0)",
            "the file p has a version that its day was never given",
        ),
        (
            "INSERT INTO node_expired VALUES (1, 5, 0, 0, 0, 0, 0, 0, 3, 0, 0, NULL)",
            "expired files held 0 ms of nodes in 0 samples, what is kept of them says 5 ms in 3 samples",
        ),
        ("INSERT INTO epoch VALUES (zeroblob(16), 1, 4)", "node 1 has committed sequences and no state"),
        (
            "PRAGMA foreign_keys = OFF; UPDATE gpu SET node = 9",
            "a row of gpu refers to a node that is not there",
        ),
        (
            "INSERT INTO gpu_hour VALUES (0, 1, 0, 0, 0, 5, 9, 0, 0, 0, 0, 0, 1, 0, 0, NULL, NULL)",
            "GPU row 0: 9 mJ in gaps are more than the counter's 5 mJ",
        ),
        (
            "INSERT INTO node_hour VALUES (0, 3600001, 0, 0, 0, 0, 0, 0, 1, 0, 0, NULL)",
            "node 0, hour 2020-01-01T00:00Z: 3600001 ms were observed in an hour of 3600000 ms",
        ),
    ];

    #[test]
    fn each_broken_invariant_is_named() {
        for (broken, told) in BROKEN {
            let folder = tempfile::tempdir().unwrap();
            let mut connection = open::for_writing(&folder.path().join("ledger.db")).unwrap();
            let node = register::node(&mut connection, &name("a").unwrap()).unwrap();
            register::inventory(&mut connection, node, &inventory(&["GPU-a"]).unwrap()).unwrap();
            assert_eq!(faults(&connection).unwrap(), [""; 0]);
            connection.execute_batch(broken).unwrap();
            let found = faults(&connection).unwrap();
            assert!(found.iter().any(|fault| fault == told), "{broken}: {found:?}");
        }
    }
}
