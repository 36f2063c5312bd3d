-- Cancels jobs. A waiting job is cancelled at once. A live job gets a cancel request; with `force`, its
-- attempt ends in this statement. Only the first request of a job is recorded. Rows are locked in the order
-- of ids. Returns each job as it was before. `stood` is false for a job that changed while the statement
-- waited for its lock: the statement did not change that job.
with l as materialized (:settings),
before as materialized (select j.id, j.ctid as place from jobs j where j.id = any(:jobs)),
input as materialized (
    select * from unnest(:jobs, :force, :expected, :reasons, :bys)
    as t(job, force, expected, reason, by)
),
locked as materialized (
    select j.id, j.lane, j.status, j.attempt, j.execution, j.worker, j.worker_name, j.epoch,
           j.claimed_at, j.started_at, j.cancel_at, j.ctid = b.place as stood
    from l cross join before b join jobs j on j.id = b.id
    order by j.id
    for no key update of j
),
hit as materialized (
    select k.*, i.force, i.reason, i.by, k.status = any(:waiting) as waits
    from input i join locked k on k.id = i.job
    where k.stood
      and (i.expected is null or i.expected = k.status)
      and (k.status = any(:waiting) or k.status = any(:live))
),
:cancel_jobs
select id, status, worker, execution, stood from locked
