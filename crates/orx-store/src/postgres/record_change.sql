-- Records a change, and deletes some records that are too old or too many.
with s as materialized (:settings),
gone as (
    delete from audit where id in (
        select id from audit where at < :since
        union all
        select id from audit where id <= (select max(id) from audit) - :most
        limit :forget
    )
)
insert into audit (at, action, object, changed, token, address, person, reason)
select :at, :action, :object, :changed, :token, :address, :person, :reason from s
