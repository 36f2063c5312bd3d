-- Stores a token; replaces the one with the same id.
insert into tokens (id, hash, scopes, created_at, expires_at, revoked_at, note)
select :id, :hash, :scopes, :created_at, :expires_at, :revoked_at, :note from (:settings) s
on conflict (id) do update set
    hash = excluded.hash,
    scopes = excluded.scopes,
    created_at = excluded.created_at,
    expires_at = excluded.expires_at,
    revoked_at = excluded.revoked_at,
    note = excluded.note
