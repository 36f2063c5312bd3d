-- Version of the time zone database that a node uses, as it reported last.
alter table nodes add column zone_version text;
