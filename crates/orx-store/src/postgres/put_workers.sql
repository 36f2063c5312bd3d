-- Workers as they were heard of; what is ordered of them stands. What was sent before the last that
-- is known says only that the worker lives, and a fenced one says nothing. Nor does one with another
-- secret than the one kept. Answers the orders, and whether the secrets are those kept: nothing of a worker
-- that another transaction added meanwhile.
with input as materialized (
    select * from unnest(:incarnations, :names, :registrations, :states, :capacities, :heartbeats,
                         :loads, :hosts, :nodes, :secrets)
    as t(incarnation, name, registration, state, capacity, heartbeat, load, hosted_by, node, secret)
),
put as (
insert into workers as w
    (incarnation, name, registration, state, capacity, heartbeat, load, hosted_by, node, secret,
     seen_at)
select incarnation, name, registration, state, capacity, heartbeat, load, hosted_by, node, secret,
       (extract(epoch from clock_timestamp()) * 1000)::bigint
from input, (:settings) s
order by incarnation
on conflict (incarnation) do update set
    (name, registration, state, capacity, heartbeat, load, hosted_by, node, secret, seen_at) = (
        select t.*, excluded.secret, excluded.seen_at
        from (values
            (true, excluded.name, excluded.registration, excluded.state, excluded.capacity,
             excluded.heartbeat, excluded.load, excluded.hosted_by, excluded.node),
            (false, w.name, w.registration, w.state, w.capacity, w.heartbeat, w.load, w.hosted_by,
             w.node)
        ) as v(newest, name, registration, state, capacity, heartbeat, load, hosted_by, node)
        cross join lateral (
            select v.name, v.registration, v.state, v.capacity, v.heartbeat, v.load, v.hosted_by,
                   v.node
        ) t
        where v.newest = (excluded.heartbeat = 0 or excluded.heartbeat >= w.heartbeat)
    )
where w.ordered is distinct from 'fence' and (w.secret is null or w.secret = excluded.secret)
returning w.incarnation, w.ordered
)
select incarnation, ordered, true from put
union all
select w.incarnation, w.ordered, w.secret is null or w.secret = i.secret
from workers w join input i using (incarnation)
where w.incarnation not in (select incarnation from put)
