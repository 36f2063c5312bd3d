-- The ready jobs of a lane after a place in the order of dispatch. The index `jobs_ready` is in
-- this order and holds all that is read.
SELECT urgency, run_at, id
FROM jobs
WHERE status = 1 AND lane = ?1 AND (urgency, run_at, id) > (?2, ?3, ?4)
ORDER BY urgency, run_at, id
LIMIT ?5
