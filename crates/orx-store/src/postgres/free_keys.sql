-- Deletes the keys of pruned jobs that were retained until then, in the order of the keys.
with l as materialized (:settings),
ended as materialized (
    select k.key from keys k, l
    where k.key = any(:keys) and k.kept_until <= :now
    order by k.key
    for update of k
)
delete from keys k using ended e where k.key = e.key
