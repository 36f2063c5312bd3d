-- Version of the time zone database that a node reads, as it told last.
ALTER TABLE nodes ADD COLUMN zone_version TEXT;
