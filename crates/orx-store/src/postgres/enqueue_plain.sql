-- As enqueue.sql, for jobs without keys. Each of them is new, so the caller computes the counts. Arrays are
-- read in their order, and ids are assigned in it.
with l as materialized (:settings),
new as materialized (
    select nextval('job_ids') as id, t.*
    from unnest(:ords, :lanes, :statuses, :priority_ranks, :run_ats, :expire_ats, :created_ats,
                :deadlines, :timeouts, :specs, :heads, :terms)
    as t(ord, lane, status, priority_rank, run_at, expire_at, created_at, deadline, timeout_ms, spec,
         head, terms), l
),
stored as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank)
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank from new
),
described as (
    insert into specs (job, spec, lane, head, terms)
    select id, spec, lane, head, terms::text[] from new
),
found as (
    -- Two tags can produce the same term.
    insert into terms (term, job) select unnest(terms::text[]), id from new on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs) select * from unnest(:queues, :counted, :counts)
)
select array_agg(ord), array_agg(id) from new
