-- SHA-256 of the secret by which a worker proves its identity. NULL for a worker that registered before
-- secrets existed: the store accepts the first one that it presents.
alter table workers add column secret bytea;
