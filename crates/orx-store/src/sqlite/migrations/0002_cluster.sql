-- Several nodes and workers in processes of their own. The lease of the leader stands in memory: one
-- process at a time holds this file. Its epoch stands here, since it must never come again.
INSERT INTO meta VALUES ('epoch', 0);

-- The epoch of the leader that gave an attempt out; 0 is from before there were any.
ALTER TABLE jobs ADD COLUMN epoch INTEGER;
ALTER TABLE attempts ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

-- By worker, what it holds: asked with each heartbeat.
CREATE INDEX jobs_live ON jobs (worker) WHERE worker IS NOT NULL;

ALTER TABLE workers ADD COLUMN capacity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN heartbeat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN load TEXT;
ALTER TABLE workers ADD COLUMN node BLOB;
-- What a person wants of it: drain, fence.
ALTER TABLE workers ADD COLUMN ordered TEXT;

CREATE TABLE nodes (
    node BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
