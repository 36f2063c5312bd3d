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
doomed as materialized (
    select j.id, o.place from jobs j join oldest o on o.id = j.id, l
    where j.dead is null
      and not j.follow_up
      and (j.status + 0 = 5 and j.finished_at < :completed_before
           or j.status + 0 > 5 and j.finished_at < :others_before)
    order by j.id
    for update of j skip locked
),
:delete_jobs,
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
)
select (select count(*) from gone), (select count(*) from chunk) from l
