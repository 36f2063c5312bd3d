-- The cause of a dead letter: a hash of its job type and its error without what varies (`orx_model::cause`).
-- The leader computes it for the dead letters of before (`assign_causes`).
ALTER TABLE jobs ADD COLUMN cause INTEGER;
CREATE INDEX jobs_cause ON jobs (cause) WHERE cause IS NOT NULL;
CREATE INDEX jobs_cause_at ON jobs (cause, dead_at) WHERE cause IS NOT NULL;
CREATE INDEX jobs_causeless ON jobs (id) WHERE (dead IS NULL) <> (cause IS NULL);

-- Dead letters by cause. Triggers keep the counts, so that no statement can leave them behind: counting a
-- million dead letters would take too long for a list that refreshes.
CREATE TABLE cause_counts (
    cause INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    reason TEXT NOT NULL,
    letters INTEGER NOT NULL,
    PRIMARY KEY (cause, lane, reason)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_cause_added AFTER INSERT ON jobs WHEN new.cause IS NOT NULL BEGIN
    INSERT INTO cause_counts VALUES (new.cause, new.lane, new.dead, 1)
    ON CONFLICT DO UPDATE SET letters = letters + 1;
END;
CREATE TRIGGER jobs_cause_set AFTER UPDATE OF cause ON jobs
WHEN new.cause IS NOT NULL AND new.cause IS NOT old.cause BEGIN
    INSERT INTO cause_counts VALUES (new.cause, new.lane, new.dead, 1)
    ON CONFLICT DO UPDATE SET letters = letters + 1;
END;
CREATE TRIGGER jobs_cause_unset AFTER UPDATE OF cause ON jobs
WHEN old.cause IS NOT NULL AND new.cause IS NOT old.cause BEGIN
    UPDATE cause_counts SET letters = letters - 1
    WHERE cause = old.cause AND lane = old.lane AND reason = old.dead;
    DELETE FROM cause_counts
    WHERE cause = old.cause AND lane = old.lane AND reason = old.dead AND letters = 0;
END;
CREATE TRIGGER jobs_cause_deleted AFTER DELETE ON jobs WHEN old.cause IS NOT NULL BEGIN
    UPDATE cause_counts SET letters = letters - 1
    WHERE cause = old.cause AND lane = old.lane AND reason = old.dead;
    DELETE FROM cause_counts
    WHERE cause = old.cause AND lane = old.lane AND reason = old.dead AND letters = 0;
END;
