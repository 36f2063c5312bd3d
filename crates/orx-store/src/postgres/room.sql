-- Whether the next write finds room. On a full disk a small one finds it in the pages that a table has, so a
-- mebibyte of the disk is taken, by a table that leaves nothing behind. A role that may make no such table
-- takes none.
do $$
begin
    if has_database_privilege(current_database(), 'temp') then
        create temporary table orx_room on commit drop as
        select md5(n::text) from generate_series(1, 20000) as n;
    end if;
end
$$
