-- Part of a batch of an operation: locks its row, so that of two batches or a batch and a cancel the later one
-- sees what the earlier one did, and then its jobs. `steady` is the last job before the first that changed
-- since it was read, or while this waited for its lock; the batch ends there.
op as materialized (
    select o.id from l cross join operations o
    where o.id = :operation and o.status = 'running' and o.cursor = :cursor
    for no key update of o
),
before as materialized (select j.id, j.ctid as place from jobs j where j.id = any(:jobs)),
input as materialized (select * from unnest(:jobs, :seen) as t(job, seen)),
locked as materialized (
    select j.id, j.lane, j.status, j.attempt, j.execution, j.worker, j.worker_name, j.epoch,
           j.claimed_at, j.started_at, j.cancel_at, j.follow_up, j.dead, j.cause, j.ctid = b.place as stood
    from op cross join before b join jobs j on j.id = b.id
    order by j.id
    for no key update of j
),
steady as materialized (
    select coalesce(min(k.id) - 1, :upto) as id
    from locked k join input i on i.job = k.id
    where not k.stood or i.seen <> k.status
)
