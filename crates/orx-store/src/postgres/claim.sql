-- Ready jobs go to workers, and those whose time is over are cancelled. A job that was locked or
-- changed since it was read is left out. Without a row in the answer, the lease is another's.
-- `status + 0`: by their ids alone, or the server, while it does not know how many wait, looks up
-- all that do as well.
with l as materialized (:lease),
locked as materialized (
    select j.id
    from jobs j, l
    where j.id = any(:jobs) and j.status + 0 = :pending
    order by j.id
    for no key update of j skip locked
),
taken as (
    update jobs j set
        status = :dispatched,
        attempt = j.attempt + 1,
        execution = t.execution,
        worker = t.worker,
        worker_name = t.worker_name,
        claimed_at = :now,
        epoch = :epoch,
        expire_at = null
    from locked k
    join unnest(:given, :executions, :workers, :names) as t(job, execution, worker, worker_name)
        on t.job = k.id
    where j.id = k.id
    returning j.id, j.lane, j.attempt, j.failed
),
gone as (
    update jobs j set
        status = :cancelled,
        finished_at = :now,
        expire_at = null,
        cancel_at = :now,
        cancel_reason = t.reason,
        cancel_by = 'orx'
    from locked k
    join unnest(:over, :reasons) as t(job, reason) on t.job = k.id
    where j.id = k.id
    returning j.lane
),
moves as (
    select lane, m.status, m.jobs
    from taken cross join (values (:pending, -1), (:dispatched, 1)) as m(status, jobs)
    union all
    select lane, m.status, m.jobs
    from gone cross join (values (:pending, -1), (:cancelled, 1)) as m(status, jobs)
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, m.status, sum(m.jobs) from moves m join lanes n on n.id = m.lane group by 1, 2
)
select t.id, t.attempt, t.failed, s.spec
from l
left join taken t on true
left join specs s on s.job = t.id
