-- Copies the live attempt of a job, with its end, to a row of `attempts`.
INSERT INTO attempts
    (job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at, ended_at,
     error, exit_code, exit_signal)
SELECT id, attempt, execution, worker, worker_name, ifnull(epoch, 0), ?2, claimed_at, ?3, ?4, ?5, ?6, ?7
FROM jobs WHERE id = ?1
