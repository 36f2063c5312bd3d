-- Jobs that wait for other jobs. A dependency stands until the leader has followed up the end of its parent.
CREATE TABLE dependencies (
    parent INTEGER NOT NULL,
    child INTEGER NOT NULL,
    -- Whether the leader cancels the parent, and whether the parent has a cancel request.
    cancel INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    -- What becomes of the child if the parent fails: `start` for a run, which starts all the same.
    if_failed TEXT NOT NULL DEFAULT 'start',
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependencies_child ON dependencies (child);
CREATE INDEX dependencies_cancel ON dependencies (parent) WHERE cancel AND NOT cancel_requested;

-- Alerts of runs that may still fail.
CREATE TABLE run_alerts (
    job INTEGER PRIMARY KEY,
    schedule TEXT NOT NULL,
    slot INTEGER,
    on_failure TEXT NOT NULL
) STRICT;

-- Set while the job has children or an alert: its end has to be followed up. The write that makes it final
-- thereby adds it to this index, from which the leader reads.
ALTER TABLE jobs ADD COLUMN follow_up INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_follow_up ON jobs (id) WHERE follow_up AND status >= 5;

-- Of runs that wait for a pruned run, which had ended: they wait for the run that it waited for.
INSERT INTO dependencies (parent, child, cancel, cancel_requested)
WITH RECURSIVE waits (child, parent, cancel) AS (
    SELECT job, waits_for, cancel FROM watched WHERE waits_for IS NOT NULL
    UNION
    SELECT s.child, w.waits_for, s.cancel FROM waits s JOIN watched w ON w.job = s.parent
    WHERE w.waits_for < w.job AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = s.parent)
)
SELECT s.parent, s.child, s.cancel, j.cancel_at IS NOT NULL
FROM waits s JOIN jobs j ON j.id = s.parent
WHERE EXISTS (SELECT 1 FROM jobs WHERE id = s.child);
INSERT INTO run_alerts
SELECT job, schedule, slot, on_failure FROM watched
WHERE on_failure IS NOT NULL AND EXISTS (SELECT 1 FROM jobs WHERE id = job);
DROP TABLE watched;
UPDATE jobs SET follow_up = 1
WHERE id IN (SELECT parent FROM dependencies UNION SELECT job FROM run_alerts);

-- Runs that wait for none that still exists.
CREATE TEMPORARY TABLE released AS
SELECT j.id, l.queue FROM jobs j JOIN lanes l ON l.id = j.lane
WHERE j.status = 0 AND j.id NOT IN (SELECT child FROM dependencies);
UPDATE jobs SET status = 1 WHERE id IN (SELECT id FROM released);
UPDATE counts SET jobs = jobs - (SELECT count(*) FROM released r WHERE r.queue = counts.queue)
WHERE status = 0;
INSERT INTO counts (queue, status, jobs) SELECT queue, 1, count(*) FROM released WHERE true GROUP BY queue
ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs;
DROP TABLE released;
