-- Since when a node drains, in milliseconds since 1970; NULL unless it does.
ALTER TABLE nodes ADD COLUMN draining_since INTEGER;
