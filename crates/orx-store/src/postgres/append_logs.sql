-- Appends chunks to the logs of existing jobs. A chunk that is already stored changes nothing. The
-- `for key share` locks keep a concurrent prune from deleting the jobs and block nothing else.
with l as materialized (:settings),
input as materialized (
    select * from unnest(:jobs, :attempts, :seqs, :executions, :streams, :ats, :dropped, :bytes)
    as t(job, attempt, seq, execution, stream, at, dropped, bytes)
),
known as materialized (
    select j.id from jobs j, l where j.id = any(:jobs) order by j.id for key share of j
)
insert into logs (job, attempt, seq, execution, stream, at, dropped_bytes, bytes)
select i.job, i.attempt, i.seq, i.execution, i.stream, i.at, i.dropped, i.bytes
from input i join known k on k.id = i.job
order by i.job, i.attempt, i.seq
on conflict do nothing
