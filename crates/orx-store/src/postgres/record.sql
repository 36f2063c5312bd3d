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
                         :started_ats, :errors, :codes, :signals, :dead, :dead_ats, :causes,
                         :outcomes, :ended_ats, :results)
    as t(ord, job, execution, status, run_at, expire_at, failed, lost, server_lost, returned,
         was_failed, was_lost, was_server_lost, was_returned, was_cancelled, started_at, error, code, signal, dead,
         dead_at, cause, outcome, ended_at, result)
),
locked as materialized (
    select j.id, j.lane, j.status, j.attempt, j.execution, j.worker, j.worker_name, j.epoch,
           j.claimed_at, j.started_at, j.failed, j.lost, j.server_lost, j.returned,
           j.cancel_at is not null as cancelled, j.cause
    from jobs j, l
    where j.id = any(:jobs)
    order by j.id
    for no key update of j
),
ended as materialized (
    select i.*, k.lane, k.status as was, k.attempt, k.worker, k.worker_name, k.epoch, k.claimed_at,
           k.cause as was_cause, greatest(i.ended_at, k.claimed_at) as over_at,
           case when coalesce(i.started_at, k.started_at) is not null then
               greatest(least(coalesce(i.started_at, k.started_at), i.ended_at), k.claimed_at)
           end as began_at
    from input i join locked k on k.id = i.job and k.execution = i.execution
    where i.was_failed is null
       or (k.failed, k.lost, k.server_lost, k.returned, k.cancelled)
        = (i.was_failed, i.was_lost, i.was_server_lost, i.was_returned, i.was_cancelled)
),
tried as (
    :insert_attempts
),
moved as (
    update jobs j set
        run_at = coalesce(e.run_at, j.run_at),
        failed = coalesce(e.failed, j.failed),
        lost = coalesce(e.lost, j.lost),
        server_lost = coalesce(e.server_lost, j.server_lost),
        returned = coalesce(e.returned, j.returned),
        cause = e.cause,
        :end_attempt,
        :clear_attempt
    from ended e
    where j.id = e.job
),
stored as (
    insert into results (job, result)
    select job, result from ended where result is not null order by job
    on conflict (job) do update set result = excluded.result
),
moves as (
    select e.lane, m.status, m.jobs
    from ended e cross join lateral (values (e.was, -1), (e.status, 1)) as m(status, jobs)
),
counted as (
    :count_moves
),
-- A live job has a cause only if a node of an older version retried it.
letters as (
    insert into cause_counts (cause, lane, reason, letters)
    select m.cause, e.lane, m.reason, sum(m.letters)
    from ended e
    cross join lateral (values (e.was_cause, '', -1), (e.cause, e.dead, 1)) as m(cause, reason, letters)
    where m.cause is not null
    group by 1, 2, 3
)
select i.ord, e.ord is not null, k.status, k.execution = i.execution
from l
left join input i on true
left join locked k on k.id = i.job
left join ended e on e.ord = i.ord
