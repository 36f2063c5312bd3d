-- Sets the order of workers. A fenced worker stays fenced. Returns the workers that now have the order.
with l as materialized (:settings),
locked as materialized (
    select w.incarnation from workers w, l
    where w.incarnation = any(:workers)
      and (w.ordered is distinct from 'fence' or :ordered = 'fence')
    order by w.incarnation
    for no key update of w
)
update workers w set ordered = :ordered from locked k where w.incarnation = k.incarnation
returning w.incarnation
