-- Part of a statement: cancels the jobs of `hit`, those with `waits` at once.
waiting as (
    update jobs j set
        :cancel_waiting
    from hit w
    where j.id = w.id and w.waits
),
asked as (
    update jobs j set cancel_at = :now, cancel_reason = h.reason, cancel_by = h.by
    from hit h
    where j.id = h.id and not h.waits and not h.force and h.cancel_at is null
),
requested as (
    update dependencies set cancel_requested = true
    where parent = any(array(select id from hit)) and cancel and not cancel_requested
),
ended as materialized (
    select id as job, lane, h.status as was, attempt, execution, worker, worker_name, epoch, claimed_at,
           started_at as began_at, :now::bigint as over_at, :ended as outcome, :error as error,
           null::integer as code, null::integer as signal, :stopped as status,
           null::bigint as expire_at, null as dead, null::bigint as dead_at,
           cancel_at, reason, by
    from hit h where not waits and force
),
tried as (
    :insert_attempts
),
stopped as (
    update jobs j set
        cancel_at = coalesce(e.cancel_at, :now),
        cancel_reason = case when e.cancel_at is null then e.reason else j.cancel_reason end,
        cancel_by = case when e.cancel_at is null then e.by else j.cancel_by end,
        :end_attempt,
        :clear_attempt
    from ended e
    where j.id = e.job
),
moves as (
    select h.lane, m.status, m.jobs
    from hit h
    cross join lateral (
        values (h.status, -1), (case when h.waits then :cancelled else :stopped end, 1)
    ) as m(status, jobs)
    where h.waits or h.force
),
counted as (
    :count_moves
)
