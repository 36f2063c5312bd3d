-- As enqueue.sql, for jobs without keys: each is new, so whoever sends them can count them. Arrays
-- are read in their order, and numbers are given in it.
with new as materialized (
    select nextval('job_ids') as id, t.*
    from unnest(:ords, :lanes, :statuses, :urgencies, :run_ats, :expire_ats, :created_ats,
                :deadlines, :timeouts, :specs)
    as t(ord, lane, status, urgency, run_at, expire_at, created_at, deadline, timeout_ms, spec)
),
kept as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency)
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency from new
),
described as (insert into specs (job, spec) select id, spec from new),
counted as (
    insert into counts (queue, status, jobs) select * from unnest(:queues, :counted, :counts)
)
select ord, id from new
