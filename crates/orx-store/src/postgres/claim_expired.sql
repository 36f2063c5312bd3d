-- As claim.sql, and cancels expired jobs, which have a reason and no execution, and no attempt in the answer.
with l as materialized (:lease),
locked as materialized (
    select j.id, t.execution, t.worker, t.worker_name, t.reason, 'orx' as by
    from l
    cross join unnest(:jobs, :executions, :workers, :names, :reasons)
        as t(job, execution, worker, worker_name, reason)
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
    where j.id = k.id and k.execution is not null
    returning j.id, j.lane, j.attempt, j.failed
),
gone as (
    update jobs j set
        :cancel_waiting
    from locked w
    where j.id = w.id and w.execution is null
    returning j.id, j.lane
),
moves as (
    select lane, m.status, m.jobs
    from taken cross join (values (:pending, -1), (:dispatched, 1)) as m(status, jobs)
    union all
    select lane, m.status, m.jobs
    from gone cross join (values (:pending, -1), (:cancelled, 1)) as m(status, jobs)
),
counted as (
    :count_moves
)
select t.id, t.attempt, t.failed, s.spec
from l
left join (select id, attempt, failed from taken union all select id, null, null from gone) t on true
left join specs s on s.job = t.id
