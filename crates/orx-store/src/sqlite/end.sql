-- The live attempt of a job ends. Its worker becomes the worker of the attempt that ended last.
UPDATE jobs SET
    status = ?2,
    run_at = ifnull(?3, run_at),
    expire_at = ?4,
    failed = ?5,
    lost = ?6,
    returned = ?7,
    finished_at = ?8,
    last_started_at = ?9,
    last_worker = worker_name,
    last_error = ?10,
    last_exit_code = ?11,
    last_exit_signal = ?12,
    dead = ?13,
    dead_at = ?14,
    execution = NULL,
    worker = NULL,
    worker_name = NULL,
    claimed_at = NULL,
    started_at = NULL,
    percent = NULL,
    progress = NULL
WHERE id = ?1
