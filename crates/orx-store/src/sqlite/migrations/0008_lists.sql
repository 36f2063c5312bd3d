-- What lists are read from. By lane, so by queue and name:
CREATE INDEX jobs_lane ON jobs (lane);

-- Of specs that are large: the same without args and command, for those who only look.
CREATE TABLE heads (job INTEGER PRIMARY KEY, head TEXT NOT NULL) STRICT;

-- What else jobs are found by: `tag.NAME=value`, `schedule=id`, and `name=…` of commands, the values in
-- lower case. Jobs up to `terms_after` are from before, and have none here.
CREATE TABLE terms (
    term TEXT NOT NULL,
    job INTEGER NOT NULL,
    PRIMARY KEY (term, job)
) STRICT, WITHOUT ROWID;
INSERT INTO meta SELECT 'terms_after', ifnull(max(id), 0) FROM jobs;
