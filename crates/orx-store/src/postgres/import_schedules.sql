-- Imports schedules from another store with their ledgers. Skips schedules that already exist.
with new as (
    insert into schedules
        (id, version, created_at, updated_at, handled, next_slot, next_fire, runs, last_run,
         written)
    select t.*
    from unnest(:ids, :versions, :created_ats, :updated_ats, :handled, :next_slots,
                         :next_fires, :runs, :last_runs, :written) as t(id), (:settings) s
    order by id
    on conflict do nothing
    returning id
),
planned as (
    insert into schedule_plans
        (id, spec, templates, paused_at, paused_reason, paused_by, changed_by)
    select t.*
    from unnest(:ids, :specs, :templates, :paused_ats, :paused_reasons, :paused_bys, :changed_bys)
        as t(id)
    join new using (id)
),
recorded as (
    insert into slots
        (schedule, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    select t.*
    from unnest(:row_ids, :row_slots, :row_lasts, :row_counts, :row_exact, :row_outcomes,
                :row_reasons, :row_jobs, :row_lates, :row_times) as t(id)
    join new using (id)
)
select id from new
