-- Deaths of the whole server under the job, told apart from those of its worker alone (`lost`).
ALTER TABLE jobs ADD COLUMN server_lost INTEGER NOT NULL DEFAULT 0;
