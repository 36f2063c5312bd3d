-- Ends attempts. The caller has computed each transition from the job it read (`was_…`; NULL for a success,
-- which depends on nothing). If that has changed since, the statement changes nothing and the caller computes
-- the transition again. No attempt starts or ends before it was claimed, whatever its worker's clock shows;
-- `ended_ats` are not after now. Rows are locked in the order of ids. Returns no row if the caller does not
-- hold the lease.
with l as materialized (:lease),
input as materialized (
    select * from unnest(:ords, :jobs, :executions, :statuses, :run_ats, :expire_ats, :failed,
                         :lost, :server_lost, :returned, :was_failed, :was_lost,
                         :was_server_lost, :was_returned, :was_cancelled,
                         :started_ats, :errors, :codes, :signals, :dead, :dead_ats,
                         :ended, :ended_ats, :results)
    as t(ord, job, execution, status, run_at, expire_at, failed, lost, server_lost, returned,
         was_failed, was_lost, was_server_lost, was_returned, was_cancelled, started_at, error, code, signal, dead,
         dead_at, ended, ended_at, result)
),
locked as materialized (
    select j.id, j.lane, j.status, j.attempt, j.execution, j.worker, j.worker_name, j.epoch,
           j.claimed_at, j.started_at, j.failed, j.lost, j.server_lost, j.returned,
           j.cancel_at is not null as cancelled
    from jobs j, l
    where j.id = any(:jobs)
    order by j.id
    for no key update of j
),
hit as materialized (
    select i.*, k.lane, k.status as was, k.attempt, k.worker, k.worker_name, k.epoch, k.claimed_at,
           greatest(i.ended_at, k.claimed_at) as over_at,
           case when coalesce(i.started_at, k.started_at) is not null then
               greatest(least(coalesce(i.started_at, k.started_at), i.ended_at), k.claimed_at)
           end as began_at
    from input i join locked k on k.id = i.job and k.execution = i.execution
    where i.was_failed is null
       or (k.failed, k.lost, k.server_lost, k.returned, k.cancelled)
        = (i.was_failed, i.was_lost, i.was_server_lost, i.was_returned, i.was_cancelled)
),
ended as (
    insert into attempts
        (job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at,
         ended_at, error, exit_code, exit_signal)
    select job, attempt, execution, worker, worker_name, coalesce(epoch, 0), ended, claimed_at,
           began_at, over_at, error, code, signal
    from hit order by job
),
moved as (
    update jobs j set
        status = h.status,
        run_at = coalesce(h.run_at, j.run_at),
        expire_at = h.expire_at,
        failed = coalesce(h.failed, j.failed),
        lost = coalesce(h.lost, j.lost),
        server_lost = coalesce(h.server_lost, j.server_lost),
        returned = coalesce(h.returned, j.returned),
        finished_at = case when h.status >= 5 then h.over_at end,
        last_started_at = h.began_at,
        last_worker = h.worker_name,
        last_error = h.error,
        last_exit_code = h.code,
        last_exit_signal = h.signal,
        dead = h.dead,
        dead_at = h.dead_at,
        execution = null,
        worker = null,
        worker_name = null,
        epoch = null,
        claimed_at = null,
        started_at = null,
        percent = null,
        progress = null
    from hit h
    where j.id = h.job
),
kept as (
    insert into results (job, result)
    select job, result from hit where result is not null order by job
    on conflict (job) do update set result = excluded.result
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, m.status, sum(m.jobs)
    from hit h
    join lanes n on n.id = h.lane
    cross join lateral (values (h.was, -1), (h.status, 1)) as m(status, jobs)
    group by 1, 2
)
select i.ord, h.ord is not null, k.status, k.execution = i.execution
from l
left join input i on true
left join locked k on k.id = i.job
left join hit h on h.ord = i.ord
