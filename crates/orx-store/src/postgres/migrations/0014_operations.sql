-- Operations over many jobs.
create table operations (
    id bigint generated always as identity primary key,
    key text unique,
    hash text,
    action text not null,
    filter text,
    zone text,
    dead integer not null,
    force integer not null,
    rate bigint,
    matched bigint not null,
    matched_exact integer not null,
    upto bigint not null,
    cursor bigint not null default 0,
    status text not null default 'running',
    changed bigint not null default 0,
    stopping bigint not null default 0,
    already_ended bigint not null default 0,
    not_ended bigint not null default 0,
    not_found bigint not null default 0,
    in_use bigint not null default 0,
    reason text,
    person text,
    token text not null,
    address text,
    error text,
    ended_by text,
    created_at bigint not null,
    ended_at bigint
);
create index operations_running on operations (id) where status = 'running';
create index operations_ended on operations (ended_at) where ended_at is not null;
-- The ids that an operation names, in pieces: each row holds some, and the last of them.
create table operation_targets (
    operation bigint not null,
    last bigint not null,
    jobs text not null,
    primary key (operation, last)
);
