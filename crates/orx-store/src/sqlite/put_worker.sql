-- Inserts or replaces a worker. A directive (`ordered`) stays.
INSERT INTO workers
    (incarnation, name, registration, state, capacity, heartbeat, load, seen_at, hosted_by, node,
     secret)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (incarnation) DO UPDATE SET
    name = excluded.name,
    registration = excluded.registration,
    state = excluded.state,
    capacity = excluded.capacity,
    heartbeat = excluded.heartbeat,
    load = excluded.load,
    seen_at = excluded.seen_at,
    hosted_by = excluded.hosted_by,
    node = excluded.node,
    secret = excluded.secret
