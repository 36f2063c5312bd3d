-- Old rows of ledgers go, the oldest first; where those are few, a ledger that grew long since it
-- was last cut is cut back to its newest. What is locked is left to the next call, so nobody is
-- waited for. Without a row in the answer, the lease is another's.
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
        limit 1 offset :kept - 1
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
cut as (update schedules s set written = :kept from long where s.id = long.id)
select (select count(*) from gone) from l
