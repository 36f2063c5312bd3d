-- Deletes the dead letters of the next jobs of an operation, as delete_dead.sql does, and moves its cursor.
with l as materialized (:lease),
:operation_gate,
forgotten as (
    update jobs j set dead = null, dead_at = null
    from locked k, steady s
    where j.id = k.id and k.id <= s.id and k.dead is not null
),
reached as materialized (select id from steady),
answers as materialized (
    select i.job, k.worker, k.execution,
           case when k.id is null then 'not_found'
                when k.dead is not null then 'changed'
                else 'not_ended' end as outcome
    from reached r cross join input i left join locked k on k.id = i.job
    where i.job <= r.id
),
:operation_progress
