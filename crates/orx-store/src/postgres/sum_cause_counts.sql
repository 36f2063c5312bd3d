-- As sum_counts.sql, for the counts of dead letters by cause.
with l as materialized (:settings),
taken as (
    select c.ctid from cause_counts c, l limit :rows for update of c skip locked
),
gone as (
    delete from cause_counts where ctid in (select ctid from taken)
    returning cause, lane, reason, letters
)
insert into cause_counts (cause, lane, reason, letters)
select cause, lane, reason, sum(letters) from gone
group by 1, 2, 3 having sum(letters) <> 0
