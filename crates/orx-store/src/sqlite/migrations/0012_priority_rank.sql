-- The rank of the priority: 0 for critical, higher for less important jobs.
ALTER TABLE jobs RENAME COLUMN urgency TO priority_rank;
