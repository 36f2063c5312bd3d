-- Deletes old rows of ledgers, the oldest first. If fewer than `limit` are old, also trims one ledger that
-- has grown long since its last trim to its newest rows. Leaves locked rows to the next call, so the
-- statement waits for no other. Returns no row if the caller does not hold the lease.
with l as materialized (:lease),
old as materialized (
    select s.schedule, s.slot from slots s, l
    where s.recorded_at < :before
    order by s.recorded_at
    limit :limit
    for update of s skip locked
),
long as materialized (
    select s.id from schedules s, l
    where s.written > 11000 and (select count(*) from old) < :limit
    limit 1
    for no key update of s skip locked
),
oldest_kept as materialized (
    select k.schedule, k.slot
    from long cross join lateral (
        select s.schedule, s.slot from slots s
        where s.schedule = long.id
        order by s.slot desc
        limit 1 offset :retained - 1
    ) as k
),
beyond as materialized (
    select s.schedule, s.slot from slots s join oldest_kept k on k.schedule = s.schedule
    where s.slot < k.slot
    for update of s skip locked
),
gone as (
    delete from slots s using (select * from old union select * from beyond) as o
    where s.schedule = o.schedule and s.slot = o.slot
    returning 1
),
cut as (update schedules s set written = :retained from long where s.id = long.id)
select (select count(*) from gone) from l
