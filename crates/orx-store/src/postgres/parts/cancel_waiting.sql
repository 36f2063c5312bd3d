-- Part of an `update jobs`: the end of a job that waits. It is joined with rows (`reason`, `by`) as `w`.
status = :cancelled,
finished_at = :now,
expire_at = null,
cancel_at = :now,
cancel_reason = w.reason,
cancel_by = w.by
