-- In the order of names, so that nodes that add the same ones wait for each other in turn.
insert into queues (name)
select name from unnest(:queues) as t(name), (:settings) s
where not exists (select from queues q where q.name = t.name)
order by name
on conflict do nothing
