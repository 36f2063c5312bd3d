-- Part of a statement: makes the final jobs of `hit` pending again.
revived as (
    update jobs j set
        status = :to,
        run_at = :now,
        expire_at = j.deadline,
        failed = 0,
        lost = 0,
        server_lost = 0,
        returned = 0,
        cancel_at = null,
        cancel_reason = null,
        cancel_by = null,
        finished_at = null,
        last_error = null,
        last_exit_code = null,
        last_exit_signal = null,
        dead = null,
        dead_at = null,
        cause = null
    from hit h
    where j.id = h.id
),
forgotten as (delete from results where job in (select id from hit)),
unrequested as (
    update dependencies set cancel_requested = false
    where parent = any(array(select id from hit)) and cancel_requested
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, m.status, sum(m.jobs)
    from hit h
    join lanes n on n.id = h.lane
    cross join lateral (values (h.status, -1), (:to, 1)) as m(status, jobs)
    group by 1, 2
),
letters as (
    insert into cause_counts (cause, lane, reason, letters)
    select h.cause, h.lane, coalesce(h.dead, ''), -count(*) from hit h
    where h.cause is not null
    group by 1, 2, 3
)
