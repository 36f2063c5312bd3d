-- When the longest-waiting pending job of each queue became due. Reads one entry of `jobs_ready` for
-- each lane and priority rank.
WITH priority_ranks (priority_rank) AS (VALUES (0), (1), (2), (3)),
firsts (queue, run_at) AS (
    SELECT l.queue, (
        SELECT j.run_at FROM jobs j
        WHERE j.status = 1 AND j.lane = l.id AND j.priority_rank = u.priority_rank
        ORDER BY j.run_at LIMIT 1
    )
    FROM lanes l CROSS JOIN priority_ranks u
)
SELECT q.name, min(f.run_at)
FROM firsts f JOIN queues q ON q.id = f.queue
WHERE f.run_at IS NOT NULL
GROUP BY q.name
ORDER BY q.name
