-- Returns which worker holds or held each execution, live or ended, in the order of the request.
select h.worker, h.attempt
from unnest(:jobs, :executions) with ordinality as t(job, execution, ord)
left join lateral (
    select j.worker, j.attempt from jobs j where j.id = t.job and j.execution = t.execution
    union all
    select a.worker, a.number from attempts a where a.job = t.job and a.execution = t.execution
    limit 1
) h on true
order by t.ord
