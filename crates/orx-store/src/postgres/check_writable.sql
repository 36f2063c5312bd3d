-- Fails if the disk is full. On a full disk a small write may still fit into a table's existing pages, so
-- this writes a mebibyte to a temporary table that the commit drops. Does nothing for a role that may not
-- create temporary tables.
do $$
begin
    if has_database_privilege(current_database(), 'temp') then
        create temporary table orx_room on commit drop as
        select md5(n::text) from generate_series(1, 20000) as n;
    end if;
end
$$
