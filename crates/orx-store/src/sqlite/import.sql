-- Inserts a job of another store unchanged.
INSERT INTO jobs
    (id, status, priority_rank, lane, run_at, expire_at, created_at, deadline, timeout_ms, attempt,
     failed, lost, returned, execution, worker, worker_name, claimed_at, started_at, epoch, percent,
     progress, cancel_at, cancel_reason, cancel_by, finished_at, last_started_at, last_worker,
     last_error, last_exit_code, last_exit_signal, dead, dead_at, server_lost, cause)
VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
     ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)
