-- Imports dependencies and alerts whose jobs exist. Makes a child pending that was created and has no
-- dependency. Skips those that exist.
with l as materialized (:settings),
valid as materialized (
    select t.*, p.cancel_at is not null as cancel_requested
    from l
    cross join unnest(:parents, :children, :cancels) as t(parent, child, cancel)
    join jobs p on p.id = t.parent
    where t.child in (select id from jobs where id = any(:children))
),
alerts as materialized (
    select t.*
    from unnest(:jobs, :schedules, :slots, :failures) as t(job, schedule, slot, on_failure)
    where t.job in (select id from jobs where id = any(:jobs))
),
added as (
    insert into dependencies (parent, child, cancel, cancel_requested)
    select parent, child, cancel, cancel_requested from valid order by 1, 2
    on conflict do nothing
),
alerted as (
    insert into run_alerts (job, schedule, slot, on_failure) select * from alerts order by 1
    on conflict do nothing
),
free as materialized (
    select j.id, j.lane from jobs j
    where j.id = any(:children)
      and j.status + 0 = :created
      and j.id not in (select child from valid)
      and (select 1 from dependencies d where d.child = j.id limit 1) is null
),
changed as (
    update jobs j set
        follow_up = j.follow_up
            or j.id in (select parent from valid) or j.id in (select job from alerts),
        status = case when j.id in (select id from free) then :pending else j.status end
    where j.id = any(array(
        select parent from valid union select job from alerts union select id from free))
)
insert into counts (queue, status, jobs)
select n.queue, m.status, sum(m.jobs)
from free f
join lanes n on n.id = f.lane
cross join lateral (values (:created, -1), (:pending, 1)) as m(status, jobs)
group by 1, 2
