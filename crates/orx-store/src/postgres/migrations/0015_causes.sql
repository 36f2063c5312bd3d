-- The cause of a dead letter: a hash of its job type and its error without what varies (`orx_model::cause`).
-- The leader computes it for the dead letters of before, and for those of nodes of an older version
-- (`assign_causes`). Such a node leaves the cause of a job that it retries, which the leader removes.
alter table jobs add column cause bigint;
create index jobs_cause on jobs (cause, id) where cause is not null;
create index jobs_cause_at on jobs (cause, dead_at) where cause is not null;
create index jobs_causeless on jobs (id) where (dead is null) <> (cause is null);

-- Dead letters by cause, counted as `counts` are: rows are only added, and then replaced by their sums. The
-- statement that changes `jobs.cause` adds them.
create table cause_counts (
    cause bigint not null,
    lane bigint not null,
    reason text not null,
    letters bigint not null
);
alter table cause_counts set
    (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
     autovacuum_vacuum_cost_delay = 0);

-- Whoever deletes a job need not know of causes.
create function uncount_cause() returns trigger language plpgsql as $$
begin
    insert into cause_counts values (old.cause, old.lane, coalesce(old.dead, ''), -1);
    return null;
end $$;
create trigger jobs_cause_deleted after delete on jobs
    for each row when (old.cause is not null) execute function uncount_cause();
