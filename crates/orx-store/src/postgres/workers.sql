-- Returns the workers, by name. The tenth column is the time since the last report, in milliseconds.
select registration, state, capacity, heartbeat, load, hosted_by, node, seen_at, ordered,
       greatest(0, (extract(epoch from clock_timestamp()) * 1000)::bigint - seen_at),
       incarnation, name
from workers
order by name, incarnation
