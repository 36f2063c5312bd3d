-- Jobs come in, in the order of `ord`. A key that is known, and whose time is not over, makes no job
-- and uses up no id: answered is whose it is. Of two transactions with the same new key the second
-- waits for the first, and then makes no job either; of that one nothing is answered, since this
-- statement does not see what the first did. Keys are taken in their order, so that such transactions
-- do not wait for each other in a circle.
with l as materialized (:settings),
input as materialized (
    select * from unnest(:ords, :lanes, :statuses, :urgencies, :run_ats, :expire_ats, :created_ats,
                         :deadlines, :timeouts, :keys, :hashes, :specs, :heads, :terms)
    as t(ord, lane, status, urgency, run_at, expire_at, created_at, deadline, timeout_ms, key,
         hash, spec, head, terms)
),
known as materialized (
    select i.ord, k.job, k.hash, k.status
    from input i
    cross join lateral (
        select k.job, k.hash, k.status from keys k
        where k.key = i.key and (k.kept_until is null or k.kept_until > :now)
        limit 1
    ) k
),
unknown as materialized (
    select i.* from input i, l where i.ord not in (select ord from known) order by i.ord
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
-- Two tags may read alike.
found as (
    insert into terms (term, job) select unnest(terms), job from described on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs)
    select l.queue, n.status, count(*) from new n join lanes l on l.id = n.lane group by 1, 2
)
select ord, true, id, null::text, null::smallint from new
union all
select k.ord, false, k.job, k.hash, coalesce(j.status, k.status)
from known k
left join lateral (select j.status from jobs j where j.id = k.job limit 1) j on true
