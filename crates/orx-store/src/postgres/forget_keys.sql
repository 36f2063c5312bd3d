-- Keys of pruned jobs that were kept long enough go; what is locked is left to the next call.
-- Without a row in the answer, the lease is another's.
with l as materialized (:lease),
old as materialized (
    select k.key from keys k, l
    where k.kept_until is not null and k.kept_until <= :now
    limit :limit
    for update of k skip locked
),
gone as (delete from keys where key in (select key from old) returning 1)
select (select count(*) from gone) from l
