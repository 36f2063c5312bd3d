-- Retries the next jobs of an operation, as revive.sql does, and moves its cursor.
with l as materialized (:lease),
:operation_gate,
hit as materialized (
    select k.* from locked k cross join steady s where k.id <= s.id and k.status = any(:from)
),
:revive_jobs,
reached as materialized (select id from steady),
answers as materialized (
    select i.job, k.worker, k.execution,
           case when k.id is null then 'not_found'
                when k.status = any(:from) then 'changed'
                else 'not_ended' end as outcome
    from reached r cross join input i left join locked k on k.id = i.job
    where i.job <= r.id
),
:operation_progress
