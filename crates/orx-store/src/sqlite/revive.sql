-- Retries a job at a person's request, with a new retry budget. It expires only at its deadline: the
-- limit of its first wait has passed or was met.
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
    dead_at = NULL,
    cause = NULL
WHERE id = ?1
