-- Deletes retained keys of pruned jobs once `kept_until` has passed. Leaves locked rows to the next call.
-- Returns no row if the caller does not hold the lease.
with l as materialized (:lease),
old as materialized (
    select k.key from keys k, l
    where k.kept_until is not null and k.kept_until <= :now
    limit :limit
    for update of k skip locked
),
gone as (delete from keys where key in (select key from old) returning 1)
select (select count(*) from gone) from l
