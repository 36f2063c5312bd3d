//! Tests of the statements and sessions of this store. Tests of its behaviour are in `tests/`.

use orx_model::filter::Filter;
use orx_model::time::UtcClock;
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId};
use orx_testkit::servers::{TestDatabase, bouncer};
use proptest::prelude::*;

use super::claim::{self, Chosen};
use super::db_error::DbError;
use super::executor::MessageKind;
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::*;
use crate::ClaimRequest;
use crate::columns::Row as _;
use crate::lane_merge::Given;
use crate::walk::Walk;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

async fn open(database: &TestDatabase) -> Postgres {
    Postgres::open(PostgresOptions::new(database.url()), NOW).await.expect("a store")
}

/// The generic plan of a statement in a session of the store, one step per line.
async fn plan(database: &TestDatabase, statement: &Statement) -> String {
    let types = statement.values.iter().map(|value| match value {
        SqlValue::Int(_) => "bigint",
        SqlValue::Text(_) => "text",
        SqlValue::Id(_) => "uuid",
        SqlValue::Bytes(_) => "bytea",
        SqlValue::Ints(_) => "bigint[]",
        SqlValue::Floats(_) => "float8[]",
        SqlValue::Bools(_) => "bool[]",
        SqlValue::Ids(_) => "uuid[]",
        SqlValue::Texts(_) => "text[]",
        SqlValue::ByteStrings(_) => "bytea[]",
        SqlValue::Lease(_) => unreachable!("it is not a value"),
    });
    let types: Vec<&str> = types.collect();
    let text = statement.text.replace(":settings", "select set_config('lock_timeout', '1', true)");
    let (named, nulls) = match types.len() {
        0 => (String::new(), String::new()),
        count => {
            (format!("({})", types.join(", ")), format!("({})", vec!["null"; count].join(", ")))
        }
    };
    let explained = format!(
        "set plan_cache_mode = force_generic_plan; prepare it{named} as {text}; explain execute it{nulls}"
    );
    database.run(&explained).await.iter().map(|step| format!("{step}\n")).collect()
}

/// The jobs of a long-lived store: most are completed, many pending, few in any other status.
const MANY_JOBS: &str = "
    alter table jobs set (autovacuum_enabled = false);
    insert into queues (name) values ('q');
    insert into lanes (queue, handler, require) select 1, 'h' || n, '{}' from generate_series(1, 9) n;
    insert into jobs
        (id, lane, run_at, expire_at, created_at, deadline, status, priority_rank, finished_at,
         execution, worker, dead, dead_at, cause)
    select n, 1 + n % 9, n, case when s < 3 and n % 50 = 0 then n end, n, null, s, 2,
           case when s >= 5 then n end,
           case when s in (3, 4) then gen_random_uuid() end,
           case when s in (3, 4) then ('00000000-0000-0000-0000-00000000000' || n % 9)::uuid end,
           case when s = 6 and n % 2 = 0 then 'lost' end,
           case when s = 6 and n % 2 = 0 then n end,
           case when s = 6 and n % 2 = 0 then n % 7 end
    from (
        select n, case when n % 100 < 60 then 5 when n % 100 < 90 then 1 when n % 100 < 95 then 2
                       when n % 100 < 97 then 4 else 6 end as s
        from generate_series(1, 60000) n
    ) many;
    insert into specs (job, spec, lane, terms)
    select id, '{}', case when id > 20 then lane end,
           case when id % 10 = 0 then array['tag.tenant=acme'] when id % 10 = 1 then array['schedule=nightly']
                when id % 10 = 2 then array['name=make'] end
    from jobs;
    insert into terms (term, job) select unnest(terms), job from specs where lane is not null;
    insert into counts (queue, status, jobs) select 1, status, count(*) from jobs group by status;
    insert into keys (key, job, hash) select 'k' || id, id, 'h' from jobs;
    insert into queues (name) values ('commands');
    insert into lanes (queue, handler, require) select id, '', '{}' from queues where name = 'commands';
    insert into logs (job, attempt, seq, execution, stream, at, dropped_bytes, bytes)
    select id, 1, 1, gen_random_uuid(), 0, 0, 0, 'x' from jobs;
    -- Many thousands of jobs wait, some for a parent that has ended.
    insert into jobs (id, lane, run_at, created_at, status, priority_rank)
    select n, 1 + n % 9, n, n, 0, 2 from generate_series(100001, 140000) n;
    insert into dependencies (parent, child, cancel, cancel_requested)
    select case when n % 1000 = 0 then n else n / 100 * 100 + 97 end, 100000 + n, n % 3 = 0, n % 300 > 0
    from generate_series(1, 40000) n;
    insert into run_alerts (job, schedule, on_failure)
    select 100000 + n, 's', '{}' from generate_series(1, 20000) n;
    update jobs set follow_up = true
    where id in (select parent from dependencies union select job from run_alerts);";

/// The statements that insert jobs with keys which are alike, and a single one.
fn new_jobs_alike() -> [Statement; 2] {
    let values = || {
        let numbers =
            ["lane", "queue", "status", "priority_rank", "expire_at", "deadline", "timeout_ms"];
        let others = ["ord", "run_at", "created_at"];
        let arrays = ["ords", "run_ats", "created_ats"].map(|name| (name, sql::ints([1])));
        let texts = ["keys", "hashes", "specs", "terms"].map(|name| (name, sql::texts(["{}"])));
        let single = ["key", "hash", "spec", "head", "terms", "least", "greatest"];
        let numbers = numbers.into_iter().chain(others).map(|name| (name, sql::int(1)));
        let single = single.map(|name| (name, sql::text("{}")));
        numbers.chain(arrays).chain(texts).chain(single)
    };
    let one =
        values().filter(|(name, value)| *name != "terms" || matches!(value, SqlValue::Text(_)));
    [
        sql::fill(include_str!("enqueue_alike.sql"), values()),
        sql::fill(include_str!("enqueue_one.sql"), one),
    ]
}

/// The statement that inserts a job with a key.
fn new_jobs() -> Statement {
    let numbers =
        ["ords", "lanes", "queues", "statuses", "priority_ranks", "run_ats", "created_ats"];
    let others = ["expire_ats", "deadlines", "timeouts"];
    let texts = ["keys", "hashes", "specs", "heads", "terms"];
    let numbers = numbers.into_iter().chain(others).map(|name| (name, sql::ints([1])));
    let texts = texts.into_iter().map(|name| (name, sql::texts(["{}"])));
    let range = ["least", "greatest"].map(|name| (name, sql::text("{}")));
    let values = numbers.chain(texts).chain(range);
    sql::fill(include_str!("enqueue.sql"), values)
}

#[tokio::test]
async fn frequent_statements_read_an_index_in_its_order() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    database.run(MANY_JOBS).await;
    let term = crate::Term { node: Incarnation(1), epoch: 1 };
    let request = ClaimRequest {
        worker: Incarnation(1),
        worker_name: "w".parse().expect("a name"),
        offer: Capabilities::default(),
        executions: (0..100).map(ExecutionId).collect(),
        prefetch: 0,
        held: 0,
    };
    let chosen: Vec<Chosen> = (0..100)
        .map(|n| Chosen {
            job: 60 + n * 100,
            run_at: 1,
            gets: Some(Given { request: 0, execution: n as usize }),
            deadline: None,
            alone: false,
        })
        .collect();
    let claim = claim::statement(&chosen, &[request], term, NOW).expect("a statement");
    let ready = [
        ("numbers", sql::ints([0, 1])),
        ("lanes", sql::ints([1, 2])),
        ("priority_ranks", sql::ints([i64::MIN, 2])),
        ("run_ats", sql::ints([i64::MIN, 5])),
        ("ids", sql::ints([i64::MIN, 5])),
        ("rows", sql::int(100)),
        ("node", sql::id(1)),
        ("epoch", sql::int(1)),
    ];
    let promote = [
        ("lease", SqlValue::Lease(Some(term))),
        ("now", sql::int(500)),
        ("limit", sql::int(100)),
        ("pending", sql::int(1)),
        ("scheduled", sql::int(2)),
        ("cancelled", sql::int(8)),
        ("late", sql::text("")),
        ("expired", sql::text("")),
    ];
    let prune = [
        ("lease", SqlValue::Lease(Some(term))),
        ("completed_before", sql::int(500)),
        ("others_before", sql::int(500)),
        ("limit", sql::int(100)),
        ("chunks", sql::int(100)),
        ("key_kept", sql::int(0)),
    ];
    let start = [
        ("jobs", sql::ints([1])),
        ("executions", sql::ids([1])),
        ("ats", sql::ints([1])),
        ("from", sql::int(3)),
        ("to", sql::int(4)),
    ];
    let first = [
        ("lease", SqlValue::Lease(Some(term))),
        ("lanes", sql::ints([1, 2])),
        ("queues", sql::ints([1, 1])),
        ("known_lanes", sql::int(9)),
        ("most", sql::int(100)),
        ("now", sql::int(1)),
        ("alone_from", sql::int(1)),
        ("pending", sql::int(1)),
        ("dispatched", sql::int(3)),
        ("executions", sql::ids([1])),
        ("worker", sql::id(1)),
        ("worker_name", sql::text("w")),
        ("epoch", sql::int(1)),
    ];
    let record = [
        ("lease", SqlValue::Lease(None)),
        ("ords", sql::ints([0])),
        ("jobs", sql::ints([1])),
        ("executions", sql::ids([1])),
        ("status", sql::int(5)),
        ("started_ats", sql::ints([1])),
        ("ended", sql::text("succeeded")),
        ("ended_ats", sql::ints([1])),
        ("codes", sql::ints([0])),
        ("results", sql::texts(["{}"])),
    ];
    let fire = store.inner.fire_statement(&[], &[], Some(term), NOW).expect("a statement");
    let known = [("ords", sql::ints([0])), ("keys", sql::texts(["k"])), ("now", sql::int(1))];
    let outlook = [("after", sql::int(0))];
    let few = || [("limit", sql::int(500))];
    let release = store.inner.release_statement(&[], term, NOW).expect("a statement");
    let [alike, one] = new_jobs_alike();
    let causes = [
        ("every", sql::int(0)),
        ("causes", sql::ints([1, 2])),
        ("count", sql::int(i64::MAX)),
        ("after", sql::int(i64::MIN)),
        ("limit", sql::int(50)),
    ];
    let assign = [
        ("lease", SqlValue::Lease(Some(term))),
        ("jobs", sql::ints([1])),
        ("causes", sql::ints([1])),
    ];
    let cases: [(&str, Statement, &[&str]); 21] = [
        ("enqueue", new_jobs(), &["keys_pkey"]),
        ("known", sql::fill(include_str!("known.sql"), known), &["keys_pkey", "jobs_pkey"]),
        (
            "outlook",
            sql::fill(include_str!("outlook.sql"), outlook),
            &["jobs_due", "jobs_expire", "jobs_ready"],
        ),
        ("ready", sql::fill(include_str!("ready.sql"), ready), &["jobs_ready"]),
        ("claim", claim, &["jobs_pkey"]),
        ("fire", fire, &["slots_pkey", "dependencies_child"]),
        ("start", sql::fill(include_str!("start.sql"), start), &["jobs_pkey"]),
        (
            "claim first",
            sql::fill(include_str!("claim_first.sql"), first),
            &["Index Scan using jobs_ready", "jobs_pkey"],
        ),
        ("record", sql::fill(include_str!("record_ok.sql"), record), &["jobs_pkey"]),
        ("promote", sql::fill(include_str!("promote.sql"), promote), &["jobs_due", "jobs_expire"]),
        (
            "prune",
            sql::fill(include_str!("prune.sql"), prune),
            &["jobs_completed", "jobs_ended", "logs_pkey", "dependencies_child"],
        ),
        ("follow-ups", sql::fill(dependencies::FOLLOW_UPS, few()), &["jobs_follow_up"]),
        ("jobs to cancel", sql::fill(dependencies::TO_CANCEL, few()), &["dependencies_cancel"]),
        ("release", release, &["dependencies_pkey", "dependencies_child", "run_alerts_pkey"]),
        ("next due", include_str!("next_due.sql").into(), &["jobs_due", "jobs_expire"]),
        ("oldest due", include_str!("oldest_due.sql").into(), &["jobs_ready"]),
        (
            "live of a worker",
            sql::fill(
                "select id from jobs where worker = any(:workers) order by id",
                [("workers", sql::ids([1]))],
            ),
            &["jobs_live"],
        ),
        ("enqueue alike", alike, &["Index Only Scan using keys_pkey"]),
        (
            "causes",
            sql::fill(include_str!("causes.sql"), causes),
            &[
                "Index Only Scan Backward using jobs_cause on",
                "Index Only Scan using jobs_cause_at",
            ],
        ),
        ("assign causes", sql::fill(include_str!("assign_causes.sql"), assign), &["jobs_pkey"]),
        ("enqueue one", one, &["Index Only Scan using keys_pkey"]),
    ];
    // Without statistics of the tables, and with them.
    for analyze in [false, true] {
        if analyze {
            database.run("analyze").await;
        }
        for (what, sql, indexes) in &cases {
            let steps = plan(&database, sql).await;
            for index in *indexes {
                assert!(steps.contains(index), "{what} does not read {index}:\n{steps}");
            }
            for table in ["jobs", "logs", "keys", "dependencies", "run_alerts"] {
                let every = format!("Seq Scan on {table}");
                assert!(!steps.contains(&every), "{what} reads all {table}:\n{steps}");
            }
            let lines: Vec<&str> = steps.lines().collect();
            let pairs =
                |two: &[&str]| two[0].contains("Nested Loop") && two[1].contains("Join Filter");
            let is_batch = ["claim", "fire", "start", "record"].contains(what);
            assert!(!(is_batch && lines.windows(2).any(pairs)), "{what} compares pairs:\n{steps}");
        }
        let claim = plan(&database, &cases[4].1).await;
        for index in ["jobs_status", "jobs_ready"] {
            assert!(!claim.contains(index), "a claim reads all pending jobs:\n{claim}");
        }
        let ready = plan(&database, &cases[3].1).await;
        assert!(!ready.contains("Sort"), "ready jobs are sorted:\n{ready}");
    }
}

#[tokio::test]
async fn a_list_reads_the_jobs_of_its_filter_from_an_index_in_its_order() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    database.run(MANY_JOBS).await;
    let cases: [(&str, bool, &[&str]); 12] = [
        ("", false, &["jobs_pkey"]),
        ("status:completed", false, &["jobs_pkey"]),
        ("status:timed_out,cancelled", false, &["jobs_status"]),
        ("queue:commands", false, &["specs_lane", "specs_unindexed"]),
        ("name:h1,h2", false, &["specs_lane", "terms_pkey", "specs_unindexed"]),
        ("name:h1 queue:q", false, &["specs_lane", "specs_unindexed"]),
        ("tag.tenant:acme", false, &["terms_pkey", "specs_unindexed"]),
        ("schedule:nightly status:pending", false, &["terms_pkey", "specs_unindexed"]),
        ("status:running name:h1", false, &["jobs_status"]),
        ("", true, &["jobs_dead"]),
        ("name:h1", true, &["jobs_dead"]),
        ("cause:0000000000000007", true, &["jobs_cause", "jobs_causeless"]),
    ];
    for analyze in [false, true] {
        if analyze {
            database.run("vacuum analyze").await;
        }
        for (text, dead, indexes) in cases {
            let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
            let found = store.inner.plan(&filter, dead).await.expect("a plan").expect("may match");
            let request = crate::ListRequest {
                filter,
                oldest_first: false,
                after: Some(JobId(50_000)),
                limit: 100,
            };
            let walk = Walk::page(request.clone(), NOW);
            let want = walk.want().expect("a window");
            let ids = lists::ids(&found, false, want);
            let steps = plan(&database, &ids).await;
            for index in indexes {
                assert!(steps.contains(index), "{text} does not read {index}:\n{steps}");
            }
            let page = lists::page_statement(&found, &walk, want);
            let window = lists::window_statement(&found, &walk, want);
            for statement in [page, window] {
                let steps = plan(&database, &statement).await;
                for table in ["jobs", "specs", "terms"] {
                    let every = format!("Seq Scan on {table}");
                    assert!(!steps.contains(&every), "{text} reads all {table}:\n{steps}");
                }
                assert!(!steps.contains(" results"), "{steps}");
            }
        }
    }
}

#[tokio::test]
async fn a_statement_is_ended_by_the_server_at_its_deadline_and_changes_nothing() {
    let database = TestDatabase::new().await;
    // A busy machine may take longer than the deadlines below to make the tables.
    drop(Postgres::open(PostgresOptions::new(database.url()), NOW).await.expect("a store"));
    let read_deadline = Duration::from_millis(500);
    let write_deadline = Duration::from_millis(500);
    let options =
        PostgresOptions { read_deadline, write_deadline, ..PostgresOptions::new(database.url()) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    for kind in [MessageKind::Read, MessageKind::Durable, MessageKind::Unsynced] {
        let sql = "with touched as (update meta set value = 77 from (:settings) s where key = 'touched') \
                   select pg_sleep(9)";
        let slept = store.inner.rows(kind, sql).await;
        assert!(matches!(slept, Err(DbError::Busy)), "{kind:?}: {slept:?}");
    }
    assert_eq!(database.run("select value from meta where key = 'touched'").await, ["0"]);
    let left = database.run("select count(*) from pg_stat_activity where query ~ 'pg_sleep\\(9'");
    // The query sees itself.
    assert_eq!(left.await, ["1"]);
    let settings = "select current_setting('statement_timeout'), current_setting('lock_timeout'), \
                    current_setting('synchronous_commit')";
    assert_eq!(database.run(settings).await, ["0"]);
}

#[tokio::test]
async fn a_setting_of_a_statement_applies_to_its_own_transaction_only() {
    let database = TestDatabase::new().await;
    // A transaction-pooling proxy accepts no settings of a session.
    for (url, lock_deadline) in [(database.url(), "2s"), (database.url_by(&bouncer()), "0")] {
        settings_apply_to_one_transaction(url, lock_deadline).await;
    }
}

async fn settings_apply_to_one_transaction(url: String, lock_deadline: &str) {
    let options = PostgresOptions { sessions: 2, ..PostgresOptions::new(url) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    let setting = "with l as materialized (:settings) \
                   select current_setting('synchronous_commit'), current_setting('lock_timeout') from l";
    let left = "select current_setting('synchronous_commit'), current_setting('lock_timeout')";
    for (kind, expected) in [
        (MessageKind::Unsynced, "off"),
        (MessageKind::Durable, "on"),
        (MessageKind::Advisory, "off"),
        (MessageKind::Repeatable, "on"),
    ] {
        let rows = store.inner.rows(kind, setting).await.expect("a setting");
        assert_eq!(PgColumns(&rows[0]).str(0).expect("a setting"), expected, "{kind:?}");
        assert_eq!(PgColumns(&rows[0]).str(1).expect("a setting"), "2s", "{kind:?}");
        let rows = store.inner.rows(MessageKind::Read, left).await.expect("a setting");
        assert_eq!(PgColumns(&rows[0]).str(0).expect("a setting"), "on", "after {kind:?}");
        assert_eq!(PgColumns(&rows[0]).str(1).expect("a setting"), lock_deadline, "after {kind:?}");
    }
}

/// Functions that fail as a server may. A rollback does not return ids, so the ids used count the tries.
const FAILURES: &str = "
    create function fail(code text) returns void language plpgsql as $$
    begin raise exception 'no' using errcode = code; end $$;
    create function fail_until(code text, until bigint) returns void language plpgsql as $$
    begin if nextval('job_ids') < until then perform fail(code); end if; end $$;
    create function end_first(code text) returns void language plpgsql as $$
    begin
        if nextval('job_ids') < 2 then
            perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(9);
        end if;
        perform fail(code);
    end $$;
    create function end_it() returns void language plpgsql as $$
    begin
        perform nextval('job_ids'); perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(9);
    end $$;";

/// A statement that fails with this code on each try before number `until`.
fn failing(code: &str, until: i64) -> Statement {
    sql::fill(
        "select fail_until(:code, :until) from (:settings) s",
        [("code", sql::text(code)), ("until", sql::int(until))],
    )
}

#[tokio::test]
async fn an_error_of_the_server_is_mapped_to_what_the_caller_can_do() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    database.run(FAILURES).await;
    let inner = &store.inner;
    let tries = async || {
        let last = database.run("select last_value from job_ids").await[0].parse::<u32>();
        database.run("alter sequence job_ids restart").await;
        last.expect("a number")
    };
    // Rolled back because of a conflict: sent again a few times.
    for code in ["40001", "40P01"] {
        inner.rows(MessageKind::Durable, failing(code, 4)).await.expect("done in the end");
        assert_eq!(tries().await, 4);
        let never = inner.rows(MessageKind::Durable, failing(code, 99)).await;
        assert!(matches!(never, Err(DbError::Again)), "{never:?}");
        assert_eq!(tries().await, 6);
    }
    for (code, expected) in [
        ("53100", "the disk of the store is full"),
        ("55P03", "the store is overloaded"),
        ("53200", "the store is overloaded"),
        ("25006", &format!("the store `{}` is unavailable", inner.name)),
        ("57P01", "the store did not answer in time"),
        ("08006", "the store did not answer in time"),
        ("23505", "could not try it"),
    ] {
        let failure =
            inner.rows(MessageKind::Durable, failing(code, 99)).await.expect_err("it fails");
        assert_eq!(inner.map_error(failure, "try it", false).to_string(), *expected, "{code}");
        assert_eq!(tries().await, 1, "{code} is not sent again");
    }
}

#[tokio::test]
async fn only_an_idempotent_statement_is_sent_again() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    // The session ends during the statement, as when the server restarts.
    database.run(FAILURES).await;
    let end = "select end_it() from (:settings) s";
    for (kind, sent) in [
        (MessageKind::Read, 2),
        (MessageKind::Repeatable, 2),
        (MessageKind::Advisory, 2),
        (MessageKind::Durable, 1),
        (MessageKind::Unsynced, 1),
    ] {
        let lost = store.inner.rows(kind, end).await;
        assert!(matches!(lost, Err(DbError::Lost(_))), "{lost:?}");
        let last = database.run("select last_value from job_ids").await;
        assert_eq!(last, [sent.to_string()], "{kind:?}");
        database.run("alter sequence job_ids restart").await;
    }
    let once = "select case when nextval('job_ids') < 2 \
                then pg_terminate_backend(pg_backend_pid()) end";
    store.inner.rows(MessageKind::Read, once).await.expect("read in the end");
}

#[tokio::test]
async fn a_statement_that_fails_the_second_time_may_have_been_committed_the_first() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let inner = &store.inner;
    // The session ends during the first try; the second one fails.
    database.run(FAILURES).await;
    let refused = |code: &str| {
        let statement = "select end_first(:code) from (:settings) s";
        sql::fill(statement, [("code", sql::text(code))])
    };
    for code in ["55P03", "53100", "23505", "25006", "40001"] {
        for (kind, reads) in [
            (MessageKind::Repeatable, false),
            (MessageKind::Advisory, false),
            (MessageKind::Read, true),
        ] {
            let failure = inner.rows(kind, refused(code)).await.expect_err("it fails");
            let error = inner.map_error(failure, "try it", reads);
            let unknown = matches!(error, StoreError::Unknown);
            assert_eq!(unknown, !reads, "{code}, {kind:?}: {error:?}");
            database.run("alter sequence job_ids restart").await;
        }
    }
}

/// Any character, often one with a meaning in SQL or in an array literal.
fn anything() -> impl Strategy<Value = String> {
    let special = proptest::sample::select(vec![
        '\'', '"', '\\', '$', 'o', '{', '}', ',', ':', ';', '-', '/', '*', '\n', '\r', '\t', '%',
        'N', 'U', 'L', '\u{1}', '\u{7f}', '\u{85}', '\u{2028}', '\u{fffd}', '🦀', ' ',
    ]);
    proptest::collection::vec(prop_oneof![3 => special, 1 => any::<char>()], 0..40)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Each case has many values, since a session costs more than they do.
    #[test]
    fn any_value_comes_back_as_it_was(
        texts in proptest::collection::vec(proptest::option::weighted(0.9, anything()), 1..200),
        bytes in proptest::collection::vec(any::<u8>(), 0..99),
        ints in proptest::collection::vec(any::<Option<i64>>(), 1..20),
        ids in proptest::collection::vec(any::<u128>(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let database = TestDatabase::new().await;
            let store = open(&database).await;
            let sent = async |query: &'static str, value: SqlValue| {
                let statement = sql::fill(query, [("value", value)]);
                store.inner.rows(MessageKind::Read, statement).await.expect("rows")
            };
            // A text column cannot store U+0000.
            let expected: Vec<Option<String>> = texts
                .iter()
                .map(|text| text.as_ref().map(|text| text.replace('\0', "\u{fffd}")))
                .collect();
            let rows = sent("select * from unnest(:value::text[])", sql::texts(texts.iter().map(Option::as_deref))).await;
            let found: Vec<Option<String>> =
                rows.iter().map(|row| PgColumns(row).optional_text(0).expect("text")).collect();
            assert_eq!(found, expected);
            for (text, expected) in texts.iter().zip(&expected).take(9) {
                let rows = sent("select :value::text", sql::optional_text(text.as_deref())).await;
                assert_eq!(PgColumns(&rows[0]).optional_text(0).expect("text"), *expected);
            }
            // A nested array is passed as text.
            let elements = sql::elements(expected.iter().flatten().map(String::as_str));
            let rows = sent("select unnest(:value::text[])", sql::text(&elements)).await;
            let found: Vec<String> =
                rows.iter().map(|row| PgColumns(row).text(0).expect("text")).collect();
            assert_eq!(found, expected.iter().flatten().cloned().collect::<Vec<_>>());
            let rows = sent("select * from unnest(:value::bigint[])", sql::ints(ints.iter().copied())).await;
            let found: Vec<Option<i64>> =
                rows.iter().map(|row| PgColumns(row).optional_int(0).expect("a number")).collect();
            assert_eq!(found, ints);
            let rows = sent("select * from unnest(:value::uuid[])", sql::ids(ids.iter().copied())).await;
            let found: Vec<u128> =
                rows.iter().map(|row| PgColumns(row).id(0).expect("an id")).collect();
            assert_eq!(found, ids);
            let rows = sent("select * from unnest(:value::bytea[])", sql::byte_strings([bytes.as_slice(), b"x"])).await;
            assert_eq!(PgColumns(&rows[0]).bytes(0).expect("bytes"), bytes);
            let rows = sent("select :value::bytea", sql::bytes(&bytes)).await;
            assert_eq!(PgColumns(&rows[0]).bytes(0).expect("bytes"), bytes);
        });
    }
}

/// A failure of the server, of a proxy or of the network is never an error of the command: the caller gets
/// an error that says to try again, or that the outcome is unknown.
#[tokio::test]
async fn a_failure_of_the_server_is_never_an_error_of_the_command() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    database.run(FAILURES).await;
    let refused = async |kind, statement: Statement| {
        let failure = store.inner.rows(kind, statement).await.expect_err("refused");
        failure.for_caller("try", "s", kind == MessageKind::Read)
    };
    let raised =
        |code| sql::fill("select fail(:code) from (:settings) s", [("code", sql::text(code))]);
    for code in [
        "40001", "40P01", "40003", "53000", "53100", "53200", "53300", "53400", "55P03", "57014",
        "57P01", "57P02", "57P03", "57P04", "57P05", "25006", "58000", "58030", "58P01", "08000",
        "08003", "08006", "08P01",
    ] {
        for kind in [MessageKind::Durable, MessageKind::Repeatable, MessageKind::Read] {
            let error = refused(kind, raised(code)).await;
            let own = matches!(error, StoreError::Backend { .. });
            assert!(!own, "{code} {kind:?}: {error:?}");
        }
    }
    let ends = "select end_it() from (:settings) s";
    assert!(matches!(refused(MessageKind::Durable, ends.into()).await, StoreError::Unknown));
    let own = refused(MessageKind::Durable, raised("23505")).await;
    assert!(matches!(own, StoreError::Backend { .. }), "{own:?}");
}
