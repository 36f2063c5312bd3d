-- As enqueue.sql, for a single job with a key.
with l as materialized (:settings),
held as (
    insert into keys (key, job, hash)
    select :key, nextval('job_ids'), :hash from l
    where (select true from keys where key = :key) is null
    on conflict (key) do nothing
    returning job
),
stored as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank)
    select job, :lane, :run_at, :expire_at, :created_at, :deadline, :timeout_ms, :status, :priority_rank
    from held
),
described as (
    insert into specs (job, key, spec, lane, head, terms)
    select job, :key, :spec, :lane, :head, :terms::text[] from held
),
found as (
    insert into terms (term, job) select unnest(:terms::text[]), job from held on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs) select :queue, :status, 1 from held
)
select array[:ord], array[job] from held
