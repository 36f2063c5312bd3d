-- A store of 25c9dd1, the first release: nine jobs in different statuses, two schedules, and what
-- belongs to them. Read back by released.rs; never changed.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES('clock_jumps',0);
INSERT INTO meta VALUES('clock_seen',1795828728695);
INSERT INTO meta VALUES('epoch',1795828729);
INSERT INTO meta VALUES('next_job',1);
INSERT INTO meta VALUES('synced',5);
CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO queues VALUES(1,'default');
INSERT INTO queues VALUES(2,'mail');
INSERT INTO queues VALUES(3,'builds');
CREATE TABLE counts (
    queue INTEGER NOT NULL,
    status INTEGER NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (queue, status)
) STRICT, WITHOUT ROWID;
INSERT INTO counts VALUES(1,0,1);
INSERT INTO counts VALUES(1,1,2);
INSERT INTO counts VALUES(1,3,0);
INSERT INTO counts VALUES(1,5,1);
INSERT INTO counts VALUES(2,2,1);
INSERT INTO counts VALUES(2,8,1);
INSERT INTO counts VALUES(3,1,0);
INSERT INTO counts VALUES(3,3,0);
INSERT INTO counts VALUES(3,4,1);
INSERT INTO counts VALUES(3,5,1);
INSERT INTO counts VALUES(3,6,1);
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    handler TEXT,
    require TEXT NOT NULL
) STRICT;
INSERT INTO lanes VALUES(1,1,'video.process','{"gpu":"a"}');
INSERT INTO lanes VALUES(2,2,'mail.send','{}');
INSERT INTO lanes VALUES(3,3,NULL,'{}');
INSERT INTO lanes VALUES(4,1,'orx.noop','{}');
INSERT INTO lanes VALUES(5,1,'later.type','{}');
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 8),
    -- 0 is critical, 3 low: the whole order of dispatch ascends.
    urgency INTEGER NOT NULL CHECK (urgency BETWEEN 0 AND 3),
    lane INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    -- While it waits: when its waiting is over.
    expire_at INTEGER,
    created_at INTEGER NOT NULL,
    deadline INTEGER,
    timeout_ms INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    returned INTEGER NOT NULL DEFAULT 0,
    -- The live attempt.
    execution BLOB,
    worker BLOB,
    worker_name TEXT,
    claimed_at INTEGER,
    started_at INTEGER,
    percent REAL,
    progress TEXT,
    cancel_at INTEGER,
    cancel_reason TEXT,
    cancel_by TEXT,
    finished_at INTEGER,
    -- The attempt that ended last.
    last_started_at INTEGER,
    last_worker TEXT,
    last_error TEXT,
    last_exit_code INTEGER,
    last_exit_signal INTEGER,
    -- While a dead letter is kept: its reason, and since when.
    dead TEXT,
    dead_at INTEGER, epoch INTEGER, server_lost INTEGER NOT NULL DEFAULT 0,
    CHECK ((status IN (3, 4)) = (execution IS NOT NULL)),
    CHECK ((execution IS NULL) = (worker IS NULL)),
    CHECK ((status >= 5) = (finished_at IS NOT NULL)),
    CHECK (expire_at IS NULL OR status < 3),
    CHECK (dead IS NULL OR status IN (6, 7)),
    CHECK ((dead IS NULL) = (dead_at IS NULL))
) STRICT;
INSERT INTO jobs VALUES(1,1,1,1,1795828732373,NULL,1795828732373,NULL,60000,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO jobs VALUES(2,2,2,2,2082758400000,2085436800000,1795828732439,2085436800000,3600000,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO jobs VALUES(3,5,2,3,1795828732503,NULL,1795828732503,NULL,NULL,1,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795828732521,1795828732519,'host',NULL,0,NULL,NULL,NULL,NULL,0);
INSERT INTO jobs VALUES(4,6,2,3,1795828732503,NULL,1795828732503,NULL,NULL,1,1,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795828732518,1795828732518,'host','exit 3',3,NULL,'exhausted',1795828732525,NULL,0);
INSERT INTO jobs VALUES(5,5,2,4,1795828732503,NULL,1795828732503,NULL,3600000,1,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795828732509,1795828732509,'host',NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO jobs VALUES(6,4,2,3,1795828732503,NULL,1795828732503,NULL,NULL,1,0,0,0,X'4051b3a25715cf654b4ec332120d3641',X'8f3964a38ba763588d21c2aa5d641cce','host',1795828732509,1795828732520,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795828729,0);
INSERT INTO jobs VALUES(7,8,2,2,1796692734692,NULL,1795828734692,NULL,3600000,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795828734822,NULL,'local admin',1795828734822,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO jobs VALUES(8,1,2,5,1795828736005,NULL,1795828736005,NULL,3600000,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO jobs VALUES(9,0,2,5,1795828737005,NULL,1795828737005,NULL,3600000,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE specs (job INTEGER PRIMARY KEY, spec TEXT NOT NULL) STRICT;
INSERT INTO specs VALUES(1,'{"name":"video.process","queue":"default","priority":"high","args":{"n":1.2345678901234568e+29,"path":"/in/1.mp4"},"retry":{"retries":1,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":60000,"on_lost":"fail","require":{"gpu":"a"},"tags":{"tenant":"acme"},"corr":"c1","key":"k1","key_hash":"2:041556215ef526595f4be0cc998ec380d953e77f424b77bc587da2f10318e658","by":"ann@host"}');
INSERT INTO specs VALUES(2,'{"name":"mail.send","queue":"mail","priority":"normal","args":{"to":["a","b"]},"run_at":"2036-01-01T00:00:00.000Z","retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"deadline":"2036-02-01T00:00:00.000Z","on_lost":"retry","key":"a8e926e2bb79513c60578ed2a4dbce34","key_hash":"2:82aa910e5dbb671c7c0028099ab09f7105e9ad987459129c3ea9321d9c0e5055","by":"ann@host"}');
INSERT INTO specs VALUES(3,'{"name":"sh","queue":"builds","priority":"normal","args":{},"command":{"argv":["/bin/sh","-c","echo out; echo err >&2"]},"retry":{"retries":0,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"on_lost":"retry","key":"done","key_hash":"2:3e69333d5bdde6d28aceb93f1080843c6c0026c5527cfbaf7c3420ef5825e1b4","by":"ann@host"}');
INSERT INTO specs VALUES(4,'{"name":"sh","queue":"builds","priority":"normal","args":{},"command":{"argv":["/bin/sh","-c","exit 3"]},"retry":{"retries":0,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"on_lost":"retry","key":"3b1c7ae16ab4d780ca7981281a5a0109","key_hash":"2:7e69c463e8c885f649cb28549a3e63b01648b137969757596bfefe482589fc53","by":"ann@host"}');
INSERT INTO specs VALUES(5,'{"name":"orx.noop","queue":"default","priority":"normal","args":{"big":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","tags":{"tenant":"acme"},"key":"e9f89825d42a411cd414b822520728a8","key_hash":"2:6afa35d0d9db2a7b7210fe2f52f632692298710ce0ee5e1a67be74e4624cbaf5","by":"ann@host"}');
INSERT INTO specs VALUES(6,'{"name":"sleep","queue":"builds","priority":"normal","args":{},"command":{"argv":["/bin/sleep","60"]},"retry":{"retries":2,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"on_lost":"retry","key":"live","key_hash":"2:0706461bfd67587ee01e9515525ef68f5155175090fc4fbf912fc739d5e667b0","by":"ann@host"}');
INSERT INTO specs VALUES(7,'{"name":"mail.send","queue":"mail","priority":"normal","args":{},"run_at":"2026-12-08T01:18:54.692Z","retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","key":"cancelled","key_hash":"2:78af26e52d5c3edbb4b252c65c2d0e9ba8bb3384bacd098e0be790845e1e6ee9","by":"ann@host"}');
INSERT INTO specs VALUES(8,'{"name":"later.type","queue":"default","priority":"normal","args":{"x":"1"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host","schedule":{"id":"often","slot":"2026-11-28T01:18:56.000Z"}}');
INSERT INTO specs VALUES(9,'{"name":"later.type","queue":"default","priority":"normal","args":{"x":"1"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host","schedule":{"id":"often","slot":"2026-11-28T01:18:57.000Z"}}');
CREATE TABLE results (job INTEGER PRIMARY KEY, result TEXT NOT NULL) STRICT;
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL,
    hash TEXT,
    status INTEGER,
    kept_until INTEGER,
    CHECK ((status IS NULL) = (kept_until IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO keys VALUES('3b1c7ae16ab4d780ca7981281a5a0109',4,'2:7e69c463e8c885f649cb28549a3e63b01648b137969757596bfefe482589fc53',NULL,NULL);
INSERT INTO keys VALUES('a8e926e2bb79513c60578ed2a4dbce34',2,'2:82aa910e5dbb671c7c0028099ab09f7105e9ad987459129c3ea9321d9c0e5055',NULL,NULL);
INSERT INTO keys VALUES('cancelled',7,'2:78af26e52d5c3edbb4b252c65c2d0e9ba8bb3384bacd098e0be790845e1e6ee9',NULL,NULL);
INSERT INTO keys VALUES('done',3,'2:3e69333d5bdde6d28aceb93f1080843c6c0026c5527cfbaf7c3420ef5825e1b4',NULL,NULL);
INSERT INTO keys VALUES('e9f89825d42a411cd414b822520728a8',5,'2:6afa35d0d9db2a7b7210fe2f52f632692298710ce0ee5e1a67be74e4624cbaf5',NULL,NULL);
INSERT INTO keys VALUES('k1',1,'2:041556215ef526595f4be0cc998ec380d953e77f424b77bc587da2f10318e658',NULL,NULL);
INSERT INTO keys VALUES('live',6,'2:0706461bfd67587ee01e9515525ef68f5155175090fc4fbf912fc739d5e667b0',NULL,NULL);
CREATE TABLE attempts (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    execution BLOB NOT NULL,
    worker BLOB NOT NULL,
    worker_name TEXT NOT NULL,
    status TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER NOT NULL,
    error TEXT,
    exit_code INTEGER,
    exit_signal INTEGER, epoch INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO attempts VALUES(3,1,X'53c0f3ec1d2f32558ec59a9ac6362c73',X'8f3964a38ba763588d21c2aa5d641cce','host','succeeded',1795828732509,1795828732519,1795828732521,NULL,0,NULL,1795828729);
INSERT INTO attempts VALUES(4,1,X'15ca95c0b569a1f98f626f57ba12f4da',X'8f3964a38ba763588d21c2aa5d641cce','host','failed',1795828732509,1795828732518,1795828732518,'exit 3',3,NULL,1795828729);
INSERT INTO attempts VALUES(5,1,X'a6147c2dd47f3e192eb4b06a78475ea3',X'8f3964a38ba763588d21c2aa5d641cce','host','succeeded',1795828732509,1795828732509,1795828732509,NULL,NULL,NULL,1795828729);
CREATE TABLE logs (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    execution BLOB NOT NULL,
    stream INTEGER NOT NULL,
    at INTEGER NOT NULL,
    dropped_bytes INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (job, attempt, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO logs VALUES(3,1,1,X'53c0f3ec1d2f32558ec59a9ac6362c73',0,1795828732518,0,X'6f75740a');
INSERT INTO logs VALUES(3,1,2,X'53c0f3ec1d2f32558ec59a9ac6362c73',1,1795828732521,0,X'6572720a');
CREATE TABLE workers (
    incarnation BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    registration TEXT NOT NULL,
    state TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    hosted_by BLOB
, capacity INTEGER NOT NULL DEFAULT 0, heartbeat INTEGER NOT NULL DEFAULT 0, load TEXT, node BLOB, ordered TEXT, secret BLOB) STRICT, WITHOUT ROWID;
INSERT INTO workers VALUES(X'8f3964a38ba763588d21c2aa5d641cce','host','{"incarnation":"8f3964a38ba763588d21c2aa5d641cce","name":"host","host":"host","pid":7296,"version":"0.1.0","offer":{"queues":[],"handlers":["orx.noop"],"commands":true,"labels":{}},"slots":10,"started_at":"2026-11-28T01:18:48.719Z"}','running',1795828732511,X'2a8d7a228f4289e5a5b33e91aae965a4',40,3,'{"cpu":1.0,"memory_used_bytes":1,"memory_bytes":2}',X'2a8d7a228f4289e5a5b33e91aae965a4',NULL,X'159815a0581df3394a44b1aeb0f39cc837697d534a34a1e2d0a8a0b1a0bbc3f0');
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    note TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
    node BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
, zone_version TEXT) STRICT, WITHOUT ROWID;
INSERT INTO nodes VALUES(X'2a8d7a228f4289e5a5b33e91aae965a4','w1','http://127.0.0.1:7070','0.1.0',1795828728629,1795828728695,'2025b');
CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- What became of every slot up to here is decided.
    handled INTEGER NOT NULL,
    next_slot INTEGER,
    next_fire INTEGER,
    runs INTEGER NOT NULL,
    last_run INTEGER,
    -- Rows written to its ledger since the oldest were last forgotten.
    written INTEGER NOT NULL DEFAULT 0,
    CHECK ((next_slot IS NULL) = (next_fire IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO schedules VALUES('nightly',1,1795828734941,1795828734941,1795828734941,1795831200000,1795831200000,0,NULL,0);
INSERT INTO schedules VALUES('often',1,1795828735075,1795828735075,1795828738000,1795828739000,1795828739000,2,9,3);
CREATE TABLE schedule_plans (
    id TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    templates TEXT NOT NULL,
    paused_at INTEGER,
    paused_reason TEXT,
    paused_by TEXT,
    changed_by TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO schedule_plans VALUES('nightly','{"id":"nightly","timing":{"cron":"0 3 * * *"},"zone":"Europe/Berlin","catch_up":"one","window_ms":604800000,"overlap":"queue_one","tolerance_ms":300000,"on_failure":"page.me","job":{"name":"video.process","args":{"path":"/in/n.mp4"},"by":"ann@host"}}','{"job":{"name":"video.process","queue":"default","priority":"normal","args":{"path":"/in/n.mp4"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host"},"on_failure":{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}}',NULL,NULL,NULL,'ann@host');
INSERT INTO schedule_plans VALUES('often','{"id":"often","timing":{"interval":{"every_ms":1000}},"zone":"UTC","catch_up":"one","window_ms":604800000,"overlap":"queue_one","tolerance_ms":300000,"on_missed":"page.me","on_failure":"page.me","job":{"name":"later.type","args":{"x":"1"},"by":"ann@host"}}','{"job":{"name":"later.type","queue":"default","priority":"normal","args":{"x":"1"},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"ann@host"},"on_missed":{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"},"on_failure":{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}}',NULL,NULL,NULL,'ann@host');
CREATE TABLE slots (
    schedule TEXT NOT NULL,
    slot INTEGER NOT NULL,
    last INTEGER,
    count INTEGER NOT NULL,
    exact INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    job INTEGER,
    late_ms INTEGER,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (schedule, slot)
) STRICT, WITHOUT ROWID;
INSERT INTO slots VALUES('often',1795828736000,NULL,1,1,'ran',NULL,8,5,1795828736005);
INSERT INTO slots VALUES('often',1795828737000,NULL,1,1,'ran',NULL,9,5,1795828737005);
INSERT INTO slots VALUES('often',1795828738000,NULL,1,1,'skipped','one_waits',NULL,NULL,1795828738001);
CREATE TABLE watched (
    job INTEGER PRIMARY KEY,
    schedule TEXT NOT NULL,
    slot INTEGER,
    waits_for INTEGER,
    -- That one is to be cancelled.
    cancel INTEGER NOT NULL,
    on_failure TEXT
) STRICT;
INSERT INTO watched VALUES(8,'often',1795828736000,NULL,0,'{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}');
INSERT INTO watched VALUES(9,'often',1795828737000,8,0,'{"name":"page.me","queue":"default","priority":"normal","args":{},"retry":{"retries":3,"backoff_ms":10000,"factor":2.0,"backoff_max_ms":600000,"jitter":0.2},"timeout_ms":3600000,"on_lost":"retry","by":"local admin"}');
CREATE TABLE home (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO home VALUES('id','6f88de98222d3377bf6affb029ef30c1');
CREATE UNIQUE INDEX lanes_key ON lanes (queue, ifnull(handler, ''), require);
CREATE INDEX jobs_ready ON jobs (lane, urgency, run_at) WHERE status = 1;
CREATE INDEX jobs_due ON jobs (run_at) WHERE status = 2;
CREATE INDEX jobs_expire ON jobs (expire_at) WHERE expire_at IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status) WHERE status <> 5;
CREATE INDEX jobs_completed ON jobs (finished_at) WHERE status = 5;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE status > 5 AND dead IS NULL;
CREATE INDEX jobs_dead ON jobs (id) WHERE dead IS NOT NULL;
CREATE INDEX keys_kept ON keys (kept_until) WHERE kept_until IS NOT NULL;
CREATE INDEX jobs_live ON jobs (worker) WHERE worker IS NOT NULL;
CREATE INDEX schedules_due ON schedules (next_fire, id) WHERE next_fire IS NOT NULL;
CREATE INDEX schedules_written ON schedules (id) WHERE written > 11000;
CREATE INDEX slots_missed ON slots (schedule, slot) WHERE outcome = 'missed';
CREATE INDEX slots_alert ON slots (recorded_at) WHERE outcome = 'missed';
CREATE INDEX slots_old ON slots (recorded_at);
COMMIT;
PRAGMA user_version=7;
PRAGMA application_id=1330796544;
