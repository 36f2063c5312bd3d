-- The ready jobs of a lane after a job in the order of dispatch. The index `jobs_ready` has this order
-- and covers the columns.
SELECT priority_rank, run_at, id
FROM jobs
WHERE status = 1 AND lane = ?1 AND (priority_rank, run_at, id) > (?2, ?3, ?4)
ORDER BY priority_rank, run_at, id
LIMIT ?5
