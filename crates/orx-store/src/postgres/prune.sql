-- Old final jobs go, the oldest first, with all that belongs to them but their keys. Without a row
-- in the answer, the lease is another's.
with l as materialized (:lease),
completed as materialized (
    select j.id, j.finished_at from jobs j
    where j.status = 5 and j.finished_at < :completed_before
    order by j.finished_at, j.id
    limit :limit
),
others as materialized (
    select j.id, j.finished_at from jobs j
    where j.status > 5 and j.dead is null and j.finished_at < :others_before
    order by j.finished_at, j.id
    limit :limit
),
oldest as materialized (
    select id from (select * from completed union all select * from others) o
    order by finished_at, id
    limit :limit
),
-- One that a person has just retried is none any more. `status + 0`: looked up by ids alone.
locked as materialized (
    select j.id from jobs j, l
    where j.id in (select id from oldest)
      and j.dead is null
      and (j.status + 0 = 5 and j.finished_at < :completed_before
           or j.status + 0 > 5 and j.finished_at < :others_before)
    order by j.id
    for update of j skip locked
),
gone as (
    delete from jobs where id in (select id from locked) returning id, lane, status, finished_at
),
spec as (delete from specs where job in (select id from locked) returning job, key),
result as (delete from results where job in (select id from locked)),
attempt as (delete from attempts where job in (select id from locked)),
log as (delete from logs where job in (select id from locked)),
kept as (
    update keys k set status = g.status, kept_until = g.finished_at + :key_kept
    from spec s join gone g on g.id = s.job
    where k.key = s.key and k.job = s.job
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, g.status, -count(*) from gone g join lanes n on n.id = g.lane group by 1, 2
)
select (select count(*) from gone) from l
