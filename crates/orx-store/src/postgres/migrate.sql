-- Runs before each migration, in its transaction. The lock ends with the transaction, so it needs no session
-- of its own. `client_min_messages` silences the notice that the table already exists.
set local client_min_messages = warning;
select pg_advisory_xact_lock(:lock);
create table if not exists orx_schema (
    id boolean primary key default true check (id),
    version bigint not null
);
insert into orx_schema (version) values (0) on conflict do nothing;
-- Fails with a division by zero if another node has applied the migration meanwhile.
update orx_schema set version = :after / (case when version = :before then 1 else 0 end);
