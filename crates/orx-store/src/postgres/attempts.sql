-- Returns the attempts of a job: those that ended, then the live one. The last column is the number of bytes
-- dropped from the attempt's log.
select a.job, a.number, a.execution, a.worker, a.worker_name, a.epoch, a.status, a.claimed_at,
       a.started_at, a.ended_at, a.error, a.exit_code, a.exit_signal,
       least(coalesce((select sum(l.dropped_bytes) from logs l
                            where l.job = :job and l.attempt = a.number), 0),
                  9223372036854775807)::bigint
from (
    select job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at,
           ended_at, error, exit_code, exit_signal
    from attempts where job = :job
    union all
    select id, attempt, execution, worker, worker_name, coalesce(epoch, 0),
           case status when 4 then :running else :dispatched end,
           claimed_at, started_at, null, null, null, null
    from jobs where id = :job and execution is not null
) a
order by 2
