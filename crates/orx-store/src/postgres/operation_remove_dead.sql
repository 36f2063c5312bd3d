-- Deletes the dead letters of the next jobs of an operation, as delete_dead.sql does, and moves its cursor.
with l as materialized (:lease),
:operation_gate,
hit as materialized (
    select k.id, k.lane, k.dead, k.cause from locked k cross join steady s
    where k.id <= s.id and k.dead is not null
),
forgotten as (
    update jobs j set dead = null, dead_at = null, cause = null from hit h where j.id = h.id
),
letters as (
    insert into cause_counts (cause, lane, reason, letters)
    select h.cause, h.lane, h.dead, -count(*) from hit h
    where h.cause is not null
    group by 1, 2, 3
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
