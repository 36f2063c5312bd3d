-- Since when a node drains, in milliseconds since 1970; null unless it does.
alter table nodes add column draining_since bigint;
