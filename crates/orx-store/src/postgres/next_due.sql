-- Returns when the next scheduled job becomes due or the next waiting job expires.
select least(
    (select run_at from jobs where status = 2 order by run_at limit 1),
    (select expire_at from jobs where expire_at is not null order by expire_at limit 1)
)
