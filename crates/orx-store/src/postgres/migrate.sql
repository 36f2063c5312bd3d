-- What a migration stands behind. The lock ends with the transaction, so no session has to be kept.
-- What is there already is no news.
set local client_min_messages = warning;
select pg_advisory_xact_lock(:lock);
create table if not exists orx_schema (
    id boolean primary key default true check (id),
    version bigint not null
);
insert into orx_schema (version) values (0) on conflict do nothing;
-- Refused by a division by zero where another node has done it meanwhile.
update orx_schema set version = :after / (case when version = :before then 1 else 0 end);
