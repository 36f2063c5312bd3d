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
waiting as (
    update jobs j set
        status = :cancelled,
        finished_at = :now,
        expire_at = null,
        cancel_at = :now,
        cancel_reason = h.reason,
        cancel_by = h.by
    from hit h
    where j.id = h.id and h.waits
),
asked as (
    update jobs j set cancel_at = :now, cancel_reason = h.reason, cancel_by = h.by
    from hit h
    where j.id = h.id and not h.waits and not h.force and h.cancel_at is null
),
requested as (
    update dependencies set cancel_requested = true
    where parent = any(array(select id from hit)) and cancel and not cancel_requested
),
ended as (
    insert into attempts
        (job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at,
         ended_at, error)
    select id, attempt, execution, worker, worker_name, coalesce(epoch, 0), :ended, claimed_at,
           started_at, :now, :error
    from hit where not waits and force
),
stopped as (
    update jobs j set
        status = :stopped,
        expire_at = null,
        finished_at = :now,
        cancel_at = coalesce(h.cancel_at, :now),
        cancel_reason = case when h.cancel_at is null then h.reason else j.cancel_reason end,
        cancel_by = case when h.cancel_at is null then h.by else j.cancel_by end,
        last_started_at = h.started_at,
        last_worker = h.worker_name,
        last_error = :error,
        last_exit_code = null,
        last_exit_signal = null,
        execution = null,
        worker = null,
        worker_name = null,
        epoch = null,
        claimed_at = null,
        started_at = null,
        percent = null,
        progress = null
    from hit h
    where j.id = h.id and not h.waits and h.force
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, m.status, sum(m.jobs)
    from hit h
    join lanes n on n.id = h.lane
    cross join lateral (
        values (h.status, -1), (case when h.waits then :cancelled else :stopped end, 1)
    ) as m(status, jobs)
    where h.waits or h.force
    group by 1, 2
)
select id, status, worker, execution, stood from locked
