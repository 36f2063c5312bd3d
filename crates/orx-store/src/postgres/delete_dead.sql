-- Deletes the dead letters of jobs. The jobs stay. Returns the ids of those that had one.
with l as materialized (:settings),
locked as materialized (
    select j.id, j.lane, j.dead, j.cause from jobs j, l
    where j.id = any(:jobs) and j.dead is not null
    order by j.id
    for no key update of j
),
letters as (
    insert into cause_counts (cause, lane, reason, letters)
    select k.cause, k.lane, k.dead, -count(*) from locked k
    where k.cause is not null
    group by 1, 2, 3
)
update jobs j set dead = null, dead_at = null, cause = null
from locked k where j.id = k.id
returning j.id
