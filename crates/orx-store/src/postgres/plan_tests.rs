//! The plans of statements: which index each reads, with many rows.

use orx_model::filter::Filter;
use orx_model::time::UtcClock;
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId};
use orx_testkit::servers::TestDatabase;

use super::claim::{self, Chosen};
use super::sql::{SqlValue, Statement};
use super::tests::{NOW, open};
use super::*;
use crate::ClaimRequest;
use crate::lane_merge::Given;
use crate::walk::Walk;

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
