-- Moves schedules whose position is after the clock back to it. Each command states the expected version
-- and position, as in fire.sql. Deletes ledger rows of future slots that made no job; other rows count as
-- recorded at the new position at the latest. Returns the commands that were applied. Returns no row if the
-- caller does not hold the lease.
with l as materialized (:lease),
commands as materialized (
    select * from unnest(:ords, :ids, :versions, :handled, :to_handled, :to_slots, :to_fires)
    as t(ord, id, version, handled, to_handled, to_slot, to_fire)
),
locked as materialized (
    select s.id, s.version, s.handled from schedules s, l
    where s.id = any(:ids)
    order by s.id
    for no key update of s
),
ok as materialized (
    select c.* from commands c join locked k on k.id = c.id
    where k.version = c.version and k.handled = c.handled
),
gone as (
    delete from slots s using ok o
    where s.schedule = o.id and s.slot > o.to_handled and s.outcome in ('missed', 'skipped')
),
stored as (
    update slots s set
        last = case when s.last > o.to_handled then o.to_handled else s.last end,
        count = case when s.last > o.to_handled then 1 else s.count end,
        exact = s.exact and (s.last is null or s.last <= o.to_handled),
        recorded_at = least(s.recorded_at, o.to_handled)
    from ok o
    where s.schedule = o.id
      and (s.recorded_at > o.to_handled or s.last > o.to_handled)
      and not (s.slot > o.to_handled and s.outcome in ('missed', 'skipped'))
),
recorded as (
    insert into slots
        (schedule, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    select o.id, t.slot, t.last, t.count, t.exact, t.outcome, t.reason, t.job, t.late_ms,
           t.recorded_at
    from unnest(:row_ords, :row_slots, :row_lasts, :row_counts, :row_exact, :row_outcomes,
                :row_reasons, :row_jobs, :row_lates, :row_times)
        as t(ord, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    join ok o using (ord)
    order by 1, 2
    on conflict (schedule, slot) do nothing
),
moved as (
    update schedules s set
        handled = o.to_handled,
        next_slot = o.to_slot,
        next_fire = o.to_fire,
        written = s.written + 1
    from ok o
    where s.id = o.id
)
select o.ord from l left join ok o on true
