-- Pauses a queue; a queue that is paused keeps the time of its first pause. Returns no row for an unknown
-- queue.
insert into queue_pauses (queue, paused_at, reason, paused_by)
select q.id, :at, :reason, :by from queues q, (:settings) s where q.name = :queue
on conflict (queue) do update set reason = excluded.reason, paused_by = excluded.paused_by
returning queue
