-- The lock first, in a statement of its own: what a firing before it wrote into the ledger is seen
-- only by the next. Answers the version, and whether it was the wanted one; without a row, there is
-- none.
select 1 from schedules where id = :id for update;
with found as materialized (select id, version from schedules where id = :id),
hit as materialized (select * from found where :version is null or version = :version),
gone as (delete from schedules s using hit h where s.id = h.id),
planned as (delete from schedule_plans p using hit h where p.id = h.id),
ledger as (delete from slots s using hit h where s.schedule = h.id)
select version, exists (select from hit) from found
