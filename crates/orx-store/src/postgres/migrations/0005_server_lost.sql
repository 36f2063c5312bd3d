-- Attempts that ended because the whole server died; `lost` counts those whose worker alone died.
alter table jobs add column server_lost bigint not null default 0;
