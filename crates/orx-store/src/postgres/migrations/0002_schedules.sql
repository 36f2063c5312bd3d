-- Schedules. Each firing rewrites a narrow row; the plan that people change is in `schedule_plans`.
create table schedules (
    id text collate "C" primary key,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    -- The outcome of every slot up to this time is decided.
    handled bigint not null,
    next_slot bigint,
    next_fire bigint,
    runs bigint not null,
    last_run bigint,
    -- Rows written to its ledger since the oldest were last deleted.
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

-- The ledger: the outcome of each slot, or of a range of missed ones.
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

-- Runs that wait for another run, or that create an alert when they fail.
create table watched (
    job bigint primary key,
    schedule text collate "C" not null,
    slot bigint,
    waits_for bigint,
    -- Whether the leader cancels the run in `waits_for`.
    cancel boolean not null,
    on_failure text
);

-- Each firing leaves a dead row version behind, also in the index of due schedules. That index is read from
-- its beginning, where the dead entries gather.
alter table schedules set
    (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
-- Rows are short-lived.
alter table watched set
    (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
