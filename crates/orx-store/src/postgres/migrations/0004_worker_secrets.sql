-- SHA-256 of the secret by which a worker proves that it is the one that registered. NULL for one that
-- registered before there were secrets: the first that it shows is its own.
alter table workers add column secret bytea;
