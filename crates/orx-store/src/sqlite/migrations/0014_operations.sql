-- Operations over many jobs.
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT UNIQUE,
    hash TEXT,
    action TEXT NOT NULL,
    filter TEXT,
    zone TEXT,
    dead INTEGER NOT NULL,
    force INTEGER NOT NULL,
    rate INTEGER,
    matched INTEGER NOT NULL,
    matched_exact INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    cursor INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'running',
    changed INTEGER NOT NULL DEFAULT 0,
    stopping INTEGER NOT NULL DEFAULT 0,
    already_ended INTEGER NOT NULL DEFAULT 0,
    not_ended INTEGER NOT NULL DEFAULT 0,
    not_found INTEGER NOT NULL DEFAULT 0,
    in_use INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    person TEXT,
    token TEXT NOT NULL,
    address TEXT,
    error TEXT,
    ended_by TEXT,
    created_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX operations_running ON operations (id) WHERE status = 'running';
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
-- The ids that an operation names, in pieces: each row holds some, and the last of them.
CREATE TABLE operation_targets (
    operation INTEGER NOT NULL,
    last INTEGER NOT NULL,
    jobs TEXT NOT NULL,
    PRIMARY KEY (operation, last)
) STRICT, WITHOUT ROWID;
