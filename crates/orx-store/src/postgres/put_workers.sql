-- Records reports of workers. A registration (heartbeat 0) inserts a row or replaces it; a heartbeat only
-- replaces one, since it may arrive after its worker's row was deleted. A heartbeat older than the recorded
-- one only sets `seen_at`. Neither changes the row of a fenced worker, or one with another secret.
--
-- Returns the order and whether the secret is right. Returns no row for a heartbeat without a row, nor for
-- a registration that changed nothing because another transaction inserted the row meanwhile.
with l as materialized (:settings),
input as materialized (
    select * from unnest(:incarnations, :names, :registrations, :states, :capacities, :heartbeats,
                         :loads, :hosts, :nodes, :secrets)
    as t(incarnation, name, registration, state, capacity, heartbeat, load, hosted_by, node, secret)
),
-- Locks every existing row, in the order of incarnations, so that two such statements never deadlock.
locked as materialized (
    select w.incarnation, w.ordered, w.secret
    from workers w join input i using (incarnation), l
    order by w.incarnation
    for no key update of w
),
put as (
insert into workers as w
    (incarnation, name, registration, state, capacity, heartbeat, load, hosted_by, node, secret,
     seen_at)
select incarnation, name, registration, state, capacity, heartbeat, load, hosted_by, node, secret,
       (extract(epoch from clock_timestamp()) * 1000)::bigint
from input
where heartbeat = 0 and (select count(*) from locked) >= 0
order by incarnation
on conflict (incarnation) do update set
    (name, registration, state, capacity, heartbeat, load, hosted_by, node, secret, seen_at) = (
        excluded.name, excluded.registration, excluded.state, excluded.capacity,
        excluded.heartbeat, excluded.load, excluded.hosted_by, excluded.node, excluded.secret,
        excluded.seen_at)
where w.ordered is distinct from 'fence' and (w.secret is null or w.secret = excluded.secret)
returning w.incarnation, w.ordered
),
updated as (
update workers w set
    (name, registration, state, capacity, heartbeat, load, hosted_by, node, secret, seen_at) = (
        select v.name, v.registration, v.state, v.capacity, v.heartbeat, v.load, v.hosted_by,
               v.node, i.secret, (extract(epoch from clock_timestamp()) * 1000)::bigint
        from (values
            (true, i.name, i.registration, i.state, i.capacity, i.heartbeat, i.load, i.hosted_by,
             i.node),
            (false, w.name, w.registration, w.state, w.capacity, w.heartbeat, w.load, w.hosted_by,
             w.node)
        ) as v(newest, name, registration, state, capacity, heartbeat, load, hosted_by, node)
        where v.newest = (i.heartbeat >= w.heartbeat)
    )
from input i join locked k using (incarnation)
where w.incarnation = i.incarnation and i.heartbeat > 0
  and w.ordered is distinct from 'fence' and (w.secret is null or w.secret = i.secret)
returning w.incarnation, w.ordered
),
changed as (select * from put union all select * from updated)
select incarnation, ordered, true from changed
union all
select k.incarnation, k.ordered, k.secret is null or k.secret = i.secret
from locked k join input i using (incarnation)
where k.incarnation not in (select incarnation from changed)
