-- A page of causes of dead letters: for each its count, its first and last time, and its newest job with what
-- its text is computed from; then, in more rows, its queues and reasons. The times and the job are seeks.
with page as materialized (
    select cause, sum(letters)::bigint as letters from cause_counts
    where :every = 1 or cause = any(:causes)
    group by cause
    having sum(letters) > 0
       and (sum(letters) < :count or sum(letters) = :count and cause > :after)
    order by letters desc, cause
    limit :limit
),
part as (
    select c.cause, n.queue, c.reason
    from cause_counts c join page using (cause) join lanes n on n.id = c.lane
    group by 1, 2, 3
    having sum(c.letters) > 0
),
ends as materialized (
    select p.cause, p.letters,
           (select min(j.dead_at) from jobs j where j.cause = p.cause) as first_at,
           (select max(j.dead_at) from jobs j where j.cause = p.cause) as last_at,
           (select max(j.id) from jobs j where j.cause = p.cause) as sample
    from page p
)
select e.cause, e.letters, e.first_at, e.last_at, e.sample, coalesce(s.head, s.spec), j.last_error,
       j.dead, q.name, r.reason
from ends e
join jobs j on j.id = e.sample
left join specs s on s.job = e.sample
left join part r on r.cause = e.cause
left join queues q on q.id = r.queue
order by e.letters desc, e.cause
