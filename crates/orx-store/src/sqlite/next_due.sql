-- When the next scheduled job becomes due, or the next waiting job expires or misses its deadline.
SELECT min(at) FROM (
    SELECT (SELECT run_at FROM jobs WHERE status = 2 ORDER BY run_at LIMIT 1) AS at
    UNION ALL
    SELECT (SELECT expire_at FROM jobs WHERE expire_at IS NOT NULL ORDER BY expire_at LIMIT 1)
)
