-- Version of the time zone database that a node reads, as it told last.
alter table nodes add column zone_version text;
