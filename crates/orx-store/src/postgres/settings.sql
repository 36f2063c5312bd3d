-- Returns the settings of the server that `check_settings` compares, in its order.
select
    current_setting('server_version_num')::bigint,
    current_setting('server_version'),
    current_setting('server_encoding'),
    pg_is_in_recovery(),
    current_setting('synchronous_commit'),
    current_setting('fsync'),
    current_setting('full_page_writes')
