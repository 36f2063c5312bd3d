-- Returns the job that holds each key, in any order. Returns no row for a free key.
select i.ord, k.job, k.hash, coalesce(j.status, k.status)
from unnest(:ords, :keys) as i(ord, key)
cross join lateral (
    select k.job, k.hash, k.status from keys k
    where k.key = i.key and (k.kept_until is null or k.kept_until > :now)
    limit 1
) k
left join lateral (select j.status from jobs j where j.id = k.job limit 1) j on true
