-- Returns chunks after a cursor until `limit` bytes are reached: a chunk is returned if the chunks before
-- it are shorter than the limit. An empty chunk counts as one byte, so that a log of empty chunks ends too.
-- No chunk counts less, so the subquery needs no more than `limit` rows.
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
