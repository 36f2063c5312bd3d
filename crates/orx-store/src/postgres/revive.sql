-- Retries jobs: resets their attempt counts and removes the limit on the wait for a first start. The deadline
-- stays. Rows are locked in the order of ids. Returns each job as it was before. `stood` is false for a job
-- that changed while the statement waited for its lock: the statement may not see its result, so it did not
-- change that job.
with l as materialized (:settings),
before as materialized (select j.id, j.ctid as place from jobs j where j.id = any(:jobs)),
locked as materialized (
    select j.id, j.lane, j.status, j.execution, j.worker, j.cause, j.dead, j.ctid = b.place as stood
    from l cross join before b join jobs j on j.id = b.id
    order by j.id
    for no key update of j
),
hit as materialized (select * from locked where stood and status = any(:from)),
:revive_jobs
select id, status, worker, execution, stood from locked
