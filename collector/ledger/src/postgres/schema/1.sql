-- Quantities are integers in the unit that ends their name. Memory x time is memory_hi * 2^40 +
-- memory_lo. Text is compared by bytes, so that order does not depend on the server's language.

CREATE TABLE gpuledger_meta (
    name            text COLLATE "C" PRIMARY KEY,
    value           text NOT NULL
);

-- Numbers that were given so far. Touched only when something new is registered.
CREATE TABLE counter (
    name            text COLLATE "C" PRIMARY KEY,
    last            integer NOT NULL
);
INSERT INTO counter (name, last) VALUES ('node', 0), ('gpu', 0), ('owner', 1);

CREATE TABLE node (
    key             integer PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    hostname        text NOT NULL DEFAULT '',
    os              text NOT NULL DEFAULT '',
    driver_version  text,
    memory_bytes    bigint,
    cpus            bigint
);

CREATE TABLE gpu (
    key             integer PRIMARY KEY,
    uuid            text COLLATE "C" NOT NULL UNIQUE,
    -- The node whose state holds the memory of its chain.
    node            integer NOT NULL,
    model           text NOT NULL,
    serial          text,
    pci_bus_id      text,
    driver_index    bigint NOT NULL,
    memory_bytes    bigint,
    simulated       boolean NOT NULL
) WITH (fillfactor = 70);

-- When nodes and GPUs were seen: numbers that change with every commit, apart from the names, which
-- would be written anew with them.
CREATE TABLE node_seen (
    node            integer PRIMARY KEY,
    first_ms        bigint,
    last_ms         bigint
) WITH (fillfactor = 50);

CREATE TABLE gpu_seen (
    gpu             integer PRIMARY KEY,
    first_ms        bigint,
    last_ms         bigint
) WITH (fillfactor = 50);

CREATE TABLE owner (
    key             integer PRIMARY KEY,
    kind            text COLLATE "C" NOT NULL,
    account         text COLLATE "C" NOT NULL,
    name            text COLLATE "C" NOT NULL,
    job             text COLLATE "C" NOT NULL,
    UNIQUE (kind, account, name, job)
);

-- The fold's memory of each node; the version rises by one with every commit. There from the moment
-- that the node is registered, so that there is something to lock.
CREATE TABLE node_state (
    node            integer PRIMARY KEY,
    version         bigint NOT NULL,
    state           bytea NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE epoch (
    epoch           uuid PRIMARY KEY,
    node            integer NOT NULL,
    sequence        bigint NOT NULL
) WITH (fillfactor = 70);

-- Rows of open days. They are updated with every commit of their hour: the space that is left in
-- each page lets that happen without touching an index.
CREATE TABLE gpu_hour (
    gpu             integer NOT NULL,
    hour            integer NOT NULL,
    owner           integer NOT NULL,
    active_ms       bigint NOT NULL,
    held_ms         bigint NOT NULL,
    free_ms         bigint NOT NULL,
    down_ms         bigint NOT NULL,
    counter_mj      bigint NOT NULL,
    gap_mj          bigint NOT NULL,
    estimated_mj    bigint NOT NULL,
    active_mj       bigint NOT NULL,
    busy_ppm_ms     bigint NOT NULL,
    busy_known_ms   bigint NOT NULL,
    throttled_ms    bigint NOT NULL,
    samples         bigint NOT NULL,
    memory_hi       bigint NOT NULL,
    memory_lo       bigint NOT NULL,
    power_max_mw    bigint,
    temperature_max_mc bigint,
    PRIMARY KEY (gpu, hour, owner)
) WITH (fillfactor = 70);
CREATE INDEX gpu_hour_by_hour ON gpu_hour (hour);

CREATE TABLE node_hour (
    node            integer NOT NULL,
    hour            integer NOT NULL,
    observed_ms     bigint NOT NULL,
    counter_mj      bigint NOT NULL,
    gap_mj          bigint NOT NULL,
    estimated_mj    bigint NOT NULL,
    metered_ms      bigint NOT NULL,
    cpu_ppm_ms      bigint NOT NULL,
    cpu_known_ms    bigint NOT NULL,
    samples         bigint NOT NULL,
    memory_hi       bigint NOT NULL,
    memory_lo       bigint NOT NULL,
    power_max_mw    bigint,
    PRIMARY KEY (node, hour)
) WITH (fillfactor = 70);
CREATE INDEX node_hour_by_hour ON node_hour (hour);

CREATE TABLE asset (
    serial          text COLLATE "C" PRIMARY KEY,
    document        text NOT NULL
);

-- The manifest of closed days.
CREATE TABLE day_file (
    rows_of         text COLLATE "C" NOT NULL CHECK (rows_of IN ('gpu_hours', 'node_hours')),
    day             integer NOT NULL,
    version         integer NOT NULL,
    path            text COLLATE "C" NOT NULL UNIQUE,
    status          text NOT NULL CHECK (status IN ('pending', 'current', 'superseded', 'expired')),
    since_ms        bigint NOT NULL,
    bytes           bigint NOT NULL,
    sha256          bytea NOT NULL CHECK (length(sha256) = 32),
    row_count       bigint NOT NULL,
    observed_ms     bigint NOT NULL,
    counter_mj      bigint NOT NULL,
    gap_mj          bigint NOT NULL,
    estimated_mj    bigint NOT NULL,
    samples         bigint NOT NULL,
    PRIMARY KEY (rows_of, day, version)
);
CREATE UNIQUE INDEX one_pending_file_a_day ON day_file (rows_of, day) WHERE status = 'pending';
CREATE UNIQUE INDEX one_current_file_a_day ON day_file (rows_of, day) WHERE status = 'current';

-- The last version that a file of each day was given: none is given twice, its entry may be gone.
-- Whoever changes the files of a day holds its row.
CREATE TABLE day_version (
    rows_of         text COLLATE "C" NOT NULL CHECK (rows_of IN ('gpu_hours', 'node_hours')),
    day             integer NOT NULL,
    last            integer NOT NULL,
    PRIMARY KEY (rows_of, day)
);

-- What was in files that are no longer kept, in all.
CREATE TABLE gpu_expired (
    gpu             integer PRIMARY KEY,
    active_ms       bigint NOT NULL,
    held_ms         bigint NOT NULL,
    free_ms         bigint NOT NULL,
    down_ms         bigint NOT NULL,
    counter_mj      bigint NOT NULL,
    gap_mj          bigint NOT NULL,
    estimated_mj    bigint NOT NULL,
    active_mj       bigint NOT NULL,
    busy_ppm_ms     bigint NOT NULL,
    busy_known_ms   bigint NOT NULL,
    throttled_ms    bigint NOT NULL,
    samples         bigint NOT NULL,
    memory_hi       bigint NOT NULL,
    memory_lo       bigint NOT NULL,
    power_max_mw    bigint,
    temperature_max_mc bigint
);

CREATE TABLE node_expired (
    node            integer PRIMARY KEY,
    observed_ms     bigint NOT NULL,
    counter_mj      bigint NOT NULL,
    gap_mj          bigint NOT NULL,
    estimated_mj    bigint NOT NULL,
    metered_ms      bigint NOT NULL,
    cpu_ppm_ms      bigint NOT NULL,
    cpu_known_ms    bigint NOT NULL,
    samples         bigint NOT NULL,
    memory_hi       bigint NOT NULL,
    memory_lo       bigint NOT NULL,
    power_max_mw    bigint
);
