-- Takes the lease if it is free or expired, or renews the caller's own. A lease that was free, expired or
-- held by another node gets a new epoch: above the last one, above `above`, and above the seconds since
-- 1970. No node leads on a store that has moved, and a node that drains takes no lease. Returns whether the caller leads, and the leader. Returns
-- no row if the lease was released or changed hands meanwhile.
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
        -- No lease is this long: the server's clock was set back.
        or expires_at > clock_timestamp() + :ttl * interval '2 milliseconds')
      and not exists (select from home where key = 'moved_to')
      and (holder = :node and expires_at > clock_timestamp()
        or not exists (select from nodes where node = :node and draining_since is not null))
    returning epoch
)
select true, :node, epoch, 0::bigint from got
union all
select false, holder, epoch,
       ceil(extract(epoch from expires_at - clock_timestamp()) * 1000)::bigint
from lease where expires_at > clock_timestamp() and not exists (select from got)
