-- Deletes the next jobs of an operation with their keys and dead letters, and moves its cursor.
with l as materialized (:lease),
:operation_gate,
doomed as materialized (
    select k.id, k.id as place from locked k cross join steady s
    where k.id <= s.id
      and k.status = any(:final)
      and not k.follow_up
      and (select 1 from dependencies d where d.child = k.id limit 1) is null
),
:delete_jobs,
freed as (delete from keys k using spec s where k.key = s.key and k.job = s.job),
-- At the limit of chunks, the job of the last chunk stays for the next batch.
reached as materialized (
    select least(s.id, (select max(c.place) - 1 from chunk c having count(*) = :chunks)) as id
    from steady s
),
answers as materialized (
    select i.job, k.worker, k.execution,
           case when k.id is null then 'not_found'
                when d.id is not null then 'changed'
                when k.status = any(:final) then 'in_use'
                else 'not_ended' end as outcome
    from reached r cross join input i
    left join locked k on k.id = i.job
    left join doomed d on d.id = i.job
    where i.job <= r.id
),
:operation_progress
