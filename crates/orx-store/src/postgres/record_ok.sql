-- As record.sql, for attempts that succeeded: their outcome depends on nothing but the execution. Returns a row
-- for each job that exists, and no row if the caller does not hold the lease. `t.job + 0 = t.job` is always
-- true; it makes the server expect few rows and look each job up by its id.
with l as materialized (:lease),
locked as materialized (
    select j.id, t.ord, t.code, t.result, j.lane, j.status as was, j.attempt, j.execution,
           j.worker, j.worker_name, j.epoch, j.claimed_at,
           greatest(t.ended_at, j.claimed_at) as over_at,
           case when coalesce(t.started_at, j.started_at) is not null then
               greatest(least(coalesce(t.started_at, j.started_at), t.ended_at), j.claimed_at)
           end as began_at,
           coalesce(j.execution = t.execution, false) as hit
    from l
    cross join unnest(:ords, :jobs, :executions, :started_ats, :ended_ats, :codes, :results)
        as t(ord, job, execution, started_at, ended_at, code, result)
    join jobs j on j.id = t.job
    where t.job + 0 = t.job
    order by j.id
    for no key update of j
),
ended as (
    insert into attempts
        (job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at,
         ended_at, exit_code)
    select id, attempt, execution, worker, worker_name, coalesce(epoch, 0), :ended, claimed_at,
           began_at, over_at, code
    from locked where hit
),
moved as (
    update jobs j set
        status = :status,
        expire_at = null,
        finished_at = k.over_at,
        last_started_at = k.began_at,
        last_worker = k.worker_name,
        last_error = null,
        last_exit_code = k.code,
        last_exit_signal = null,
        dead = null,
        dead_at = null,
        :clear_attempt
    from locked k
    where j.id = k.id and k.hit
),
stored as (
    insert into results (job, result)
    select id, result from locked where hit and result is not null
    on conflict (job) do update set result = excluded.result
),
moves as (
    select k.lane, m.status, m.jobs
    from locked k cross join lateral (values (k.was, -1), (:status, 1)) as m(status, jobs)
    where k.hit
),
counted as (
    :count_moves
)
select k.ord, k.hit, k.was, k.hit from l left join locked k on true
