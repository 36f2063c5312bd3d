-- Replaces some rows of counts by their sums. It is one statement, so that a concurrent reader sees either
-- the rows or their sum.
with l as materialized (:settings),
taken as (
    select c.ctid from counts c, l limit :rows for update of c skip locked
),
gone as (
    delete from counts where ctid in (select ctid from taken)
    returning queue, status, jobs
)
insert into counts (queue, status, jobs)
select queue, status, sum(jobs) from gone group by queue, status having sum(jobs) <> 0
