-- Indexes for lists. They are on `specs`, which is written once: on `jobs`, each change of status would pay
-- for them.
alter table specs
    -- The job's lane. Null for a job from before this migration, or from a node of the version before.
    add column lane bigint,
    -- Of a large spec: the spec without args and command, for lists.
    add column head text,
    -- The terms that find the job, as in `terms`.
    add column terms text[];
create index specs_lane on specs (lane, job) where lane is not null;
create index specs_unindexed on specs (job) where lane is null;

-- `tag.NAME=value`, `schedule=id`, and `name=…` of commands, the values in lower case.
create table terms (
    term text collate "C" not null,
    job bigint not null,
    primary key (term, job)
);
