-- Records the progress of live attempts. Rows are locked in the order of ids.
with l as materialized (:settings),
locked as materialized (
    select j.id, j.execution from jobs j, l
    where j.id = any(:jobs)
    order by j.id
    for no key update of j
)
update jobs j set percent = t.percent, progress = t.text
from unnest(:jobs, :executions, :percents, :texts) as t(job, execution, percent, text)
join locked k on k.id = t.job and k.execution = t.execution
where j.id = k.id
