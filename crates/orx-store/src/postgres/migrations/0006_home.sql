-- Which of several copies of a store is served: its id and, if set, `moved_to` and `copying_from`.
create table home (key text collate "C" primary key, value text not null);
insert into home values ('id', gen_random_uuid()::text);
