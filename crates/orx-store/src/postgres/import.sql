-- Imports jobs from another store with their specs, results, keys and attempts. Skips jobs that already
-- exist.
with l as materialized (:settings),
input as materialized (
    select * from unnest(:ids, :lanes, :run_ats, :expire_ats, :created_ats, :deadlines, :timeouts,
                         :statuses, :priority_ranks, :attempts, :failed, :lost, :server_lost, :returned, :executions,
                         :workers, :worker_names, :epochs, :claimed_ats, :started_ats, :percents,
                         :progress, :cancel_ats, :cancel_reasons, :cancel_bys, :finished_ats,
                         :last_started_ats, :last_workers, :last_errors, :last_codes,
                         :last_signals, :dead, :dead_ats, :causes, :keys, :hashes, :specs, :heads, :terms, :results)
    as t(id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank, attempt,
         failed, lost, server_lost, returned, execution, worker, worker_name, epoch, claimed_at, started_at,
         percent, progress, cancel_at, cancel_reason, cancel_by, finished_at, last_started_at,
         last_worker, last_error, last_exit_code, last_exit_signal, dead, dead_at, cause, key, hash, spec,
         head, terms, result)
),
new as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank, attempt,
         failed, lost, server_lost, returned, execution, worker, worker_name, epoch, claimed_at, started_at,
         percent, progress, cancel_at, cancel_reason, cancel_by, finished_at, last_started_at,
         last_worker, last_error, last_exit_code, last_exit_signal, dead, dead_at, cause)
    select id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, priority_rank, attempt,
           failed, lost, server_lost, returned, execution, worker, worker_name, epoch, claimed_at, started_at,
           percent, progress, cancel_at, cancel_reason, cancel_by, finished_at, last_started_at,
           last_worker, last_error, last_exit_code, last_exit_signal, dead, dead_at, cause
    from input, l order by id
    on conflict do nothing
    returning id
),
described as (
    insert into specs (job, key, spec, lane, head, terms)
    select i.id, i.key, i.spec, i.lane, i.head, i.terms::text[] from input i join new using (id)
    returning job, terms
),
-- Two tags can produce the same term.
found as (
    insert into terms (term, job) select unnest(terms), job from described on conflict do nothing
),
ended as (
    insert into results (job, result)
    select i.id, i.result from input i join new using (id) where i.result is not null
),
held as (
    insert into keys (key, job, hash)
    select i.key, i.id, i.hash from input i join new using (id)
    where i.key is not null
    order by i.key
    on conflict do nothing
),
tried as (
    insert into attempts
        (job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at,
         ended_at, error, exit_code, exit_signal)
    select t.*
    from unnest(:of, :numbers, :ended_executions, :ended_workers, :ended_names, :ended_epochs,
                :ended_statuses, :ended_claimed, :ended_started, :ended_ats, :errors, :codes,
                :signals)
        as t(job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at,
             ended_at, error, exit_code, exit_signal)
    join new on new.id = t.job
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, i.status, count(*)
    from input i join new using (id) join lanes n on n.id = i.lane
    group by 1, 2
),
letters as (
    insert into cause_counts (cause, lane, reason, letters)
    select i.cause, i.lane, i.dead, count(*) from input i join new using (id)
    where i.cause is not null
    group by 1, 2, 3
),
-- Does not touch the sequence if no job is new.
skipped as (
    select setval('job_ids', greatest(
        (select max(id) + 1 from new),
        (select case when is_called then last_value + 1 else last_value end from job_ids)
    ), false)
    from (select 1 from new limit 1) one
)
select (select count(*) from new), (select count(*) from skipped)
