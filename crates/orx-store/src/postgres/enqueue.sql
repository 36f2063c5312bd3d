-- Inserts jobs in the order of `ord`. A job whose key is in use and has not expired is skipped: it uses no id
-- and returns no row (known.sql finds the holder of the key). Of two transactions with the same new key, the
-- second waits for the first and then skips its job. Keys are inserted in their order, so that such
-- transactions never deadlock.
-- `key is null or` makes the server look ids up in a hash, however many it expects.
with l as materialized (:settings),
numbered as materialized (
    select nextval('job_ids') as id, t.*
    from l
    cross join unnest(:ords, :lanes, :queues, :statuses, :urgencies, :run_ats, :expire_ats,
                      :created_ats, :deadlines, :timeouts, :keys, :hashes, :specs, :heads, :terms)
        as t(ord, lane, queue, status, urgency, run_at, expire_at, created_at, deadline,
             timeout_ms, key, hash, spec, head, terms)
    left join lateral (
        select true as yes from keys k
        where k.key = t.key and (k.kept_until is null or k.kept_until > :now)
        limit 1
    ) known on true
    where known.yes is null
),
held as (
    insert into keys as k (key, job, hash)
    select key, id, hash from numbered where key is not null order by key
    on conflict (key) do update
    set job = excluded.job, hash = excluded.hash, status = null, kept_until = null
    where k.kept_until <= :now
    returning job
),
new as materialized (
    select * from numbered where key is null or id in (select job from held)
),
kept as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency)
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency from new
),
described as (
    insert into specs (job, key, spec, lane, head, terms)
    select id, key, spec, lane, head, terms::text[] from new
),
found as (
    -- Two tags can produce the same term.
    insert into terms (term, job) select unnest(terms::text[]), id from new on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs) select queue, status, count(*) from new group by 1, 2
)
select ord, id from new
