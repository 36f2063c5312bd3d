-- As enqueue.sql, for jobs without keys.
with input as materialized (
    select * from unnest(:ords, :lanes, :statuses, :urgencies, :run_ats, :expire_ats, :created_ats,
                         :deadlines, :timeouts, :specs)
    as t(ord, lane, status, urgency, run_at, expire_at, created_at, deadline, timeout_ms, spec)
    order by ord
),
new as materialized (select nextval('job_ids') as id, i.* from input i),
kept as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency)
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency
    from new order by id
),
described as (insert into specs (job, spec) select id, spec from new order by id),
counted as (
    insert into counts (queue, status, jobs)
    select l.queue, n.status, count(*) from new n join lanes l on l.id = n.lane group by 1, 2
)
select ord, id from new
