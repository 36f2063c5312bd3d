-- Ends an operation that runs.
with l as materialized (:settings)
update operations o set status = :status, error = :error, ended_by = :by, ended_at = :now
from l
where o.id = :operation and o.status = 'running'
returning
    :operation_columns
