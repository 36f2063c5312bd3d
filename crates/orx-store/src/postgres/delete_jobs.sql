-- Deletes final jobs at a person's request, with their keys and dead letters; at most `chunks` log chunks.
-- Rows are locked in the order of ids. Returns each job as it was before. `stood` is false for a job that
-- changed while the statement waited for its lock: the statement did not change that job. `doomed` without
-- `deleted`: its log has more chunks.
with l as materialized (:settings),
before as materialized (select j.id, j.ctid as place from jobs j where j.id = any(:jobs)),
locked as materialized (
    select j.id, j.status, j.follow_up, j.ctid = b.place as stood
    from l cross join before b join jobs j on j.id = b.id
    order by j.id
    for update of j
),
doomed as materialized (
    select k.id, k.id as place from locked k
    where k.stood
      and k.status = any(:final)
      and (:expected is null or k.status = :expected)
      and not k.follow_up
      and (select 1 from dependencies d where d.child = k.id limit 1) is null
),
:delete_jobs,
freed as (delete from keys k using spec s where k.key = s.key and k.job = s.job)
select k.id, k.status, k.stood, d.id is not null, w.id is not null
from locked k left join doomed d on d.id = k.id left join whole w on w.id = k.id
