-- Retries jobs: resets their attempt counts and removes the limit on the wait for a first start. The deadline
-- stays. Rows are locked in the order of ids. Returns each job as it was before. `stood` is false for a job
-- that changed while the statement waited for its lock: the statement may not see its result, so it did not
-- change that job.
with l as materialized (:settings),
before as materialized (select j.id, j.ctid as place from jobs j where j.id = any(:jobs)),
locked as materialized (
    select j.id, j.lane, j.status, j.execution, j.worker, j.ctid = b.place as stood
    from l cross join before b join jobs j on j.id = b.id
    order by j.id
    for no key update of j
),
hit as materialized (select * from locked where stood and status = any(:from)),
revived as (
    update jobs j set
        status = :to,
        run_at = :now,
        expire_at = j.deadline,
        failed = 0,
        lost = 0,
        server_lost = 0,
        returned = 0,
        cancel_at = null,
        cancel_reason = null,
        cancel_by = null,
        finished_at = null,
        last_error = null,
        last_exit_code = null,
        last_exit_signal = null,
        dead = null,
        dead_at = null
    from hit h
    where j.id = h.id
),
forgotten as (delete from results where job in (select id from hit)),
unrequested as (
    update dependencies set cancel_requested = false
    where parent = any(array(select id from hit)) and cancel_requested
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, m.status, sum(m.jobs)
    from hit h
    join lanes n on n.id = h.lane
    cross join lateral (values (h.status, -1), (:to, 1)) as m(status, jobs)
    group by 1, 2
)
select id, status, worker, execution, stood from locked
