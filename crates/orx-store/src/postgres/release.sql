-- Follows up the ends of jobs: enqueues their alerts, removes the dependencies on them, and makes each child
-- pending that was created and has no dependency left. If a job depends on a job that is not followed up
-- here, its children then depend on that one. Rows are locked in the order of ids. A job is left to the next
-- call if it or a child changed while the statement waited for a lock: the statement may not see the
-- result. It gives each job and child a new row version, so that another such statement finds it changed.
-- Returns the jobs that are pending now, and the alerts by command. Returns no row if the caller does not
-- hold the lease. `any(array(…))` and `offset 0` make the server look rows up by an index, however many it
-- expects.
with recursive l as materialized (:lease),
input as materialized (
    select * from unnest(:ords, :jobs, :lanes, :queues, :priority_ranks, :run_ats, :expire_ats, :deadlines,
                         :timeouts, :specs, :heads, :terms)
    as t(ord, job, lane, queue, priority_rank, run_at, expire_at, deadline, timeout_ms, spec, head, terms)
),
children as materialized (
    select parent, child, cancel from dependencies where parent = any(:jobs)
),
before as materialized (
    select j.id, j.ctid as place from jobs j
    where j.id = any(:jobs) or j.id = any(array(select child from children))
),
locked as materialized (
    select j.id, j.lane, j.status, j.follow_up, j.ctid = b.place as stood
    from l cross join before b join jobs j on j.id = b.id
    order by j.id
    for no key update of j
),
done as materialized (
    select i.* from input i
    where i.job in (select id from locked where stood and follow_up and status >= 5)
      and i.job not in (
          select c.parent from children c where c.child in (select id from locked where not stood)
      )
),
released as materialized (
    select c.parent, c.child, c.cancel from children c where c.parent in (select job from done)
),
-- The jobs that each of these jobs depends on, through others that are followed up here too.
roots (job, parent) as (
    select d.child, d.parent from dependencies d where d.child = any(:jobs)
    union
    select r.job, d.parent
    from roots r
    cross join lateral (select parent from dependencies where child = r.parent offset 0) d
    where r.parent in (select job from done)
),
inherited as materialized (
    select r.parent, c.child, bool_or(c.cancel) as cancel
    from released c join roots r on r.job = c.parent
    where r.parent not in (select job from done)
    group by 1, 2
),
admitted as materialized (
    select k.id, k.lane from locked k
    where k.status = :created
      and k.id in (select child from released)
      and k.id not in (select child from inherited)
      and (
          select 1 from dependencies d
          where d.child = k.id and d.parent not in (select job from done)
          limit 1
      ) is null
),
changed as (
    update jobs j set
        status = case when j.id in (select id from admitted) then :pending else j.status end,
        run_at = case when j.id in (select id from admitted) then :now else j.run_at end,
        follow_up = j.follow_up and j.id not in (select job from done)
    where j.id = any(array(select job from done union select child from released))
),
removed as (delete from dependencies where parent = any(array(select job from done))),
added as (
    insert into dependencies as d (parent, child, cancel, cancel_requested)
    select i.parent, i.child, i.cancel,
           coalesce((select j.cancel_at is not null from jobs j where j.id = i.parent), false)
    from inherited i
    order by 1, 2
    on conflict (parent, child) do update set cancel = d.cancel or excluded.cancel
),
forgotten as (
    delete from run_alerts where job = any(array(select job from done)) returning job
),
alerts as materialized (
    select nextval('job_ids') as id, a.* from (
        select * from done
        where spec is not null and job in (select job from forgotten)
        order by ord
    ) a
),
new as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank)
    select id, lane, run_at, expire_at, :now, deadline, timeout_ms, :pending, priority_rank
    from alerts order by id
),
described as (
    insert into specs (job, spec, lane, head, terms)
    select id, spec, lane, head, terms::text[] from alerts order by id
    returning job, terms
),
-- Two tags can produce the same term.
found as (
    insert into terms (term, job) select unnest(terms), job from described on conflict do nothing
),
moves as (
    select n.queue, m.status, m.jobs
    from admitted a
    join lanes n on n.id = a.lane
    cross join lateral (values (:created, -1), (:pending, 1)) as m(status, jobs)
    union all
    select queue, :pending, 1 from alerts
),
counted as (
    insert into counts (queue, status, jobs) select queue, status, sum(jobs) from moves group by 1, 2
)
select r.id, r.is_alert
from l
left join (
    select id, false as is_alert from admitted union all select id, true from alerts
) r on true
order by r.id
