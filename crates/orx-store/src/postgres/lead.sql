-- Takes the lease where it is free or has run out, and renews one's own. The epoch is a new one where
-- the lease was another's, or had run out: above the last, what was heard of, and the seconds. Nobody
-- leads on a store that has moved. Answers whether it was taken, and who has it: nobody, where it was
-- given back or changed hands meanwhile.
with got as (
    update lease set
        epoch = case
            when holder = :node and expires_at > clock_timestamp() then epoch
            else greatest(epoch, :above, floor(extract(epoch from clock_timestamp()))::bigint) + 1
        end,
        holder = :node,
        expires_at = clock_timestamp() + :ttl * interval '1 millisecond'
    from (:settings) s
    where (holder is null or holder = :node or expires_at <= clock_timestamp()
        -- No lease is so long: the clock went back under it.
        or expires_at > clock_timestamp() + :ttl * interval '2 milliseconds')
      and not exists (select from home where key = 'moved_to')
    returning epoch
)
select true, :node, epoch, 0::bigint from got
union all
select false, holder, epoch,
       ceil(extract(epoch from expires_at - clock_timestamp()) * 1000)::bigint
from lease where expires_at > clock_timestamp() and not exists (select from got)
