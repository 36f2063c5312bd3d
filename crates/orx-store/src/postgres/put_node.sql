-- Records a node's row. `seen_at` is the server's clock.
insert into nodes (node, name, url, version, zone_version, started_at, seen_at)
select :node, :name, :url, :version, :zone_version, :started_at,
       (extract(epoch from clock_timestamp()) * 1000)::bigint
from (:settings) s
on conflict (node) do update set
    name = excluded.name,
    url = excluded.url,
    version = excluded.version,
    zone_version = excluded.zone_version,
    started_at = excluded.started_at,
    seen_at = excluded.seen_at
