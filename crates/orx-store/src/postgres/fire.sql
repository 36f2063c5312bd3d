-- What schedules do. Each is compared with what was decided on: of one that does not stand so,
-- nothing here is written, and no id is used up. Schedules are locked in the order of ids, so that
-- of two statements about one the second compares what the first left. Whether the last run has
-- ended is as this statement begins: one that ends meanwhile is found by who looks after those that
-- wait for it. Answers the jobs of the runs by command; without a row, the lease is another's.
with l as materialized (:lease),
commands as materialized (
    select * from unnest(:ords, :ids, :versions, :handled, :last_runs, :ended, :runs, :written,
                         :last_places, :moves, :to_handled, :to_slots, :to_fires)
    as t(ord, id, version, handled, last_run, ended, runs, written, last_place, moves, to_handled,
         to_slot, to_fire)
),
locked as materialized (
    select s.id, s.version, s.handled, s.last_run from schedules s, l
    where s.id = any(:ids)
    order by s.id
    for no key update of s
),
-- A slot that would run made a job before.
again as materialized (
    select r.ord
    from unnest(:row_ords, :row_places, :row_slots) as r(ord, place, slot)
    join commands c using (ord)
    join slots s on s.schedule = c.id and s.slot = r.slot and s.job is not null
    where r.place is not null
),
-- In a `case`, whose outcome the server does not guess at: each comparison by itself it holds to be
-- rare, and then joins what follows as if it were one row, each with each.
ok as materialized (
    select c.* from commands c join locked k on k.id = c.id
    where c.ord not in (select ord from again) and case
        when k.version = c.version
            and k.handled = c.handled
            and k.last_run is not distinct from c.last_run
        -- A job that is gone had ended.
        then (coalesce((select j.status from jobs j where j.id = k.last_run), 5) >= 5) = c.ended
        else false
    end
),
wanted as materialized (
    select o.id as schedule, t.*
    from unnest(:job_ords, :places, :is_run, :lanes, :queues, :statuses, :urgencies, :run_ats,
                :expire_ats, :deadlines, :timeouts, :specs, :heads, :terms, :after_jobs, :after_places, :cancels,
                :watches, :slots, :on_failures)
        as t(ord, place, is_run, lane, queue, status, urgency, run_at, expire_at, deadline,
             timeout_ms, spec, head, terms, after_job, after_place, cancel, watch, slot, on_failure)
    join ok o using (ord)
    order by t.place
),
new as materialized (select nextval('job_ids') as job, w.* from wanted w),
kept as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency)
    select job, lane, run_at, expire_at, :now, deadline, timeout_ms, status, urgency
    from new order by job
),
described as (
    insert into specs (job, spec, lane, head, terms)
    select job, spec, lane, head, terms::text[] from new order by job
    returning job, terms
),
-- Two tags may read alike.
found as (
    insert into terms (term, job) select unnest(terms), job from described on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs)
    select queue, status, count(*) from new group by 1, 2
),
watching as (
    insert into watched (job, schedule, slot, waits_for, cancel, on_failure)
    select n.job, n.schedule, n.slot, coalesce(n.after_job, b.job), n.cancel, n.on_failure
    from new n left join new b on b.place = n.after_place
    where n.watch
),
recorded as (
    insert into slots
        (schedule, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    select o.id, t.slot, t.last, t.count, t.exact, t.outcome, t.reason, coalesce(n.job, t.job),
           t.late_ms, t.recorded_at
    from unnest(:row_ords, :row_places, :row_slots, :row_lasts, :row_counts, :row_exact,
                :row_outcomes, :row_reasons, :row_jobs, :row_lates, :row_times)
        as t(ord, place, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    join ok o using (ord)
    left join new n on n.place = t.place
    order by 1, 2
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
),
moved as (
    update schedules s set
        runs = s.runs + o.runs,
        written = s.written + o.written,
        last_run = coalesce(n.job, s.last_run),
        handled = case when o.moves then o.to_handled else s.handled end,
        next_slot = case when o.moves then o.to_slot else s.next_slot end,
        next_fire = case when o.moves then o.to_fire else s.next_fire end
    from ok o left join new n on n.place = o.last_place
    where s.id = o.id
)
select o.ord, n.job
from l left join ok o on true left join new n on n.ord = o.ord and n.is_run
order by o.ord, n.place
