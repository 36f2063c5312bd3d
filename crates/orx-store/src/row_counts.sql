-- Counts rows whose job or schedule exists. Both databases use this statement.
SELECT
    (SELECT count(*) FROM attempts WHERE job IN (SELECT id FROM jobs)),
    (SELECT count(*) FROM logs WHERE job IN (SELECT id FROM jobs)),
    (SELECT count(*) FROM keys WHERE kept_until IS NOT NULL),
    (SELECT count(*) FROM slots WHERE schedule IN (SELECT id FROM schedules)),
    (SELECT count(*) FROM dependencies) + (SELECT count(*) FROM run_alerts),
    (SELECT count(*) FROM tokens)
