-- Returns the run time of the longest-waiting pending job of each queue. The first job of each priority
-- rank of each lane is one lookup in `jobs_ready`.
select q.name, min(f.run_at)
from lanes l
join queues q on q.id = l.queue
cross join (values (0), (1), (2), (3)) as u(priority_rank)
cross join lateral (
    select j.run_at from jobs j
    where j.status = 1 and j.lane = l.id and j.priority_rank = u.priority_rank
    order by j.run_at
    limit 1
) f
group by q.name
order by q.name
