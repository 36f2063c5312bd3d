-- Part of a batch of an operation: counts what `answers` holds, moves the cursor to `reached`, and ends the
-- operation at its last job. Returns the operation with each job, a row without them if the operation has
-- ended or moved on, and no row if the caller does not hold the lease.
moved as (
    update operations o set
        cursor = r.id,
        changed = o.changed + c.changed,
        stopping = o.stopping + c.stopping,
        already_ended = o.already_ended + c.already_ended,
        not_ended = o.not_ended + c.not_ended,
        not_found = o.not_found + c.not_found,
        in_use = o.in_use + c.in_use,
        status = case when r.id >= o.upto then 'done' else o.status end,
        ended_at = case when r.id >= o.upto then :now end
    from op, reached r, (
        select
            count(*) filter (where outcome in ('changed', 'stopping')) as changed,
            count(*) filter (where outcome = 'stopping') as stopping,
            count(*) filter (where outcome = 'already_ended') as already_ended,
            count(*) filter (where outcome = 'not_ended') as not_ended,
            count(*) filter (where outcome = 'not_found') as not_found,
            count(*) filter (where outcome = 'in_use') as in_use
        from answers
    ) c
    where o.id = op.id
    returning o.*
)
select
    :operation_columns,
    a.job, a.worker, a.execution, a.outcome
from l left join moved o on true left join answers a on o.id is not null
order by a.job
