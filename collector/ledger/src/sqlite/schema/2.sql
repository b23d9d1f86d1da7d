-- Where two nodes have sequences of one epoch, the one that got further keeps it, and of equals the
-- one that was registered first. Whatever either has committed is at or below that sequence, so that
-- none of it can be taken once more; the other node is told that the epoch is not its own.
ALTER TABLE epoch RENAME TO epoch_by_node;

CREATE TABLE epoch (
    epoch           BLOB PRIMARY KEY,
    node            INTEGER NOT NULL REFERENCES node,
    sequence        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO epoch (epoch, node, sequence)
    SELECT epoch, node, sequence FROM epoch_by_node ORDER BY epoch, sequence DESC, node;

DROP TABLE epoch_by_node;

-- The manifest: the files that hold closed days. Dates are days since 1970.
CREATE TABLE day_file (
    path            TEXT PRIMARY KEY,
    rows_of         TEXT NOT NULL CHECK (rows_of IN ('gpu_hours', 'node_hours')),
    day             INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'current', 'superseded', 'expired')),
    since_ms        INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    sha256          BLOB NOT NULL CHECK (length(sha256) = 32),
    row_count       INTEGER NOT NULL,
    observed_ms     INTEGER NOT NULL,
    counter_mj      INTEGER NOT NULL,
    gap_mj          INTEGER NOT NULL,
    estimated_mj    INTEGER NOT NULL,
    samples         INTEGER NOT NULL,
    UNIQUE (rows_of, day, version)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_pending_file_a_day ON day_file (rows_of, day) WHERE status = 'pending';
CREATE UNIQUE INDEX one_current_file_a_day ON day_file (rows_of, day) WHERE status = 'current';

-- The last version that a file of each day was given: none is given twice, its entry may be gone.
CREATE TABLE day_version (
    rows_of         TEXT NOT NULL CHECK (rows_of IN ('gpu_hours', 'node_hours')),
    day             INTEGER NOT NULL,
    last            INTEGER NOT NULL,
    PRIMARY KEY (rows_of, day)
) STRICT, WITHOUT ROWID;

-- Sums over the rows of expired files: the columns of gpu_hour and node_hour.
CREATE TABLE gpu_expired (
    key             INTEGER PRIMARY KEY REFERENCES gpu,
    active_ms       INTEGER NOT NULL,
    held_ms         INTEGER NOT NULL,
    free_ms         INTEGER NOT NULL,
    down_ms         INTEGER NOT NULL,
    counter_mj      INTEGER NOT NULL,
    gap_mj          INTEGER NOT NULL,
    estimated_mj    INTEGER NOT NULL,
    active_mj       INTEGER NOT NULL,
    busy_ppm_ms     INTEGER NOT NULL,
    busy_known_ms   INTEGER NOT NULL,
    throttled_ms    INTEGER NOT NULL,
    samples         INTEGER NOT NULL,
    memory_hi       INTEGER NOT NULL,
    memory_lo       INTEGER NOT NULL,
    power_max_mw    INTEGER,
    temperature_max_mc INTEGER
) STRICT;

CREATE TABLE node_expired (
    key             INTEGER PRIMARY KEY REFERENCES node,
    observed_ms     INTEGER NOT NULL,
    counter_mj      INTEGER NOT NULL,
    gap_mj          INTEGER NOT NULL,
    estimated_mj    INTEGER NOT NULL,
    metered_ms      INTEGER NOT NULL,
    cpu_ppm_ms      INTEGER NOT NULL,
    cpu_known_ms    INTEGER NOT NULL,
    samples         INTEGER NOT NULL,
    memory_hi       INTEGER NOT NULL,
    memory_lo       INTEGER NOT NULL,
    power_max_mw    INTEGER
) STRICT;

-- When nodes and GPUs were seen: numbers that change with every commit, apart from the names, which
-- would be written anew with them.
CREATE TABLE node_seen (
    node            INTEGER PRIMARY KEY,
    first_ms        INTEGER,
    last_ms         INTEGER
) STRICT;

CREATE TABLE gpu_seen (
    gpu             INTEGER PRIMARY KEY,
    first_ms        INTEGER,
    last_ms         INTEGER
) STRICT;

INSERT INTO node_seen SELECT key, first_ms, last_ms FROM node WHERE first_ms IS NOT NULL;
INSERT INTO gpu_seen SELECT key, first_ms, last_ms FROM gpu WHERE first_ms IS NOT NULL;
ALTER TABLE node DROP COLUMN first_ms;
ALTER TABLE node DROP COLUMN last_ms;
ALTER TABLE gpu DROP COLUMN first_ms;
ALTER TABLE gpu DROP COLUMN last_ms;

-- What is true of the ledger as a whole, by name: archive_location.
CREATE TABLE fact (
    name            TEXT PRIMARY KEY,
    value           TEXT NOT NULL
) STRICT, WITHOUT ROWID;
