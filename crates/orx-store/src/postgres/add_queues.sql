-- Adds queues. Rows are inserted in the order of names: nodes that add the same queues wait for each other
-- and never deadlock.
insert into queues (name)
select name from unnest(:queues) as t(name), (:settings) s
where not exists (select from queues q where q.name = t.name)
order by name
on conflict do nothing
