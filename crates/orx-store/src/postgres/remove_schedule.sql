-- Removes a schedule. Returns its version, whether the schedule was removed, and whether its row stayed
-- unchanged while the statement waited for its lock. If the row changed, nothing is removed: this statement
-- does not see the ledger rows that a firing wrote meanwhile. Returns no row if the schedule does not exist.
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
