-- Returns the number of jobs per queue and status. A queue without jobs has one row with nulls.
select q.name, c.status, c.jobs
from queues q
left join (
    select queue, status, sum(jobs)::bigint as jobs from counts group by queue, status
) c on c.queue = q.id
order by q.name
