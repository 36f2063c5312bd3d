-- Which of several copies of a store is served: its id, and, where they are known, `moved_to`,
-- `copying_from`, `served_at`.
CREATE TABLE home (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO home VALUES ('id', lower(hex(randomblob(16))));
