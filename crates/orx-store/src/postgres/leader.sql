-- Returns the leader, its epoch, and the milliseconds until its lease expires.
select holder, epoch, ceil(extract(epoch from expires_at - clock_timestamp()) * 1000)::bigint
from lease where expires_at > clock_timestamp()
