-- Applies the next step of run dependencies, each job once. Of two statements about one job, the second
-- sees the result of the first. A run that was cancelled while it waited is released without a change of
-- its status. Returns the commands that were applied, whether each made its run pending, and the job of its
-- alert. Returns no row if the caller does not hold the lease.
with l as materialized (:lease),
input as materialized (
    select * from unnest(:ords, :jobs, :releases, :lanes, :queues, :urgencies, :run_ats,
                         :expire_ats, :deadlines, :timeouts, :specs, :heads, :terms)
    as t(ord, job, release, lane, queue, urgency, run_at, expire_at, deadline, timeout_ms, spec,
         head, terms)
),
locked as materialized (
    select w.job, w.waits_for is not null as waits, w.on_failure is not null as tells
    from watched w, l
    where w.job = any(:jobs)
    order by w.job
    for update of w
),
done as materialized (
    select i.*, k.tells from input i join locked k on k.job = i.job
    where not i.release or k.waits
    order by i.ord
),
forgotten as (
    delete from watched w using done d where w.job = d.job and not (d.release and d.tells)
),
-- The run may still fail, so its alert stays.
freed as (
    update watched w set waits_for = null
    from done d
    where w.job = d.job and d.release and d.tells
),
-- `status + 0`: looks rows up by id only.
waiting as materialized (
    select j.id, j.lane from jobs j
    where j.id in (select job from done where release) and j.status + 0 = :created
    order by j.id
    for no key update of j
),
admitted as (
    update jobs j set status = :pending, run_at = :now from waiting w where j.id = w.id
),
alerts as materialized (
    select nextval('job_ids') as id, d.* from done d where not d.release and d.spec is not null
),
kept as (
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, timeout_ms, status, urgency)
    select id, lane, run_at, expire_at, :now, deadline, timeout_ms, :pending, urgency
    from alerts order by id
),
described as (
    insert into specs (job, spec, lane, head, terms)
    select id, spec, lane, head, terms::text[] from alerts order by id
    returning job, terms
),
-- Two tags can produce the same term.
found as (
    insert into terms (term, job) select unnest(terms), job from described on conflict do nothing
),
moves as (
    select n.queue, m.status, m.jobs
    from waiting w
    join lanes n on n.id = w.lane
    cross join lateral (values (:created, -1), (:pending, 1)) as m(status, jobs)
    union all
    select queue, :pending, 1 from alerts
),
counted as (
    insert into counts (queue, status, jobs) select queue, status, sum(jobs) from moves group by 1, 2
)
select d.ord, w.id is not null, a.id
from l
left join done d on true
left join waiting w on w.id = d.job and d.release
left join alerts a on a.ord = d.ord
