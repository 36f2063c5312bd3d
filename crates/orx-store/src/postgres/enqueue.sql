-- Inserts jobs in the order of `ord`. If one of their keys exists, nothing is inserted and no id is used: known.sql
-- then finds the holders of keys, and free_keys.sql deletes the keys whose time is over. Of two transactions with
-- the same new key, the second waits for the first and then skips its job. Keys are inserted in their order, so that
-- such transactions never deadlock. Returns the `ord`s and ids of the new jobs.
-- Clients make their keys in ascending order, so one look-up shows that none between the least and the greatest
-- exists; only else is each looked up. `key is null or` makes the server look ids up in a hash, however many it expects.
with l as materialized (:settings),
numbered as materialized (
    select nextval('job_ids') as id, t.*
    from l
    cross join unnest(:ords, :lanes, :queues, :statuses, :priority_ranks, :run_ats, :expire_ats,
                      :created_ats, :deadlines, :timeouts, :keys, :hashes, :specs, :heads, :terms)
        as t(ord, lane, queue, status, priority_rank, run_at, expire_at, created_at, deadline,
             timeout_ms, key, hash, spec, head, terms)
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
    insert into keys (key, job, hash)
    select key, id, hash from numbered where key is not null order by key
    on conflict (key) do nothing
    returning job
),
new as materialized (
    select * from numbered where key is null or id in (select job from held)
),
stored as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank)
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank from new
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
select array_agg(ord), array_agg(id) from new
