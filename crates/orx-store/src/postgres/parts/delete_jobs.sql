-- Part of a statement: deletes the final jobs of `doomed`, in the order of `place`, with all but their keys, and
-- at most `chunks` log chunks.
chunk as materialized (
    select k.place, g.*
    from doomed k cross join lateral (
        select g.job, g.attempt, g.seq from logs g
        where g.job = k.id
        order by g.attempt, g.seq
        limit :chunks
    ) as g
    order by k.place, g.attempt, g.seq
    limit :chunks
),
-- At the limit, the job of the last chunk may have more chunks: it and the jobs after it stay.
whole as materialized (
    select k.id from doomed k
    where k.place < coalesce(
        (select max(c.place) from chunk c having count(*) = :chunks), k.place + 1)
),
gone as (
    delete from jobs where id in (select id from whole) returning id, lane, status, finished_at
),
spec as (delete from specs where job in (select id from whole) returning job, key, terms),
term as (
    delete from terms t
    using (select job, unnest(terms) as term from spec) s
    where t.term = s.term and t.job = s.job
),
result as (delete from results where job in (select id from whole)),
attempt as (delete from attempts where job in (select id from whole)),
log as (
    delete from logs g using chunk c
    where g.job = c.job and g.attempt = c.attempt and g.seq = c.seq
),
counted as (
    insert into counts (queue, status, jobs)
    select n.queue, g.status, -count(*) from gone g join lanes n on n.id = g.lane group by 1, 2
)
