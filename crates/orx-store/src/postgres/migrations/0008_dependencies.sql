-- Jobs that wait for other jobs. A dependency stands until the leader has followed up the end of its parent.
create table dependencies (
    parent bigint not null,
    child bigint not null,
    -- Whether the leader cancels the parent, and whether the parent has a cancel request.
    cancel boolean not null,
    cancel_requested boolean not null,
    -- What becomes of the child if the parent fails: `start` for a run, which starts all the same.
    if_failed text not null default 'start',
    primary key (parent, child)
);
create index dependencies_child on dependencies (child, parent);
create index dependencies_cancel on dependencies (parent) where cancel and not cancel_requested;

-- Alerts of runs that may still fail.
create table run_alerts (
    job bigint primary key,
    schedule text collate "C" not null,
    slot bigint,
    on_failure text not null
);

-- Set while the job has children or an alert: its end has to be followed up. The write that makes it final
-- thereby adds it to this index, from which the leader reads.
alter table jobs add column follow_up boolean not null default false;
create index jobs_follow_up on jobs (id) where follow_up and status >= 5;

-- Of runs that wait for a pruned run, which had ended: they wait for the run that it waited for.
with recursive waits (child, parent, cancel) as (
    select job, waits_for, cancel from watched where waits_for is not null
    union
    select s.child, w.waits_for, s.cancel from waits s join watched w on w.job = s.parent
    where w.waits_for < w.job and not exists (select from jobs where id = s.parent)
)
insert into dependencies (parent, child, cancel, cancel_requested)
select s.parent, s.child, s.cancel, j.cancel_at is not null
from waits s join jobs j on j.id = s.parent
where exists (select from jobs where id = s.child);
insert into run_alerts
select job, schedule, slot, on_failure from watched
where on_failure is not null and exists (select from jobs where id = job);
drop table watched;
update jobs set follow_up = true
where id in (select parent from dependencies union select job from run_alerts);

-- Runs that wait for none that still exists.
with released as (
    update jobs set status = 1
    where status = 0 and id not in (select child from dependencies)
    returning lane
)
insert into counts (queue, status, jobs)
select n.queue, m.status, sum(m.jobs)
from released r join lanes n on n.id = r.lane cross join (values (0, -1), (1, 1)) as m(status, jobs)
group by 1, 2;

-- Rows are short-lived.
alter table dependencies set
    (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
alter table run_alerts set
    (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
