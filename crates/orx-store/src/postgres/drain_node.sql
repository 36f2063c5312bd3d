-- Starts or ends the drain of a node, by the server's clock. Returns a row if that changed anything.
update nodes set draining_since = case
    when :drain = 1 then (extract(epoch from clock_timestamp()) * 1000)::bigint
end
from (:settings) s
where node = :node and (draining_since is null) = (:drain = 1)
returning 1
