-- Changes the plan of a schedule if its version and position are the expected ones, and adds a row to its
-- ledger. Returns the new version, or null if they differ. Returns no row if the schedule does not exist.
with l as materialized (:settings),
found as materialized (
    select s.id, s.version, s.handled from schedules s, l where s.id = :id for no key update of s
),
hit as materialized (select * from found where version = :version and handled = :handled),
changed as (
    update schedules s set
        version = s.version + 1,
        updated_at = :now,
        handled = :to_handled,
        next_slot = :to_slot,
        next_fire = :to_fire
    from hit h
    where s.id = h.id
),
planned as (
    update schedule_plans p set
        spec = :spec,
        templates = :templates,
        paused_at = :paused_at,
        paused_reason = :paused_reason,
        paused_by = :paused_by,
        changed_by = :changed_by
    from hit h
    where p.id = h.id
),
recorded as (
    insert into slots
        (schedule, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    select h.id, t.*
    from hit h
    cross join unnest(:row_slots, :row_lasts, :row_counts, :row_exact, :row_outcomes, :row_reasons,
                      :row_jobs, :row_lates, :row_times) as t
    on conflict (schedule, slot) do update set
        last = excluded.last,
        count = excluded.count,
        exact = excluded.exact,
        outcome = excluded.outcome,
        reason = excluded.reason,
        job = excluded.job,
        late_ms = excluded.late_ms,
        recorded_at = excluded.recorded_at
    where slots.job is null
)
select (select version + 1 from hit) from found
