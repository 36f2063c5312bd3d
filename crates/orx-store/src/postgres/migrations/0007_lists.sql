-- What lists are read from. `specs` is written once: an index of `jobs` would cost each move of a job.
alter table specs
    -- Of its job. Null where the job is from before, or of a node of the version before.
    add column lane bigint,
    -- Of a large spec the same without args and command, for those who only look.
    add column head text,
    -- What else the job is found by, as in `terms`.
    add column terms text[];
create index specs_lane on specs (lane, job) where lane is not null;
create index specs_unindexed on specs (job) where lane is null;

-- `tag.NAME=value`, `schedule=id`, and `name=…` of commands, the values in lower case.
create table terms (
    term text collate "C" not null,
    job bigint not null,
    primary key (term, job)
);
