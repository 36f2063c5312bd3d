-- Deletes the dead letters of jobs. The jobs stay. Returns the ids of those that had one.
with l as materialized (:settings),
locked as materialized (
    select j.id from jobs j, l
    where j.id = any(:jobs) and j.dead is not null
    order by j.id
    for no key update of j
)
update jobs j set dead = null, dead_at = null from locked k where j.id = k.id returning j.id
