-- Adds lanes. Rows are inserted in the order of names, for the same reason as in add_queues.sql.
insert into lanes (queue, handler, require)
select q.id, t.handler, t.require
from (:settings) s, unnest(:lane_queues, :handlers, :requires) as t(queue, handler, require)
join queues q on q.name = t.queue
order by q.name, t.handler, t.require
on conflict do nothing
