-- Deaths of the whole server under the job, told apart from those of its worker alone (`lost`).
alter table jobs add column server_lost bigint not null default 0;
