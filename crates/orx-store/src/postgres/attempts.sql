-- Those that ended, and the live one of the job.
select number, execution, worker, worker_name, status, claimed_at, started_at, ended_at, error,
       exit_code, exit_signal, epoch, job
from attempts where job = :job
union all
select attempt, execution, worker, worker_name, case status when 4 then :running else :dispatched end,
       claimed_at, started_at, null, null, null, null, coalesce(epoch, 0), id
from jobs where id = :job and execution is not null
order by 1
