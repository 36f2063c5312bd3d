-- Statuses are numbered in the order of design: 0 created, 1 pending, 2 scheduled, 3 dispatched,
-- 4 running, 5 completed, 6 failed, 7 timed out, 8 cancelled. Times are milliseconds since 1970 UTC.

CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('next_job', 1), ('tick', 0);

CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    handler TEXT,
    labels TEXT NOT NULL
);

-- What changes in a job's life. What never changes is in specs, so that a status is changed without
-- writing the arguments again.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    status INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    -- While it waits: when it is cancelled for having waited too long.
    expire_at INTEGER,
    created_at INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    -- The live attempt; ended ones are in attempts.
    execution BLOB,
    worker BLOB,
    worker_name TEXT,
    claimed_at INTEGER,
    started_at INTEGER,
    percent REAL,
    progress TEXT,
    -- Ends since it was accepted or last retried by a person.
    failed INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    returned INTEGER NOT NULL DEFAULT 0,
    cancel_at INTEGER,
    cancel_reason TEXT,
    cancel_by TEXT,
    finished_at INTEGER,
    -- The attempt that ended last.
    last_started_at INTEGER,
    last_worker TEXT,
    error TEXT,
    exit_code INTEGER,
    exit_signal INTEGER,
    CHECK ((status IN (3, 4)) = (execution IS NOT NULL)),
    CHECK ((status >= 5) = (finished_at IS NOT NULL)),
    CHECK (expire_at IS NULL OR status <= 2)
);
-- In exactly the order of dispatch; what runs or has ended takes no place in it.
CREATE INDEX jobs_ready ON jobs (lane, priority DESC, run_at, id) WHERE status = 1;
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE status = 2;
CREATE INDEX jobs_expire ON jobs (expire_at, id) WHERE expire_at IS NOT NULL;
CREATE INDEX jobs_live ON jobs (id) WHERE execution IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_at, id) WHERE finished_at IS NOT NULL;
-- Completed jobs are the mass; those that ended otherwise are looked for.
CREATE INDEX jobs_trouble ON jobs (status, id) WHERE status >= 6;

CREATE TABLE specs (id INTEGER PRIMARY KEY, spec TEXT NOT NULL);
CREATE TABLE results (id INTEGER PRIMARY KEY, result TEXT NOT NULL);

CREATE TABLE attempts (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    execution BLOB NOT NULL,
    worker BLOB NOT NULL,
    worker_name TEXT NOT NULL,
    status TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER NOT NULL,
    error TEXT,
    exit_code INTEGER,
    exit_signal INTEGER,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

CREATE TABLE keys (key TEXT PRIMARY KEY, job INTEGER NOT NULL, hash TEXT) WITHOUT ROWID;

CREATE TABLE dead_letters (job INTEGER PRIMARY KEY, reason TEXT NOT NULL, at INTEGER NOT NULL);

CREATE TABLE counts (
    queue TEXT NOT NULL,
    status INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (queue, status)
) WITHOUT ROWID;

CREATE TABLE logs (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    execution BLOB NOT NULL,
    stream INTEGER NOT NULL,
    at INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    bytes BLOB NOT NULL
);
CREATE UNIQUE INDEX logs_place ON logs (job, attempt, seq);

CREATE TABLE workers (incarnation BLOB PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tokens (id TEXT PRIMARY KEY, hash BLOB NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
