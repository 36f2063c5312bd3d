-- The server parses each CHECK anew in each statement that writes the table, which made them a fifth of the
-- cost of a statement of one job. What they checked is what the statements of this store write, and the
-- contract suite checks that for every store.
alter table jobs
    drop constraint if exists jobs_check,
    drop constraint if exists jobs_check1,
    drop constraint if exists jobs_check2,
    drop constraint if exists jobs_check3,
    drop constraint if exists jobs_check4,
    drop constraint if exists jobs_check5,
    drop constraint if exists jobs_status_check,
    drop constraint if exists jobs_urgency_check;
alter table keys drop constraint if exists keys_check;
