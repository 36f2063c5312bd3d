-- Dispatches the first ready jobs of some lanes to one worker: ready.sql and claim.sql in one statement. Changes
-- nothing if one of them has expired or must run alone, or if there are lanes that the caller does not know: the
-- caller then reads and chooses. Lanes of paused queues have none. Returns at least one row, with whether it
-- changed what it had to; no row if the caller does not hold the lease. Skips locked jobs, so it may lock jobs in
-- the order of dispatch. The server expects a tenth of a lane; conditions that are always true make it expect
-- few rows and look each job up by its id.
with l as materialized (:lease),
ready as materialized (
    select j.*, row_number() over () as place
    from (
        select w.queue, j.*
        from l
        cross join (
            select w.* from unnest(:lanes, :queues) as w(lane, queue)
            where not exists (select from queue_pauses p where p.queue = w.queue)
            -- Before any of their jobs is locked.
            offset 0
        ) w
        cross join lateral (
            select j.priority_rank, j.run_at, j.id,
                   j.expire_at <= :now or greatest(j.server_lost, j.lost) >= :alone_from as special
            from jobs j
            where j.status = 1 and j.lane = w.lane
            order by j.priority_rank, j.run_at, j.id
            limit :most
            for no key update of j skip locked
        ) j
        order by j.priority_rank, j.run_at, j.id
        limit :most
    ) j
),
plain as materialized (
    select (select true from ready where special limit 1) is null
               and (select count(*) from lanes) = :known_lanes as yes
),
taken as (
    update jobs j set
        status = :dispatched,
        attempt = j.attempt + 1,
        execution = (:executions::uuid[])[r.place],
        worker = :worker,
        worker_name = :worker_name,
        claimed_at = :now,
        epoch = :epoch,
        expire_at = null
    from plain, ready r
    where plain.yes and j.id = r.id and r.id + 0 = r.id and r.place + 0 = r.place
    returning j.id, r.queue, j.attempt, j.failed, j.run_at, r.place
),
counted as (
    insert into counts (queue, status, jobs)
    select t.queue, m.status, sum(m.jobs)
    from taken t cross join (values (:pending, -1), (:dispatched, 1)) as m(status, jobs)
    group by 1, 2
)
select plain.yes, t.id, t.attempt, t.failed, s.spec, t.run_at, t.place
from l
cross join plain
left join taken t on t.id + 0 = t.id
left join specs s on s.job = t.id
