-- Jobs come in, in the order of `ord`. A key that is known, and whose time is not over, makes no job
-- and uses up no id; the last statement says whose it is. Of two transactions with the same new key
-- the second waits for the first, and then makes no job either. Keys are taken in their order, so
-- that such transactions do not wait for each other in a circle.
with input as materialized (
    select * from unnest(:ords, :lanes, :statuses, :urgencies, :run_ats, :expire_ats, :created_ats,
                         :deadlines, :timeouts, :keys, :hashes, :specs, :heads, :terms)
    as t(ord, lane, status, urgency, run_at, expire_at, created_at, deadline, timeout_ms, key,
         hash, spec, head, terms)
),
unknown as materialized (
    select * from input i
    where i.key is null or not exists (
        select from keys k
        where k.key = i.key and (k.kept_until is null or k.kept_until > :now)
    )
    order by i.ord
),
numbered as materialized (select nextval('job_ids') as id, u.* from unknown u),
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
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency
    from new order by id
),
described as (
    insert into specs (job, key, spec, lane, head, terms)
    select id, key, spec, lane, head, terms::text[] from new order by id
    returning job, terms
),
found as (insert into terms (term, job) select unnest(terms), job from described),
counted as (
    insert into counts (queue, status, jobs)
    select l.queue, n.status, count(*) from new n join lanes l on l.id = n.lane group by 1, 2
)
select ord, id from new;
select k.key, k.job, k.hash, coalesce(j.status, k.status)
from keys k left join jobs j on j.id = k.job
where k.key = any(:keys)
