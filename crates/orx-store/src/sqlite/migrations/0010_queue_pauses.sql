-- Paused queues: none of their jobs is claimed.
CREATE TABLE queue_pauses (
    queue INTEGER PRIMARY KEY,
    paused_at INTEGER NOT NULL,
    reason TEXT,
    paused_by TEXT
) STRICT;
