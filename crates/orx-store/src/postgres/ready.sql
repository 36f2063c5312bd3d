-- Returns, in each row, the number of lanes and whether the caller holds the lease; and for each given lane
-- its ready jobs after a place in the order of dispatch, which is the order of the index `jobs_ready`.
-- Lanes of paused queues have none. Returns at least one row.
select n.lanes, w.number, j.priority_rank, j.run_at, j.id, j.expire_at, j.deadline, j.died, n.leads
from (
    select count(*) as lanes,
           exists (select from lease where holder = :node and epoch = :epoch) as leads
    from lanes
) n
left join unnest(:numbers, :lanes, :priority_ranks, :run_ats, :ids)
    as w(number, lane, priority_rank, run_at, id)
    on not exists (
        select from lanes l join queue_pauses p on p.queue = l.queue where l.id = w.lane
    )
left join lateral (
    select j.priority_rank, j.run_at, j.id, j.expire_at, j.deadline, greatest(j.server_lost, j.lost) as died
    from jobs j
    where j.status = 1 and j.lane = w.lane
      and (j.priority_rank, j.run_at, j.id) > (w.priority_rank, w.run_at, w.id)
    order by j.priority_rank, j.run_at, j.id
    limit :rows
) j on true
