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
              FROM gpu_hour JOIN gpu ON gpu.key = (gpu_hour.key >> 24 & 1048575) WHERE first_ms IS NULL OR \
              ((gpu_hour.key >> 44) + 438288) * 3600000 > last_ms OR \
              ((gpu_hour.key >> 44) + 438289) * 3600000 < first_ms",
    },
    Invariant {
        name: "node rows outside the time that the node was seen",
        sql: "SELECT 'node ' || node.key || ': row of hour ' || strftime('%Y-%m-%dT%H:00Z', \
              ((node_hour.key >> 44) + 438288) * 3600, 'unixepoch') || \
              ' lies outside the time in which it was seen' \
              FROM node_hour JOIN node ON node.key = (node_hour.key >> 20 & 16777215) WHERE first_ms IS NULL \
              OR ((node_hour.key >> 44) + 438288) * 3600000 > last_ms OR \
              ((node_hour.key >> 44) + 438289) * 3600000 < first_ms",
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
