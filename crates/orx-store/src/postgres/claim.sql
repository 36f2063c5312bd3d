-- Dispatches ready jobs to workers. Skips a job that is locked or no longer pending. Returns no row if the caller
-- does not hold the lease. One plan serves any number of jobs and any table size, so each job has to be looked up
-- by its id. `status + 0` keeps the server from using an index on the status: without statistics it would read
-- every pending job. `t.job + 0 = t.job` is always true; it makes the server expect few rows and join by index
-- instead of comparing two lists pair by pair.
with l as materialized (:lease),
locked as materialized (
    select j.id, t.execution, t.worker, t.worker_name
    from l
    cross join unnest(:jobs, :executions, :workers, :names)
        as t(job, execution, worker, worker_name)
    join jobs j on j.id = t.job
    where t.job + 0 = t.job and j.status + 0 = :pending
    order by j.id
    for no key update of j skip locked
),
taken as (
    update jobs j set
        status = :dispatched,
        attempt = j.attempt + 1,
        execution = k.execution,
        worker = k.worker,
        worker_name = k.worker_name,
        claimed_at = :now,
        epoch = :epoch,
        expire_at = null
    from locked k
    where j.id = k.id
    returning j.id, j.lane, j.attempt, j.failed
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, m.status, sum(m.jobs)
    from taken t
    join lanes n on n.id = t.lane
    cross join (values (:pending, -1), (:dispatched, 1)) as m(status, jobs)
    group by 1, 2
)
select t.id, t.attempt, t.failed, s.spec
from l
left join taken t on true
left join specs s on s.job = t.id
