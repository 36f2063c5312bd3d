-- Adjusts jobs after the clock was set. Waits keep their length: the run times of retries and the times of
-- live attempts move with the clock. A pending job whose run time would now be in the future becomes due
-- now. Rows are locked in the order of ids. Returns no row if the caller does not hold the lease.
with l as materialized (:lease),
locked as materialized (
    select j.id, j.status, j.run_at, j.attempt, j.worker from jobs j, l
    where j.id in (
        select id from jobs where status = 2 and run_at > :before
        union all select id from jobs where status = 1 and run_at > :now and :by < 0
        union all select id from jobs where worker is not null
    )
    order by j.id
    for no key update of j
),
moved as (
    update jobs j set
        run_at = case k.status
            when 2 then greatest(k.run_at + :by, :now)
            when 1 then least(k.run_at, :now)
            else k.run_at
        end,
        claimed_at = j.claimed_at + :by,
        started_at = j.started_at + :by
    from locked k
    where j.id = k.id
      and ((k.status = 2 and k.attempt > 0 and k.run_at > :before)
           or k.status = 1 or k.worker is not null)
    returning k.status
)
select (select count(*) from moved where status = 2) from l
