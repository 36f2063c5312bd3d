-- Statuses are numbers in the order of `JobStatus::ALL`: 0 created, 1 pending, 2 scheduled,
-- 3 dispatched, 4 running, 5 completed, 6 failed, 7 timed out, 8 cancelled.

CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Ids of jobs are never used again, also when every job has been pruned: `next_job` is written
-- before jobs are deleted, and the next id is this or the one after the highest, if that is more.
INSERT INTO meta VALUES ('next_job', 1), ('synced', 0);

CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Written once in a transaction, however many of its jobs moved.
CREATE TABLE counts (
    queue INTEGER NOT NULL,
    status INTEGER NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (queue, status)
) STRICT, WITHOUT ROWID;

-- `handler` is NULL for commands that are given with the job; `require` is JSON with sorted keys.
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    handler TEXT,
    require TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX lanes_key ON lanes (queue, ifnull(handler, ''), require);

-- What changes of a job, and no more: every move rewrites the row, so what is written once or may
-- be large stands in `specs` and `results`. The live attempt stands here; it becomes a row of
-- `attempts` when it ends. So a claim writes one row, and an outcome two.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 8),
    -- 0 is critical, 3 low: the whole order of dispatch ascends.
    urgency INTEGER NOT NULL CHECK (urgency BETWEEN 0 AND 3),
    lane INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    -- While it waits: when its waiting is over.
    expire_at INTEGER,
    created_at INTEGER NOT NULL,
    deadline INTEGER,
    timeout_ms INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    returned INTEGER NOT NULL DEFAULT 0,
    -- The live attempt.
    execution BLOB,
    worker BLOB,
    worker_name TEXT,
    claimed_at INTEGER,
    started_at INTEGER,
    percent REAL,
    progress TEXT,
    cancel_at INTEGER,
    cancel_reason TEXT,
    cancel_by TEXT,
    finished_at INTEGER,
    -- The attempt that ended last.
    last_started_at INTEGER,
    last_worker TEXT,
    last_error TEXT,
    last_exit_code INTEGER,
    last_exit_signal INTEGER,
    -- While a dead letter is kept: its reason, and since when.
    dead TEXT,
    dead_at INTEGER,
    CHECK ((status IN (3, 4)) = (execution IS NOT NULL)),
    CHECK ((execution IS NULL) = (worker IS NULL)),
    CHECK ((status >= 5) = (finished_at IS NOT NULL)),
    CHECK (expire_at IS NULL OR status < 3),
    CHECK (dead IS NULL OR status IN (6, 7)),
    CHECK ((dead IS NULL) = (dead_at IS NULL))
) STRICT;
-- The order of dispatch.
CREATE INDEX jobs_ready ON jobs (lane, urgency, run_at) WHERE status = 1;
CREATE INDEX jobs_due ON jobs (run_at) WHERE status = 2;
CREATE INDEX jobs_expire ON jobs (expire_at) WHERE expire_at IS NOT NULL;
-- Completed jobs are the mass; a list of them reads by id.
CREATE INDEX jobs_status ON jobs (status) WHERE status <> 5;
-- What may be pruned.
CREATE INDEX jobs_completed ON jobs (finished_at) WHERE status = 5;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE status > 5 AND dead IS NULL;
CREATE INDEX jobs_dead ON jobs (id) WHERE dead IS NOT NULL;

CREATE TABLE specs (job INTEGER PRIMARY KEY, spec TEXT NOT NULL) STRICT;
CREATE TABLE results (job INTEGER PRIMARY KEY, result TEXT NOT NULL) STRICT;

-- A key outlives its pruned job until `kept_until`, with the job's last status.
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL,
    hash TEXT,
    status INTEGER,
    kept_until INTEGER,
    CHECK ((status IS NULL) = (kept_until IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_kept ON keys (kept_until) WHERE kept_until IS NOT NULL;

-- Attempts that ended.
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
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    execution BLOB NOT NULL,
    stream INTEGER NOT NULL,
    at INTEGER NOT NULL,
    dropped_bytes INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (job, attempt, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    incarnation BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    registration TEXT NOT NULL,
    state TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    hosted_by BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    note TEXT NOT NULL
) STRICT, WITHOUT ROWID;
