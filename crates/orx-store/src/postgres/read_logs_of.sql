-- Returns chunks of several jobs, of each at most `chunks` after its cursor: the first, or the last where
-- `newest`. A chunk is returned if the chunks before it are shorter than the limit; an empty one counts as
-- one byte.
select job, attempt, seq, execution, stream, at, dropped_bytes, bytes
from (
    select *, sum(greatest(octet_length(bytes), 1)) over (
        order by place, attempt, seq rows between unbounded preceding and 1 preceding
    ) as before
    from (
        select requested.place, chunk.*
        from unnest(:jobs, :attempts, :seqs)
             with ordinality as requested (job, attempt, seq, place)
        cross join lateral (
            (
                select * from logs
                where :newest = 0
                  and logs.job = requested.job
                  and (logs.attempt, logs.seq) > (requested.attempt, requested.seq)
                order by logs.attempt, logs.seq
                limit :chunks
            )
            union all
            (
                select * from logs
                where :newest = 1
                  and logs.job = requested.job
                  and (logs.attempt, logs.seq) > (requested.attempt, requested.seq)
                order by logs.attempt desc, logs.seq desc
                limit :chunks
            )
        ) chunk
    ) chunks
) summed
where coalesce(before, 0) < :limit
order by place, attempt, seq
