-- Deletes operations that ended before a time, and the oldest that ended beyond `retained`. Returns no row if the
-- caller does not hold the lease.
with l as materialized (:lease),
old as materialized (
    select id from operations, l
    where ended_at < :before
       or ended_at is not null and id <= (select max(id) from operations) - :retained
    order by id
    limit :limit
),
gone as (delete from operations where id in (select id from old) returning id),
named as (delete from operation_targets where operation in (select id from old))
select (select count(*) from gone) from l
