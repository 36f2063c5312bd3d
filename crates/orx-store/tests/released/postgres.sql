-- A store of 25c9dd1, the first release: nine jobs in different statuses, two schedules, and what
-- belongs to them. Read back by released.rs; never changed.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE TABLE public.attempts (
    job bigint NOT NULL,
    number bigint NOT NULL,
    execution uuid NOT NULL,
    worker uuid NOT NULL,
    worker_name text NOT NULL,
    epoch bigint NOT NULL,
    status text NOT NULL,
    claimed_at bigint NOT NULL,
    started_at bigint,
    ended_at bigint NOT NULL,
    error text,
    exit_code integer,
    exit_signal integer
);
CREATE TABLE public.counts (
    queue bigint NOT NULL,
    status smallint NOT NULL,
    jobs bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE public.home (
    key text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL
);
CREATE SEQUENCE public.job_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE public.jobs (
    id bigint NOT NULL,
    lane bigint NOT NULL,
    run_at bigint NOT NULL,
    expire_at bigint,
    created_at bigint NOT NULL,
    deadline bigint,
    timeout_ms bigint,
    status smallint NOT NULL,
    urgency smallint NOT NULL,
    attempt bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    lost bigint DEFAULT 0 NOT NULL,
    returned bigint DEFAULT 0 NOT NULL,
    execution uuid,
    worker uuid,
    worker_name text,
    epoch bigint,
    claimed_at bigint,
    started_at bigint,
    percent double precision,
    progress text,
    cancel_at bigint,
    cancel_reason text,
    cancel_by text,
    finished_at bigint,
    last_started_at bigint,
    last_worker text,
    last_error text,
    last_exit_code integer,
    last_exit_signal integer,
    dead text,
    dead_at bigint,
    server_lost bigint DEFAULT 0 NOT NULL,
    CONSTRAINT jobs_check CHECK (((status = ANY (ARRAY[3, 4])) = (execution IS NOT NULL))),
    CONSTRAINT jobs_check1 CHECK (((execution IS NULL) = (worker IS NULL))),
    CONSTRAINT jobs_check2 CHECK (((status >= 5) = (finished_at IS NOT NULL))),
    CONSTRAINT jobs_check3 CHECK (((expire_at IS NULL) OR (status < 3))),
    CONSTRAINT jobs_check4 CHECK (((dead IS NULL) OR (status = ANY (ARRAY[6, 7])))),
    CONSTRAINT jobs_check5 CHECK (((dead IS NULL) = (dead_at IS NULL))),
    CONSTRAINT jobs_status_check CHECK (((status >= 0) AND (status <= 8))),
    CONSTRAINT jobs_urgency_check CHECK (((urgency >= 0) AND (urgency <= 3)))
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='1');
CREATE TABLE public.keys (
    key text NOT NULL COLLATE pg_catalog."C",
    job bigint NOT NULL,
    hash text,
    status smallint,
    kept_until bigint,
    CONSTRAINT keys_check CHECK (((status IS NULL) = (kept_until IS NULL)))
);
CREATE TABLE public.lanes (
    id bigint NOT NULL,
    queue bigint NOT NULL,
    handler text NOT NULL COLLATE pg_catalog."C",
    require text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE public.lanes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.lanes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.lease (
    id boolean DEFAULT true NOT NULL,
    holder uuid,
    epoch bigint NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT lease_check CHECK (((holder IS NULL) = (expires_at IS NULL))),
    CONSTRAINT lease_id_check CHECK (id)
)
WITH (fillfactor='20');
CREATE TABLE public.logs (
    job bigint NOT NULL,
    attempt bigint NOT NULL,
    seq bigint NOT NULL,
    execution uuid NOT NULL,
    stream smallint NOT NULL,
    at bigint NOT NULL,
    dropped_bytes bigint NOT NULL,
    bytes bytea NOT NULL
);
CREATE TABLE public.meta (
    key text NOT NULL,
    value bigint NOT NULL
);
CREATE TABLE public.nodes (
    node uuid NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    url text,
    version text NOT NULL,
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    zone_version text
);
CREATE TABLE public.orx_schema (
    id boolean DEFAULT true NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT orx_schema_id_check CHECK (id)
);
CREATE TABLE public.queues (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE public.queues ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.queues_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.results (
    job bigint NOT NULL,
    result text NOT NULL
);
CREATE TABLE public.schedule_plans (
    id text NOT NULL COLLATE pg_catalog."C",
    spec text NOT NULL,
    templates text NOT NULL,
    paused_at bigint,
    paused_reason text,
    paused_by text,
    changed_by text
);
CREATE TABLE public.schedules (
    id text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    handled bigint NOT NULL,
    next_slot bigint,
    next_fire bigint,
    runs bigint NOT NULL,
    last_run bigint,
    written bigint DEFAULT 0 NOT NULL,
    CONSTRAINT schedules_check CHECK (((next_slot IS NULL) = (next_fire IS NULL)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='1');
CREATE TABLE public.slots (
    schedule text NOT NULL COLLATE pg_catalog."C",
    slot bigint NOT NULL,
    last bigint,
    count bigint NOT NULL,
    exact boolean NOT NULL,
    outcome text NOT NULL,
    reason text,
    job bigint,
    late_ms bigint,
    recorded_at bigint NOT NULL
);
CREATE TABLE public.specs (
    job bigint NOT NULL,
    key text,
    spec text NOT NULL
);
CREATE TABLE public.tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    hash bytea NOT NULL,
    scopes text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    note text NOT NULL
);
CREATE TABLE public.watched (
    job bigint NOT NULL,
    schedule text NOT NULL COLLATE pg_catalog."C",
    slot bigint,
    waits_for bigint,
    cancel boolean NOT NULL,
    on_failure text
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='1');
CREATE TABLE public.workers (
    incarnation uuid NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    registration text NOT NULL,
    state text NOT NULL,
    capacity bigint NOT NULL,
    heartbeat bigint NOT NULL,
    load text,
    hosted_by uuid,
    node uuid,
    seen_at bigint NOT NULL,
    ordered text,
    secret bytea
)
WITH (fillfactor='50');
INSERT INTO public.attempts VALUES (3, 1, '4745fde8-6c03-c202-ce0a-bff74ef6cd54', '5e0916ea-0170-141b-3937-c4e4763bb2ae', 'host', 1795828757, 'succeeded', 1795828759997, 1795828760094, 1795828760113, NULL, 0, NULL);
INSERT INTO public.attempts VALUES (4, 1, '19811f7d-0f69-1e6b-f1cc-0d772ca05eda', '5e0916ea-0170-141b-3937-c4e4763bb2ae', 'host', 1795828757, 'failed', 1795828759997, 1795828760122, 1795828760127, 'exit 3', 3, NULL);
INSERT INTO public.attempts VALUES (5, 1, '75ffe9f5-958e-856b-77a4-57aff1f61cb1', '5e0916ea-0170-141b-3937-c4e4763bb2ae', 'host', 1795828757, 'succeeded', 1795828759997, 1795828760045, 1795828760045, NULL, NULL, NULL);
INSERT INTO public.counts VALUES (1, 1, 1);
INSERT INTO public.counts VALUES (2, 2, 1);
INSERT INTO public.counts VALUES (1, 1, 1);
INSERT INTO public.counts VALUES (3, 1, 3);
INSERT INTO public.counts VALUES (1, 1, -1);
INSERT INTO public.counts VALUES (1, 3, 1);
INSERT INTO public.counts VALUES (3, 1, -3);
INSERT INTO public.counts VALUES (3, 3, 3);
INSERT INTO public.counts VALUES (1, 3, -1);
INSERT INTO public.counts VALUES (1, 5, 1);
INSERT INTO public.counts VALUES (3, 3, -2);
INSERT INTO public.counts VALUES (3, 5, 1);
INSERT INTO public.counts VALUES (3, 6, 1);
INSERT INTO public.counts VALUES (3, 3, -1);
INSERT INTO public.counts VALUES (3, 4, 1);
INSERT INTO public.counts VALUES (2, 2, 1);
INSERT INTO public.counts VALUES (2, 2, -1);
INSERT INTO public.counts VALUES (2, 8, 1);
INSERT INTO public.counts VALUES (1, 1, 1);
INSERT INTO public.counts VALUES (1, 0, 1);
INSERT INTO public.home VALUES ('id', 'fd003e37-9dca-49f7-8f62-c8d20d4aae0b');
INSERT INTO public.jobs VALUES (1, 1, 1795828759349, NULL, 1795828759349, NULL, 60000, 1, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (2, 2, 2082758400000, 2085436800000, 1795828759578, 2085436800000, 3600000, 2, 2, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (3, 3, 1795828759877, NULL, 1795828759877, NULL, NULL, 5, 2, 1, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795828760113, 1795828760094, 'host', NULL, 0, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (4, 3, 1795828759877, NULL, 1795828759877, NULL, NULL, 6, 2, 1, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795828760127, 1795828760122, 'host', 'exit 3', 3, NULL, 'exhausted', 1795828760193, 0);
INSERT INTO public.jobs VALUES (5, 4, 1795828759877, NULL, 1795828759877, NULL, 3600000, 5, 2, 1, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795828760045, 1795828760045, 'host', NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (6, 3, 1795828759877, NULL, 1795828759877, NULL, NULL, 4, 2, 1, 0, 0, 0, 'caa2ccc4-3b62-6577-8077-5420415414ba', '5e0916ea-0170-141b-3937-c4e4763bb2ae', 'host', 1795828757, 1795828759997, 1795828760113, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (7, 2, 1796692762233, NULL, 1795828762233, NULL, 3600000, 8, 2, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795828762505, NULL, 'local admin', 1795828762505, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (8, 5, 1795828763037, NULL, 1795828763037, NULL, 3600000, 1, 2, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.jobs VALUES (9, 5, 1795828764001, NULL, 1795828764001, NULL, 3600000, 0, 2, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.keys VALUES ('k1', 1, '2:041556215ef526595f4be0cc998ec380d953e77f424b77bc587da2f10318e658', NULL, NULL);
INSERT INTO public.keys VALUES ('f240529c6e7464035faedec98b3975b8', 2, '2:82aa910e5dbb671c7c0028099ab09f7105e9ad987459129c3ea9321d9c0e5055', NULL, NULL);
INSERT INTO public.keys VALUES ('7141214fbae964218cf79b88f5229127', 5, '2:6afa35d0d9db2a7b7210fe2f52f632692298710ce0ee5e1a67be74e4624cbaf5', NULL, NULL);
INSERT INTO public.keys VALUES ('done', 3, '2:3e69333d5bdde6d28aceb93f1080843c6c0026c5527cfbaf7c3420ef5825e1b4', NULL, NULL);
INSERT INTO public.keys VALUES ('ed10689d7af623aa4eed0298fbe2f34a', 4, '2:7e69c463e8c885f649cb28549a3e63b01648b137969757596bfefe482589fc53', NULL, NULL);
INSERT INTO public.keys VALUES ('live', 6, '2:0706461bfd67587ee01e9515525ef68f5155175090fc4fbf912fc739d5e667b0', NULL, NULL);
INSERT INTO public.keys VALUES ('cancelled', 7, '2:78af26e52d5c3edbb4b252c65c2d0e9ba8bb3384bacd098e0be790845e1e6ee9', NULL, NULL);
INSERT INTO public.lanes OVERRIDING SYSTEM VALUE VALUES (1, 1, 'video.process', '{"gpu":"a"}');
INSERT INTO public.lanes OVERRIDING SYSTEM VALUE VALUES (2, 2, 'mail.send', '{}');
INSERT INTO public.lanes OVERRIDING SYSTEM VALUE VALUES (3, 3, '', '{}');
INSERT INTO public.lanes OVERRIDING SYSTEM VALUE VALUES (4, 1, 'orx.noop', '{}');
INSERT INTO public.lanes OVERRIDING SYSTEM VALUE VALUES (5, 1, 'later.type', '{}');
INSERT INTO public.lease VALUES (true, 'ecf853e8-fa22-9751-384c-8064bd7dce68', 1795828757, '2026-11-28 01:19:46.898691+00');
INSERT INTO public.logs VALUES (3, 1, 1, '4745fde8-6c03-c202-ce0a-bff74ef6cd54', 0, 1795828760113, 0, '\x6f75740a');
INSERT INTO public.logs VALUES (3, 1, 2, '4745fde8-6c03-c202-ce0a-bff74ef6cd54', 1, 1795828760113, 0, '\x6572720a');
INSERT INTO public.meta VALUES ('touched', 0);
INSERT INTO public.meta VALUES ('clock_jumps', 0);
INSERT INTO public.meta VALUES ('clock_seen', 1795828756997);
INSERT INTO public.nodes VALUES ('ecf853e8-fa22-9751-384c-8064bd7dce68', 'w1', 'http://127.0.0.1:7070', '0.1.0', 1795828756836, 1795828757026, '2025b');
INSERT INTO public.orx_schema VALUES (true, 6);
INSERT INTO public.queues OVERRIDING SYSTEM VALUE VALUES (1, 'default');
INSERT INTO public.queues OVERRIDING SYSTEM VALUE VALUES (2, 'mail');
INSERT INTO public.queues OVERRIDING SYSTEM VALUE VALUES (3, 'builds');
INSERT INTO public.schedule_plans VALUES ('nightly', '{"id":"nightly","timing":{"cron":"0 3 * * *"},"zone":"Europe/Berlin","catch_up":"one","window_ms":604800000,"overlap":"queue_one","tolerance_ms":300000,"on_failure":"page.me","job":{"name":"video.process","args":{"path":"/in/n.mp4"},"by":"ann@host"}}', '{"job":{"name":"video.process","queue":"default","priority":"normal","args":{"path":"/in/n.mp4"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host"},"on_failure":{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}}', NULL, NULL, NULL, 'ann@host');
INSERT INTO public.schedule_plans VALUES ('often', '{"id":"often","timing":{"interval":{"every_ms":1000}},"zone":"UTC","catch_up":"one","window_ms":604800000,"overlap":"queue_one","tolerance_ms":300000,"on_missed":"page.me","on_failure":"page.me","job":{"name":"later.type","args":{"x":"1"},"by":"ann@host"}}', '{"job":{"name":"later.type","queue":"default","priority":"normal","args":{"x":"1"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host"},"on_missed":{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"},"on_failure":{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}}', NULL, NULL, NULL, 'ann@host');
INSERT INTO public.schedules VALUES ('nightly', 1, 1795828762764, 1795828762764, 1795828762764, 1795831200000, 1795831200000, 0, NULL, 0);
INSERT INTO public.schedules VALUES ('often', 1, 1795828762893, 1795828762893, 1795828766000, 1795828767000, 1795828767000, 2, 9, 4);
INSERT INTO public.slots VALUES ('often', 1795828763000, NULL, 1, true, 'ran', NULL, 8, 37, 1795828763037);
INSERT INTO public.slots VALUES ('often', 1795828764000, NULL, 1, true, 'ran', NULL, 9, 1, 1795828764001);
INSERT INTO public.slots VALUES ('often', 1795828765000, NULL, 1, true, 'skipped', 'one_waits', NULL, NULL, 1795828765005);
INSERT INTO public.slots VALUES ('often', 1795828766000, NULL, 1, true, 'skipped', 'one_waits', NULL, NULL, 1795828766005);
INSERT INTO public.specs VALUES (1, 'k1', '{"name":"video.process","queue":"default","priority":"high","args":{"n":1.2345678901234568e+29,"path":"/in/1.mp4"},"retry":{"retries":1,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":60000,"on_lost":"fail","require":{"gpu":"a"},"tags":{"tenant":"acme"},"corr":"c1","key":"k1","key_hash":"2:041556215ef526595f4be0cc998ec380d953e77f424b77bc587da2f10318e658","by":"ann@host"}');
INSERT INTO public.specs VALUES (2, 'f240529c6e7464035faedec98b3975b8', '{"name":"mail.send","queue":"mail","priority":"normal","args":{"to":["a","b"]},"run_at":"2036-01-01T00:00:00.000Z","retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"deadline":"2036-02-01T00:00:00.000Z","on_lost":"retry","key":"f240529c6e7464035faedec98b3975b8","key_hash":"2:82aa910e5dbb671c7c0028099ab09f7105e9ad987459129c3ea9321d9c0e5055","by":"ann@host"}');
INSERT INTO public.specs VALUES (3, 'done', '{"name":"sh","queue":"builds","priority":"normal","args":{},"command":{"argv":["/bin/sh","-c","echo out; echo err >&2"]},"retry":{"retries":0,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"on_lost":"retry","key":"done","key_hash":"2:3e69333d5bdde6d28aceb93f1080843c6c0026c5527cfbaf7c3420ef5825e1b4","by":"ann@host"}');
INSERT INTO public.specs VALUES (4, 'ed10689d7af623aa4eed0298fbe2f34a', '{"name":"sh","queue":"builds","priority":"normal","args":{},"command":{"argv":["/bin/sh","-c","exit 3"]},"retry":{"retries":0,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"on_lost":"retry","key":"ed10689d7af623aa4eed0298fbe2f34a","key_hash":"2:7e69c463e8c885f649cb28549a3e63b01648b137969757596bfefe482589fc53","by":"ann@host"}');
INSERT INTO public.specs VALUES (5, '7141214fbae964218cf79b88f5229127', '{"name":"orx.noop","queue":"default","priority":"normal","args":{"big":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","tags":{"tenant":"acme"},"key":"7141214fbae964218cf79b88f5229127","key_hash":"2:6afa35d0d9db2a7b7210fe2f52f632692298710ce0ee5e1a67be74e4624cbaf5","by":"ann@host"}');
INSERT INTO public.specs VALUES (6, 'live', '{"name":"sleep","queue":"builds","priority":"normal","args":{},"command":{"argv":["/bin/sleep","60"]},"retry":{"retries":2,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"on_lost":"retry","key":"live","key_hash":"2:0706461bfd67587ee01e9515525ef68f5155175090fc4fbf912fc739d5e667b0","by":"ann@host"}');
INSERT INTO public.specs VALUES (7, 'cancelled', '{"name":"mail.send","queue":"mail","priority":"normal","args":{},"run_at":"2026-12-08T01:19:22.233Z","retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","key":"cancelled","key_hash":"2:78af26e52d5c3edbb4b252c65c2d0e9ba8bb3384bacd098e0be790845e1e6ee9","by":"ann@host"}');
INSERT INTO public.specs VALUES (8, NULL, '{"name":"later.type","queue":"default","priority":"normal","args":{"x":"1"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host","schedule":{"id":"often","slot":"2026-11-28T01:19:23.000Z"}}');
INSERT INTO public.specs VALUES (9, NULL, '{"name":"later.type","queue":"default","priority":"normal","args":{"x":"1"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host","schedule":{"id":"often","slot":"2026-11-28T01:19:24.000Z"}}');
INSERT INTO public.watched VALUES (8, 'often', 1795828763000, NULL, false, '{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}');
INSERT INTO public.watched VALUES (9, 'often', 1795828764000, 8, false, '{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}');
INSERT INTO public.workers VALUES ('5e0916ea-0170-141b-3937-c4e4763bb2ae', 'host', '{"incarnation":"5e0916ea0170141b3937c4e4763bb2ae","name":"host","host":"host","pid":8449,"version":"0.1.0","offer":{"queues":[],"handlers":["orx.noop"],"commands":true,"labels":{}},"slots":10,"started_at":"2026-11-28T01:19:16.930Z"}', 'running', 37, 4, '{"cpu":1.0,"memory_used_bytes":1,"memory_bytes":2}', 'ecf853e8-fa22-9751-384c-8064bd7dce68', 'ecf853e8-fa22-9751-384c-8064bd7dce68', 1795828760406, NULL, '\xcdc2fb1267239b51a29a9f653ce55692daad01d9f0cf4b7a189d8174d45df982');
SELECT pg_catalog.setval('public.job_ids', 9, true);
SELECT pg_catalog.setval('public.lanes_id_seq', 5, true);
SELECT pg_catalog.setval('public.queues_id_seq', 3, true);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (job, number);
ALTER TABLE ONLY public.home
    ADD CONSTRAINT home_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.lanes
    ADD CONSTRAINT lanes_queue_handler_require_key UNIQUE (queue, handler, require);
ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.logs
    ADD CONSTRAINT logs_pkey PRIMARY KEY (job, attempt, seq);
ALTER TABLE ONLY public.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT nodes_pkey PRIMARY KEY (node);
ALTER TABLE ONLY public.orx_schema
    ADD CONSTRAINT orx_schema_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.queues
    ADD CONSTRAINT queues_name_key UNIQUE (name);
ALTER TABLE ONLY public.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.results
    ADD CONSTRAINT results_pkey PRIMARY KEY (job);
ALTER TABLE ONLY public.schedule_plans
    ADD CONSTRAINT schedule_plans_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.slots
    ADD CONSTRAINT slots_pkey PRIMARY KEY (schedule, slot);
ALTER TABLE ONLY public.specs
    ADD CONSTRAINT specs_pkey PRIMARY KEY (job);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.watched
    ADD CONSTRAINT watched_pkey PRIMARY KEY (job);
ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (incarnation);
CREATE INDEX jobs_completed ON public.jobs USING btree (finished_at, id) WHERE (status = 5);
CREATE INDEX jobs_dead ON public.jobs USING btree (id) WHERE (dead IS NOT NULL);
CREATE INDEX jobs_due ON public.jobs USING btree (run_at, id) WHERE (status = 2);
CREATE INDEX jobs_ended ON public.jobs USING btree (finished_at, id) WHERE ((status > 5) AND (dead IS NULL));
CREATE INDEX jobs_expire ON public.jobs USING btree (expire_at, id) WHERE (expire_at IS NOT NULL);
CREATE INDEX jobs_live ON public.jobs USING btree (worker, id) WHERE (worker IS NOT NULL);
CREATE INDEX jobs_ready ON public.jobs USING btree (lane, urgency, run_at, id) WHERE (status = 1);
CREATE INDEX jobs_status ON public.jobs USING btree (status, id) WHERE (status <> 5);
CREATE INDEX keys_kept ON public.keys USING btree (kept_until) WHERE (kept_until IS NOT NULL);
CREATE INDEX schedules_due ON public.schedules USING btree (next_fire, id) WHERE (next_fire IS NOT NULL);
CREATE INDEX schedules_written ON public.schedules USING btree (id) WHERE (written > 11000);
CREATE INDEX slots_alert ON public.slots USING btree (recorded_at) WHERE (outcome = 'missed'::text);
CREATE INDEX slots_missed ON public.slots USING btree (schedule, slot) WHERE (outcome = 'missed'::text);
CREATE INDEX slots_old ON public.slots USING btree (recorded_at);
