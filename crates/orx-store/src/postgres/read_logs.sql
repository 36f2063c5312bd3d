-- Chunks after a place, until so many bytes are reached: the sum of those before a chunk decides. An
-- empty chunk counts for one, so that a log of nothing but those has an end. No chunk is smaller,
-- so rows beyond the limit are not looked at.
select attempt, seq, execution, stream, at, dropped_bytes, bytes
from (
    select *, sum(greatest(octet_length(bytes), 1)) over (
        order by attempt, seq rows between unbounded preceding and 1 preceding
    ) as before
    from (
        select * from logs
        where job = :job
          and (attempt, seq) > (:after_attempt, :after_seq)
          and (:attempt is null or attempt = :attempt)
          and stream = any(:streams)
        order by attempt, seq
        limit least(:limit, 50000)
    ) chunks
) summed
where coalesce(before, 0) < :limit
order by attempt, seq
