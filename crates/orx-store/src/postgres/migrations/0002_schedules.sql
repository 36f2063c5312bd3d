-- Schedules. What each firing writes anew is narrow; what a person decided stands beside it.
create table schedules (
    id text collate "C" primary key,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    -- What became of every slot up to here is decided.
    handled bigint not null,
    next_slot bigint,
    next_fire bigint,
    runs bigint not null,
    last_run bigint,
    -- Rows written to its ledger since the oldest were last forgotten.
    written bigint not null default 0,
    check ((next_slot is null) = (next_fire is null))
);
create index schedules_due on schedules (next_fire, id) where next_fire is not null;
create index schedules_written on schedules (id) where written > 11000;

create table schedule_plans (
    id text collate "C" primary key,
    spec text not null,
    templates text not null,
    paused_at bigint,
    paused_reason text,
    paused_by text,
    changed_by text
);

-- The ledger: what became of each slot, or of a range of missed ones.
create table slots (
    schedule text collate "C" not null,
    slot bigint not null,
    last bigint,
    count bigint not null,
    exact boolean not null,
    outcome text not null,
    reason text,
    job bigint,
    late_ms bigint,
    recorded_at bigint not null,
    primary key (schedule, slot)
);
create index slots_missed on slots (schedule, slot) where outcome = 'missed';
create index slots_alert on slots (recorded_at) where outcome = 'missed';
create index slots_old on slots (recorded_at);

-- Runs that wait for another, or whose failure is told of.
create table watched (
    job bigint primary key,
    schedule text collate "C" not null,
    slot bigint,
    waits_for bigint,
    -- That one is to be cancelled.
    cancel boolean not null,
    on_failure text
);

-- Every firing leaves a dead row behind, also in the index of what is due, which is read from its
-- beginning, where the dead ones gather.
alter table schedules set
    (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
-- Rows come and soon go.
alter table watched set
    (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
