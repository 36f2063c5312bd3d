-- A person's retry: a new budget, and no limit to the wait for a start, which has passed already
-- or was met. The deadline stands.
UPDATE jobs SET
    status = ?2,
    run_at = ?3,
    expire_at = deadline,
    failed = 0,
    lost = 0,
    server_lost = 0,
    returned = 0,
    cancel_at = NULL,
    cancel_reason = NULL,
    cancel_by = NULL,
    finished_at = NULL,
    last_error = NULL,
    last_exit_code = NULL,
    last_exit_signal = NULL,
    dead = NULL,
    dead_at = NULL
WHERE id = ?1
