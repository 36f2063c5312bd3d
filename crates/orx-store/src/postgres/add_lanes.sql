-- In the order of names, so that nodes that add the same ones wait for each other in turn.
insert into queues (name)
select name from unnest(:queues) as t(name)
where not exists (select from queues q where q.name = t.name)
order by name
on conflict do nothing;
insert into lanes (queue, handler, require)
select q.id, t.handler, t.require
from unnest(:lane_queues, :handlers, :requires) as t(queue, handler, require)
join queues q on q.name = t.queue
order by q.name, t.handler, t.require
on conflict do nothing;
select l.id, l.queue, q.name, l.handler, l.require
from unnest(:lane_queues, :handlers, :requires) as t(queue, handler, require)
join queues q on q.name = t.queue
join lanes l on l.queue = q.id and l.handler = t.handler and l.require = t.require
