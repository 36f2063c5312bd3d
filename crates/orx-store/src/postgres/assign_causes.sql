-- Sets the causes of dead letters that have none, and removes those of jobs that are no dead letters. Skips a
-- job that changed since the caller read it. Returns no row if the caller does not hold the lease.
with l as materialized (:lease),
input as materialized (select * from unnest(:jobs, :causes) as t(job, cause)),
locked as materialized (
    select j.id, j.lane, j.dead, j.cause from jobs j, l
    where j.id = any(:jobs) and (j.dead is null) <> (j.cause is null)
    order by j.id
    for no key update of j
),
hit as materialized (
    select k.id, k.lane, k.dead, k.cause as was, i.cause
    from locked k join input i on i.job = k.id
    where (k.dead is null) = (i.cause is null)
),
assigned as (update jobs j set cause = h.cause from hit h where j.id = h.id),
letters as (
    insert into cause_counts (cause, lane, reason, letters)
    select m.cause, h.lane, m.reason, sum(m.letters)
    from hit h
    cross join lateral (values (h.was, '', -1), (h.cause, h.dead, 1)) as m(cause, reason, letters)
    where m.cause is not null
    group by 1, 2, 3
)
select count(*) from l
having count(*) > 0
