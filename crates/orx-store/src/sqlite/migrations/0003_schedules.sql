-- Schedules. What each firing writes anew is narrow; what a person decided stands beside it.
CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- What became of every slot up to here is decided.
    handled INTEGER NOT NULL,
    next_slot INTEGER,
    next_fire INTEGER,
    runs INTEGER NOT NULL,
    last_run INTEGER,
    -- Rows written to its ledger since the oldest were last forgotten.
    written INTEGER NOT NULL DEFAULT 0,
    CHECK ((next_slot IS NULL) = (next_fire IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_fire, id) WHERE next_fire IS NOT NULL;
CREATE INDEX schedules_written ON schedules (id) WHERE written > 11000;

CREATE TABLE schedule_plans (
    id TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    templates TEXT NOT NULL,
    paused_at INTEGER,
    paused_reason TEXT,
    paused_by TEXT,
    changed_by TEXT
) STRICT, WITHOUT ROWID;

-- The ledger: what became of each slot, or of a range of missed ones.
CREATE TABLE slots (
    schedule TEXT NOT NULL,
    slot INTEGER NOT NULL,
    last INTEGER,
    count INTEGER NOT NULL,
    exact INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    job INTEGER,
    late_ms INTEGER,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (schedule, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_missed ON slots (schedule, slot) WHERE outcome = 'missed';
CREATE INDEX slots_alert ON slots (recorded_at) WHERE outcome = 'missed';
CREATE INDEX slots_old ON slots (recorded_at);

-- Runs that wait for another, or whose failure is told of.
CREATE TABLE watched (
    job INTEGER PRIMARY KEY,
    schedule TEXT NOT NULL,
    slot INTEGER,
    waits_for INTEGER,
    -- That one is to be cancelled.
    cancel INTEGER NOT NULL,
    on_failure TEXT
) STRICT;
