-- Which of several copies of a store is served: its id, and, where they are known, `moved_to`,
-- `copying_from`.
create table home (key text collate "C" primary key, value text not null);
insert into home values ('id', gen_random_uuid()::text);
