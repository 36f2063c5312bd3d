-- Adds an operation with the ids that it names. Without ids, it can reach the jobs up to the last id that was
-- assigned. Returns no row if an operation holds the key.
with l as materialized (:settings),
added as (
    insert into operations
        (key, hash, action, filter, zone, dead, force, rate, matched, matched_exact, upto, reason,
         person, token, address, created_at)
    select :key, :hash, :action, :filter, :zone, :dead, :force, :rate, :matched, :exact,
           coalesce(:last, (select last_value - (not is_called)::integer from job_ids)),
           :reason, :person, :token, :address, :now
    from l
    on conflict (key) do nothing
    returning *
),
named as (
    insert into operation_targets (operation, last, jobs)
    select o.id, t.last, t.jobs from added o cross join unnest(:lasts, :pieces) as t(last, jobs)
)
select
    :operation_columns
from added o
