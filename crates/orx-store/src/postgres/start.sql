-- Marks attempts as started if they are still live; none starts before it was claimed. Rows are locked in the
-- order of ids. `coalesce` keeps the server from expecting a single row of the status, for which it would
-- compare the two lists pair by pair.
with l as materialized (:settings),
locked as materialized (
    select j.id, j.lane, j.status, j.execution, j.claimed_at from jobs j, l
    where j.id = any(:jobs)
    order by j.id
    for no key update of j
),
hit as materialized (
    select k.id, k.lane, greatest(t.at, k.claimed_at) as at
    from unnest(:jobs, :executions, :ats) as t(job, execution, at)
    join locked k on k.id = t.job and k.execution = t.execution and coalesce(k.status = :from, false)
),
moved as (
    update jobs j set status = :to, started_at = h.at from hit h where j.id = h.id
)
insert into counts (queue, status, jobs)
select n.queue, m.status, sum(m.jobs)
from hit h
join lanes n on n.id = h.lane
cross join (values (:from, -1), (:to, 1)) as m(status, jobs)
group by 1, 2
