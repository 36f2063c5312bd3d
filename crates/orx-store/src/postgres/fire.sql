-- Fires schedules. Each command states the version, position and last run that it expects. If its schedule
-- differs, the command writes nothing and uses no id. Schedules are locked in the order of ids: of two
-- statements about one schedule, the second compares with the result of the first. Whether the last run has
-- ended is read when the statement begins; the leader's next pass follows up a run that ends meanwhile.
-- Returns the jobs by command. Returns no row if the caller does not hold the lease.
-- The server does not know the number of commands, assumes few, and would compare two such lists pair by
-- pair. It can run a `full join` only by hash or by order, so the lists are joined that way. The `case`
-- after each join drops rows without a partner, in a form that the server does not reduce to a plain join.
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
running as materialized (
    select r.ord, r.slot, c.id
    from unnest(:row_ords, :row_places, :row_slots) as r(ord, place, slot)
    full join commands c using (ord)
    where case when r.place is null or c.id is null then false else true end
),
-- Commands with a slot that already has a job.
again as materialized (
    select r.ord
    from running r
    join slots s on s.schedule = r.id and s.slot = r.slot and s.job is not null
),
ok as materialized (
    select c.* from commands c full join locked k on k.id = c.id
    where case
        when c.id is null or k.id is null or c.ord in (select ord from again) then false
        when k.version = c.version
            and k.handled = c.handled
            and k.last_run is not distinct from c.last_run
        -- A deleted job had ended: 5 is the first final status.
        then (
            coalesce((select j.status from jobs j where j.id = k.last_run), 5) >= 5
            and (select 1 from dependencies d where d.child = k.last_run limit 1) is null
        ) = c.ended
        else false
    end
),
wanted as materialized (
    select o.id as schedule, t.*
    from unnest(:job_ords, :places, :is_run, :lanes, :queues, :statuses, :priority_ranks, :run_ats,
                :expire_ats, :deadlines, :timeouts, :specs, :heads, :terms, :after_jobs, :after_places, :cancels,
                :slots, :on_failures)
        as t(ord, place, is_run, lane, queue, status, priority_rank, run_at, expire_at, deadline,
             timeout_ms, spec, head, terms, after_job, after_place, cancel, slot, on_failure)
    full join ok o using (ord)
    where case when t.place is null or o.id is null then false else true end
    order by t.place
),
-- The runs that new runs wait for. Of this statement and one that ends such a run or follows up its end, the
-- second sees what the first wrote to the row. So it gets a new row version even if it is marked already.
parents as materialized (
    select j.id, j.cancel_at is not null as cancel_requested from jobs j
    where j.id = any(array(select after_job from wanted))
    order by j.id
    for no key update of j
),
marked as (
    update jobs set follow_up = true where id = any(array(select id from parents))
),
-- A run whose parent was pruned has nothing to wait for.
new as materialized (
    select nextval('job_ids') as job, w.*,
           case
               when w.status = :created and w.after_place is null
                   and w.after_job not in (select id from parents)
               then :pending
               else w.status
           end as first_status
    from wanted w
),
stored as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank, follow_up)
    select job, lane, run_at, expire_at, :now, deadline, timeout_ms, first_status, priority_rank,
           on_failure is not null
               or place in (select after_place from new where after_place is not null)
    from new order by job
),
described as (
    insert into specs (job, spec, lane, head, terms)
    select job, spec, lane, head, terms::text[] from new order by job
    returning job, terms
),
-- Two tags can produce the same term.
found as (
    insert into terms (term, job) select unnest(terms), job from described on conflict do nothing
),
counted as (
    insert into counts (queue, status, jobs)
    select queue, first_status, count(*) from new group by 1, 2
),
waiting as (
    insert into dependencies (parent, child, cancel, cancel_requested)
    select p.id, n.job, n.cancel, p.cancel_requested
    from new n full join parents p on p.id = n.after_job
    where case when n.job is null or p.id is null then false else true end
    union all
    select b.job, n.job, n.cancel, false
    from new n full join new b on b.place = n.after_place
    where case when n.job is null or b.job is null then false else true end
),
alerting as (
    insert into run_alerts (job, schedule, slot, on_failure)
    select job, schedule, slot, on_failure from new where on_failure is not null order by job
),
recorded as (
    insert into slots
        (schedule, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    select o.id, t.slot, t.last, t.count, t.exact, t.outcome, t.reason, coalesce(n.job, t.job),
           t.late_ms, t.recorded_at
    from unnest(:row_ords, :row_places, :row_slots, :row_lasts, :row_counts, :row_exact,
                :row_outcomes, :row_reasons, :row_jobs, :row_lates, :row_times)
        as t(ord, place, slot, last, count, exact, outcome, reason, job, late_ms, recorded_at)
    full join ok o using (ord)
    full join new n on n.place = t.place
    where case when t.slot is null or o.id is null then false else true end
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
made as materialized (
    select o.*, n.job from ok o full join new n on n.place = o.last_place
    where case when o.id is null then false else true end
),
moved as (
    update schedules s set
        runs = s.runs + o.runs,
        written = s.written + o.written,
        last_run = coalesce(o.job, s.last_run),
        handled = case when o.moves then o.to_handled else s.handled end,
        next_slot = case when o.moves then o.to_slot else s.next_slot end,
        next_fire = case when o.moves then o.to_fire else s.next_fire end
    from made o
    where s.id = o.id
),
answer as (
    select o.ord, n.job, n.place, n.is_run
    from ok o full join new n on n.ord = o.ord
)
select a.ord, a.job, a.is_run from l left join answer a on true
order by a.ord, a.place
