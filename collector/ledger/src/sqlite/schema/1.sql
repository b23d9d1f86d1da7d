CREATE TABLE node (
    key             INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    hostname        TEXT NOT NULL,
    os              TEXT NOT NULL,
    driver_version  TEXT,
    memory_bytes    INTEGER,
    cpus            INTEGER,
    first_ms        INTEGER,
    last_ms         INTEGER
) STRICT;

CREATE TABLE gpu (
    key             INTEGER PRIMARY KEY,
    uuid            TEXT NOT NULL UNIQUE,
    node            INTEGER NOT NULL REFERENCES node,
    model           TEXT NOT NULL,
    serial          TEXT,
    pci_bus_id      TEXT,
    driver_index    INTEGER NOT NULL,
    memory_bytes    INTEGER,
    simulated       INTEGER NOT NULL,
    first_ms        INTEGER,
    last_ms         INTEGER
) STRICT;

CREATE TABLE owner (
    key             INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL,
    account         TEXT NOT NULL,
    name            TEXT NOT NULL,
    job             TEXT NOT NULL,
    UNIQUE (kind, account, name, job)
) STRICT;

-- The fold's memory of each node; the version rises by one with every commit.
CREATE TABLE node_state (
    node            INTEGER PRIMARY KEY REFERENCES node,
    version         INTEGER NOT NULL,
    state           BLOB NOT NULL
) STRICT;

CREATE TABLE epoch (
    node            INTEGER NOT NULL REFERENCES node,
    epoch           BLOB NOT NULL,
    sequence        INTEGER NOT NULL,
    PRIMARY KEY (node, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE gpu_hour (
    key             INTEGER PRIMARY KEY CHECK (key >= 0),
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

CREATE TABLE node_hour (
    key             INTEGER PRIMARY KEY CHECK (key >= 0),
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

CREATE TABLE asset (
    serial          TEXT PRIMARY KEY,
    document        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
