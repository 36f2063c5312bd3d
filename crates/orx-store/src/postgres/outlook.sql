-- Returns the column of next_due.sql, when the next schedule fires, whether any run dependency exists, and
-- whether any job is ready. Each subquery is ordered so that it reads its index: an unordered one could scan
-- far before it finds a row.
select least(
           (select run_at from jobs where status = 2 order by run_at limit 1),
           (select expire_at from jobs where expire_at is not null order by expire_at limit 1)
       ),
       (select next_fire from schedules where next_fire > :after order by next_fire limit 1),
       exists (select from watched),
       (select 1 from jobs where status = 1 order by lane, urgency, run_at, id limit 1) is not null
