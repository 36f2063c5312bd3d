-- Cancels waiting jobs that have expired, and makes scheduled jobs pending that are due and have not
-- expired. Leaves a locked row to the next call: the transaction that holds it changes the job anyway.
-- Returns no row if the caller does not hold the lease. `any(array(…))` makes the server look the rows up
-- by id, however many it expects.
with l as materialized (:lease),
over as materialized (
    select j.id, j.lane, j.status,
           case when j.deadline <= :now then :late else :expired end as reason, 'orx' as by
    from jobs j, l
    where j.expire_at is not null and j.expire_at <= :now
    order by j.expire_at, j.id
    limit :limit
    for no key update of j skip locked
),
due as materialized (
    select j.id, j.lane, j.status
    from jobs j, l
    where j.status = 2 and j.run_at <= :now and j.id not in (select id from over)
    order by j.run_at, j.id
    limit :limit
    for no key update of j skip locked
),
cancelled as (
    update jobs j set
        :cancel_waiting
    from over w
    where j.id = w.id and j.id = any(array(select id from over))
),
promoted as (
    update jobs j set status = :pending where j.id = any(array(select id from due))
),
moves as (
    select lane, status, -1 as jobs from over
    union all select lane, :cancelled, 1 from over
    union all select lane, status, -1 from due
    union all select lane, :pending, 1 from due
),
counted as (
    :count_moves
)
select
    (select string_agg(id::text, ',' order by id) from over),
    (select string_agg(id::text, ',' order by id) from due)
from l
