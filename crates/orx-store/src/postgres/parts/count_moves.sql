-- Counts the changes of status in `moves`.
insert into counts (queue, status, jobs)
select n.queue, m.status, sum(m.jobs) from moves m join lanes n on n.id = m.lane group by 1, 2
