-- Cancels the next jobs of an operation, as cancel.sql does, and moves its cursor.
with l as materialized (:lease),
:operation_gate,
hit as materialized (
    select k.*, :force = 1 as force, :reason as reason, :by as by, k.status = any(:waiting) as waits
    from locked k cross join steady s
    where k.id <= s.id and (k.status = any(:waiting) or k.status = any(:live))
),
:cancel_jobs,
reached as materialized (select id from steady),
answers as materialized (
    select i.job, k.worker, k.execution,
           case when k.id is null then 'not_found'
                when k.status = any(:waiting) then 'changed'
                when k.status = any(:live) and :force = 1 then 'changed'
                when k.status = any(:live) then 'stopping'
                else 'already_ended' end as outcome
    from reached r cross join input i left join locked k on k.id = i.job
    where i.job <= r.id
),
:operation_progress
