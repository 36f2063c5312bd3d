select q.name, c.status, c.jobs
from queues q
left join (
    select queue, status, sum(jobs)::bigint as jobs from counts group by queue, status
) c on c.queue = q.id
order by q.name
