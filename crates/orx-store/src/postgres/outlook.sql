-- Returns the column of next_due.sql, when the next schedule fires, whether any dependency or alert
-- exists, and whether any job is ready. Each subquery is ordered so that it reads its index: an unordered one could scan
-- far before it finds a row.
select least(
           (select run_at from jobs where status = 2 order by run_at limit 1),
           (select expire_at from jobs where expire_at is not null order by expire_at limit 1)
       ),
       (select next_fire from schedules where next_fire > :after order by next_fire limit 1),
       (select 1 from dependencies order by parent limit 1) is not null
           or (select 1 from run_alerts order by job limit 1) is not null,
       (select 1 from jobs where status = 1 order by lane, priority_rank, run_at, id limit 1) is not null
