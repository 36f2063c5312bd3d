-- Adds a schedule. Returns no row if the id is in use.
with new as (
    insert into schedules
        (id, version, created_at, updated_at, handled, next_slot, next_fire, runs)
    select :id, 1, :now, :now, :to_handled, :to_slot, :to_fire, 0 from (:settings) s
    on conflict do nothing
    returning id
),
planned as (
    insert into schedule_plans
        (id, spec, templates, paused_at, paused_reason, paused_by, changed_by)
    select id, :spec, :templates, :paused_at, :paused_reason, :paused_by, :changed_by from new
)
select id from new
