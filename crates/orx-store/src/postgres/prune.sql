-- Deletes old final jobs, the oldest first, with their specs, terms, results, attempts and logs. Spares jobs
-- whose end has not been followed up, and jobs that depend on unfinished ones. Their keys stay. Deletes at most `chunks` log chunks: this bounds the transaction. Returns no row if the caller does
-- not hold the lease.
with l as materialized (:lease),
completed as materialized (
    select j.id, j.finished_at from jobs j
    where j.status = 5 and j.finished_at < :completed_before
      and not j.follow_up
      and (select 1 from dependencies d where d.child = j.id limit 1) is null
    order by j.finished_at, j.id
    limit :limit
),
others as materialized (
    select j.id, j.finished_at from jobs j
    where j.status > 5 and j.dead is null and j.finished_at < :others_before
      and not j.follow_up
      and (select 1 from dependencies d where d.child = j.id limit 1) is null
    order by j.finished_at, j.id
    limit :limit
),
oldest as materialized (
    select id, row_number() over (order by finished_at, id) as place
    from (select * from completed union all select * from others) o
    order by place
    limit :limit
),
-- Checks again: a job may have been retried meanwhile. `status + 0`: looks rows up by id only.
locked as materialized (
    select j.id, o.place from jobs j join oldest o on o.id = j.id, l
    where j.dead is null
      and not j.follow_up
      and (j.status + 0 = 5 and j.finished_at < :completed_before
           or j.status + 0 > 5 and j.finished_at < :others_before)
    order by j.id
    for update of j skip locked
),
chunk as materialized (
    select k.place, g.*
    from locked k cross join lateral (
        select g.job, g.attempt, g.seq from logs g
        where g.job = k.id
        order by g.attempt, g.seq
        limit :chunks
    ) as g
    order by k.place, g.attempt, g.seq
    limit :chunks
),
-- At the limit, the job of the last chunk may have more chunks: it and the jobs after it stay.
whole as materialized (
    select k.id from locked k
    where k.place < coalesce(
        (select max(c.place) from chunk c having count(*) = :chunks), k.place + 1)
),
gone as (
    delete from jobs where id in (select id from whole) returning id, lane, status, finished_at
),
spec as (delete from specs where job in (select id from whole) returning job, key, terms),
term as (
    delete from terms t
    using (select job, unnest(terms) as term from spec) s
    where t.term = s.term and t.job = s.job
),
result as (delete from results where job in (select id from whole)),
attempt as (delete from attempts where job in (select id from whole)),
log as (
    delete from logs g using chunk c
    where g.job = c.job and g.attempt = c.attempt and g.seq = c.seq
),
-- A `full join`, as in fire.sql: the server joins it by hash, and does not compare two lists pair by pair.
keyed as materialized (
    select s.key, s.job, g.status, g.finished_at
    from spec s full join gone g on g.id = s.job
    where case when s.key is null or g.id is null then false else true end
),
stored as (
    update keys k set status = d.status, kept_until = d.finished_at + :key_kept
    from keyed d
    where k.key = d.key and k.job = d.job
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, g.status, -count(*) from gone g join lanes n on n.id = g.lane group by 1, 2
)
select (select count(*) from gone), (select count(*) from chunk) from l
