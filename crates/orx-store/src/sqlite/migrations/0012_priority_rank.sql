-- The order of dispatch: 0 critical to 3 low.
ALTER TABLE jobs RENAME COLUMN urgency TO priority_rank;
