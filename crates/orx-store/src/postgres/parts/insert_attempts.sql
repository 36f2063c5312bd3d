-- Copies the live attempts of `ended` to rows of `attempts`.
insert into attempts
    (job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at, ended_at,
     error, exit_code, exit_signal)
select job, attempt, execution, worker, worker_name, coalesce(epoch, 0), outcome, claimed_at, began_at,
       over_at, error, code, signal
from ended order by job
