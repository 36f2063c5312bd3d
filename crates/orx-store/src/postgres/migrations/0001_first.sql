-- Statuses are numbers in the order of `JobStatus::ALL`: 0 created, 1 pending, 2 scheduled,
-- 3 dispatched, 4 running, 5 completed, 6 failed, 7 timed out, 8 cancelled. Times are milliseconds
-- since 1970. Ids of executions, workers and nodes are 128 bits, which `uuid` holds in 16 bytes.

create table meta (key text primary key, value bigint not null);
insert into meta values ('touched', 0);

-- An id is never used twice, even after its job was deleted.
create sequence job_ids;

create table queues (
    id bigint generated always as identity primary key,
    name text collate "C" not null unique
);

-- Changes of the number of jobs per queue and status. Readers add them up: every transaction would wait
-- for a single row that all of them update. The store sums the rows up from time to time.
create table counts (queue bigint not null, status smallint not null, jobs bigint not null);

-- `handler` is '' for jobs with a command of their own; `require` is JSON with sorted keys. Lanes are only
-- added, never changed or deleted, so a cache with as many lanes as the table is complete.
create table lanes (
    id bigint generated always as identity primary key,
    queue bigint not null,
    handler text collate "C" not null,
    require text collate "C" not null,
    unique (queue, handler, require)
);

-- The columns of a job that change. Each change of status writes a new row version, so columns that are
-- written once or may be large are in `specs` and `results`. The live attempt is part of this row; it
-- becomes a row of `attempts` when it ends. So a claim writes one row, and an outcome two.
create table jobs (
    id bigint primary key,
    lane bigint not null,
    run_at bigint not null,
    -- Of a waiting job: when it expires.
    expire_at bigint,
    created_at bigint not null,
    deadline bigint,
    timeout_ms bigint,
    status smallint not null check (status between 0 and 8),
    -- Priority rank, 0 critical to 3 low: the order of dispatch ascends in every column.
    urgency smallint not null check (urgency between 0 and 3),
    attempt bigint not null default 0,
    failed bigint not null default 0,
    lost bigint not null default 0,
    returned bigint not null default 0,
    -- The live attempt.
    execution uuid,
    worker uuid,
    worker_name text,
    epoch bigint,
    claimed_at bigint,
    started_at bigint,
    percent float8,
    progress text,
    cancel_at bigint,
    cancel_reason text,
    cancel_by text,
    finished_at bigint,
    -- The attempt that ended last.
    last_started_at bigint,
    last_worker text,
    last_error text,
    last_exit_code integer,
    last_exit_signal integer,
    -- While the job has a dead letter: its reason, and its time.
    dead text,
    dead_at bigint,
    check ((status in (3, 4)) = (execution is not null)),
    check ((execution is null) = (worker is null)),
    check ((status >= 5) = (finished_at is not null)),
    check (expire_at is null or status < 3),
    check (dead is null or status in (6, 7)),
    check ((dead is null) = (dead_at is null))
);
-- The order of dispatch.
create index jobs_ready on jobs (lane, urgency, run_at, id) where status = 1;
create index jobs_due on jobs (run_at, id) where status = 2;
create index jobs_expire on jobs (expire_at, id) where expire_at is not null;
-- Most jobs are completed; a list of them reads by id.
create index jobs_status on jobs (status, id) where status <> 5;
-- The live attempts of a worker: read with each heartbeat.
create index jobs_live on jobs (worker, id) where worker is not null;
-- Jobs that may be pruned.
create index jobs_completed on jobs (finished_at, id) where status = 5;
create index jobs_ended on jobs (finished_at, id) where status > 5 and dead is null;
create index jobs_dead on jobs (id) where dead is not null;

create table specs (job bigint primary key, key text, spec text not null);
create table results (job bigint primary key, result text not null);

-- A key is retained after its job was pruned, until `kept_until`, with the job's last status.
create table keys (
    key text collate "C" primary key,
    job bigint not null,
    hash text,
    status smallint,
    kept_until bigint,
    check ((status is null) = (kept_until is null))
);
create index keys_kept on keys (kept_until) where kept_until is not null;

-- Attempts that ended.
create table attempts (
    job bigint not null,
    number bigint not null,
    execution uuid not null,
    worker uuid not null,
    worker_name text not null,
    epoch bigint not null,
    status text not null,
    claimed_at bigint not null,
    started_at bigint,
    ended_at bigint not null,
    error text,
    exit_code integer,
    exit_signal integer,
    primary key (job, number)
);

create table logs (
    job bigint not null,
    attempt bigint not null,
    seq bigint not null,
    execution uuid not null,
    stream smallint not null,
    at bigint not null,
    dropped_bytes bigint not null,
    bytes bytea not null,
    primary key (job, attempt, seq)
);

-- `seen_at` here and of nodes is by the server's clock.
create table workers (
    incarnation uuid primary key,
    name text collate "C" not null,
    registration text not null,
    state text not null,
    capacity bigint not null,
    heartbeat bigint not null,
    load text,
    hosted_by uuid,
    node uuid,
    seen_at bigint not null,
    -- The order of an operator: drain, fence.
    ordered text
);

create table nodes (
    node uuid primary key,
    name text collate "C" not null,
    url text,
    version text not null,
    started_at bigint not null,
    seen_at bigint not null
);

-- One row: the leader, by the server's clock. The epoch never decreases.
create table lease (
    id boolean primary key default true check (id),
    holder uuid,
    epoch bigint not null,
    expires_at timestamptz,
    check ((holder is null) = (expires_at is null))
);
insert into lease values (true, null, 0, null);

create table tokens (
    id text collate "C" primary key,
    hash bytea not null,
    scopes text not null,
    created_at bigint not null,
    expires_at bigint,
    revoked_at bigint,
    note text not null
);

-- Each change of status leaves a dead row version behind, also in the index of ready jobs, where a claim
-- has to skip it.
alter table jobs set
    (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
alter table counts set
    (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
     autovacuum_vacuum_cost_delay = 0);
alter table lease set (fillfactor = 20);
alter table workers set (fillfactor = 50);
