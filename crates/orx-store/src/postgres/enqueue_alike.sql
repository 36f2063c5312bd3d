-- As enqueue.sql, for jobs with keys that differ in little but their keys, specs and times. An array costs as much
-- as a column that is written, so what is alike is one value. The key of none is null.
with l as materialized (:settings),
numbered as materialized (
    select nextval('job_ids') as id, t.*
    from l
    cross join unnest(:ords, :keys, :hashes, :run_ats, :created_ats, :specs, :terms)
        as t(ord, key, hash, run_at, created_at, spec, terms)
    where case
        when (
            select true from keys where key >= :least and key <= :greatest order by key limit 1
        ) is null then true
        else (
            select true from unnest(:keys) as i(key)
            cross join lateral (select from keys k where k.key = i.key limit 1) known
            limit 1
        ) is null
    end
),
held as (
    insert into keys (key, job, hash) select key, id, hash from numbered order by key
    on conflict (key) do nothing
    returning job
),
stored as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank)
    select id, :lane, run_at, :expire_at, created_at, :deadline, :timeout_ms, :status, :priority_rank
    from numbered where key is null or id in (select job from held)
),
described as (
    insert into specs (job, key, spec, lane, terms)
    select id, key, spec, :lane, terms::text[]
    from numbered where key is null or id in (select job from held)
),
found as (
    insert into terms (term, job)
    select unnest(terms::text[]), id from numbered where key is null or id in (select job from held)
    on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs)
    select :queue, :status, count(*) from held having count(*) > 0
)
select array_agg(ord), array_agg(id)
from numbered where key is null or id in (select job from held)
