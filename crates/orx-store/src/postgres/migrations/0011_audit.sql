-- Changes that people and programs made, oldest first.
create table audit (
    id bigint generated always as identity primary key,
    at bigint not null,
    action text not null,
    object text not null,
    changed bigint not null,
    token text not null,
    address text,
    person text,
    reason text
);
create index audit_at on audit (at);
