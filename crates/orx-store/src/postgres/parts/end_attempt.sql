-- Part of an `update jobs`: the end of the live attempt. It is joined with rows of `ended` as `e`. A job that
-- becomes final with the mark `follow_up` thereby enters the index from which the leader releases its
-- children.
status = e.status,
finished_at = case when e.status >= 5 then e.over_at end,
expire_at = e.expire_at,
last_started_at = e.began_at,
last_worker = e.worker_name,
last_error = e.error,
last_exit_code = e.code,
last_exit_signal = e.signal,
dead = e.dead,
dead_at = e.dead_at
