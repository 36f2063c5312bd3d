-- Answers the version, whether it was the wanted one, and whether the schedule stood as it was while
-- its lock was waited for: what a firing wrote into its ledger meanwhile this statement does not see,
-- and so it does nothing. Without a row, there is none.
with l as materialized (:settings),
before as materialized (select s.id, s.ctid as place from schedules s where s.id = :id),
found as materialized (
    select s.id, s.version, s.ctid = b.place as stood
    from l cross join before b join schedules s on s.id = b.id
    for update of s
),
hit as materialized (
    select * from found where stood and (:version is null or version = :version)
),
gone as (delete from schedules s using hit h where s.id = h.id),
planned as (delete from schedule_plans p using hit h where p.id = h.id),
ledger as (delete from slots s using hit h where s.schedule = h.id)
select version, exists (select from hit), stood from found
