-- Changes that people and programs made, oldest first.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    changed INTEGER NOT NULL,
    token TEXT NOT NULL,
    address TEXT,
    person TEXT,
    reason TEXT
) STRICT;
CREATE INDEX audit_at ON audit (at);
