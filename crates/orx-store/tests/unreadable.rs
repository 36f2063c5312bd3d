//! The store reports an unreadable row as such (a newer version wrote it, or a bit flipped). The row hides no
//! other, ends no scan, and does not stop a leader.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orx_model::filter::Filter;
use orx_model::message::{WorkerRegistration, WorkerState};
use orx_model::schedule::{Due, ScheduleSpec, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{Capabilities, Incarnation, JobId, JobSpec, NewJob, OutcomeKind, SecretHash};
use orx_schedule::Schedule;
use orx_store::{
    CancelAnswer, CancelCommand, Lead, LeadRequest, ListRequest, NodeReport, Position, Postgres,
    PostgresOptions, PruneRequest, Recorded, SchedulePlan, ScheduleRecord, Sqlite, SqliteOptions,
    Store, Templates, Term, TokenRecord, WorkerReport,
};
use orx_testkit::make::{NOW, at, failed, job, name, outcome, request, succeeded};
use orx_testkit::servers::TestDatabase;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// More than one read returns.
const MANY: i64 = 600;

fn sqlite(path: &Path) -> Arc<dyn Store> {
    Arc::new(Sqlite::open(SqliteOptions::new(path), NOW).expect("a store"))
}

async fn led(store: &dyn Store) -> Term {
    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(3_600), above: 0 };
    match store.lead(lead, NOW).await.expect("an answer") {
        Lead::Leading(term) => term,
        other => panic!("{other:?}"),
    }
}

fn worker(incarnation: u128) -> WorkerReport {
    WorkerReport {
        registration: WorkerRegistration {
            incarnation: Incarnation(incarnation),
            name: name("w"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Capabilities {
                handlers: BTreeSet::from([name("work")]),
                ..Capabilities::default()
            },
            slots: 1,
            started_at: NOW,
        },
        state: WorkerState::Running,
        capacity: 1,
        heartbeat: 0,
        load: None,
        hosted_by: Some(Incarnation(9)),
        node: None,
    }
}

fn schedule(id: &str, due: i64) -> ScheduleRecord {
    let target = EnqueueRequest { name: Some(name("work")), ..EnqueueRequest::default() };
    let when = When::Cron("0 2 * * *".parse().expect("an expression"));
    ScheduleRecord {
        plan: SchedulePlan {
            spec: Schedule::new(ScheduleSpec::new(name(id), when, target)).expect("a schedule"),
            templates: Templates { job: job(), on_missed: None, on_failure: None },
            paused: None,
            position: Position {
                handled: NOW,
                next: Some(Due { slot: at(due), fire_at: at(due) }),
            },
            by: None,
        },
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        runs: 0,
        last_run: None,
        unreadable: None,
    }
}

/// Fills a store, before some of its rows are damaged.
async fn fill(store: &dyn Store) {
    let keyed = |key: &str| NewJob::from(JobSpec { key: Some(key.into()), ..job() });
    let elsewhere = JobSpec { queue: name("elsewhere"), ..job() }.into();
    let jobs = vec![keyed("1"), keyed("2"), keyed("3"), keyed("4"), elsewhere];
    store.enqueue(jobs, NOW).await.expect("enqueued");
    let workers = [worker(1), worker(2)].map(|report| (SecretHash([7; 32]), report));
    store.put_workers(workers.into(), NOW).await.expect("put");
    for (node, label) in [(1, "a"), (2, "b")] {
        let (node, name, version) = (Incarnation(node), name(label), "1".to_owned());
        let report =
            NodeReport { node, name, url: None, version, started_at: NOW, zone_version: None };
        store.put_node(report, NOW).await.expect("put");
    }
    for id in ["a", "b"] {
        let (id, note) = (id.to_owned(), String::new());
        let (scopes, created_at) = (vec!["read".to_owned()], NOW);
        let token = TokenRecord {
            id,
            hash: [0; 32],
            scopes,
            created_at,
            expires_at: None,
            revoked_at: None,
            note,
        };
        store.put_token(token).await.expect("put");
    }
    let mut schedules: Vec<_> =
        (0..MANY).map(|n| (schedule(&format!("bad-{n:04}"), n), Vec::new())).collect();
    schedules.push((schedule("good", MANY + 1), Vec::new()));
    store.import_schedules(schedules).await.expect("imported");
}

/// Valid SQL in both databases.
const DAMAGE: [&str; 7] = [
    "update specs set spec = '{' where job in (1, 4)",
    "delete from specs where job = 2",
    "update workers set registration = '{\"hue\":3}' where registration like '%00002\"%'",
    "update nodes set name = '' where name = 'a'",
    "update tokens set scopes = '{' where id = 'a'",
    "update schedule_plans set spec = '{\"id\":\"x\"}' where id like 'bad-%' and id <> 'bad-0001'",
    "delete from schedule_plans where id = 'bad-0001'",
];

async fn other_rows_are_usable(store: &dyn Store) {
    let term = led(store).await;
    // Unreadable jobs are listed as such and hide no other.
    let everything =
        ListRequest { filter: Filter::default(), oldest_first: true, after: None, limit: 50 };
    let page = store.list(everything, NOW).await.expect("a list");
    let found: Vec<(i64, bool)> =
        page.rows.iter().map(|job| (job.id.0, job.state.unreadable.is_some())).collect();
    assert_eq!(found, [(1, true), (2, true), (3, false), (4, true), (5, false)]);
    for id in [1, 2, 4] {
        let job = store.job(JobId(id)).await.expect("read").expect("a job");
        assert!(job.state.unreadable.is_some() && job.state.error.is_some(), "{job:?}");
    }
    let exports = store.export(None, 50).await.expect("exported");
    let exported: Vec<(i64, bool)> =
        exports.iter().map(|it| (it.job.id.0, it.job.state.unreadable.is_some())).collect();
    assert_eq!(exported, found);
    assert_eq!(store.row_counts().await.expect("counted").tokens, 2);
    assert_eq!(store.jobs(vec![JobId(1), JobId(3)]).await.expect("read").len(), 2);
    let by_key = store.job_by_key("1").await.expect("read").map(|job| job.id);
    assert_eq!(by_key, Some(JobId(1)));

    let workers = store.workers(NOW).await.expect("workers");
    let known: BTreeSet<_> =
        workers.iter().map(|worker| worker.report.registration.incarnation).collect();
    assert_eq!(known, BTreeSet::from([Incarnation(1), Incarnation(2)]));
    let hosts: Vec<_> = workers.iter().map(|worker| worker.report.hosted_by).collect();
    assert_eq!(hosts, [Some(Incarnation(9)); 2]);
    assert_eq!(store.nodes(NOW).await.expect("nodes").len(), 1);
    let tokens = store.tokens().await.expect("tokens");
    assert!(tokens.iter().any(|token| token.id == "b"), "{tokens:?}");

    // A readable schedule after many unreadable ones is found.
    let due = store.due_schedules(at(MANY + 9), 500).await.expect("due");
    assert_eq!(due.iter().map(|due| due.id().as_str()).collect::<Vec<_>>(), ["good"]);
    let listed = store.schedules(None, 1_000).await.expect("schedules");
    assert_eq!(listed.len() as i64, MANY + 1);
    let unreadable = listed.iter().filter(|record| record.unreadable.is_some()).count();
    assert_eq!(unreadable as i64, MANY);
    let one = store.schedule(&name("bad-0001")).await.expect("read").expect("a schedule");
    assert!(one.unreadable.is_some());

    // Readable jobs are dispatched.
    let claimed =
        store.claim_ready(vec![request(1, 1, 9)], term, NOW).await.expect("claimed").claimed;
    let jobs: Vec<i64> = claimed.iter().map(|claim| claim.dispatch.job.0).collect();
    assert_eq!(jobs, [3, 5]);
    let live = store.live_attempts().await.expect("live");
    let execution = |job: i64| {
        live.iter().find(|live| live.job.0 == job).map(|live| live.execution.0).expect("live")
    };
    let outcomes = vec![
        outcome(JobId(1), execution(1), failed()),
        outcome(JobId(3), execution(3), succeeded()),
        outcome(JobId(5), execution(5), OutcomeKind::Interrupted),
    ];
    let recorded = store.record_outcomes(outcomes, vec![0.5; 3], at(2)).await.expect("recorded");
    assert!(recorded.iter().all(|it| matches!(it, Recorded::Applied { .. })), "{recorded:?}");
    let cancel = |id| CancelCommand { id, reason: None, by: None, force: true, expected: None };
    let cancels = vec![cancel(JobId(2)), cancel(JobId(4)), cancel(JobId(5))];
    let answers = store.cancel(cancels, at(3)).await.expect("cancelled");
    assert!(answers.iter().all(|it| matches!(it, CancelAnswer::Cancelled { .. })), "{answers:?}");
    let all = ListRequest { filter: Filter::default(), oldest_first: false, after: None, limit: 9 };
    let dead = store.dead_letters(all, NOW).await.expect("dead letters");
    assert_eq!(dead.rows.iter().map(|row| row.job.id.0).collect::<Vec<_>>(), [1]);
    store.promote_due(term, at(9), 9).await.expect("promoted");
    store.delete_dead_letters(vec![JobId(1)]).await.expect("deleted");
    let (before, limit, chunks) = (at(99), 9, 9);
    let prune = PruneRequest { completed_before: before, others_before: before, limit, chunks };
    assert_eq!(store.prune(prune, term).await.expect("pruned").jobs, 5);
}

#[tokio::test]
async fn in_sqlite_a_row_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orx.db");
    {
        let store = sqlite(&path);
        fill(store.as_ref()).await;
        store.close().await.expect("closed");
    }
    let file = rusqlite::Connection::open(&path).expect("the file");
    for sql in DAMAGE {
        assert!(file.execute(sql, []).expect("damaged") > 0, "{sql}");
    }
    // Opening reads these rows.
    file.execute("insert into queues (id, name) values (3, '')", []).expect("damaged");
    file.execute("insert into lanes (id, queue, handler, require) values (3, 3, '', '{')", [])
        .expect("damaged");
    file.close().expect("closed");
    other_rows_are_usable(sqlite(&path).as_ref()).await;
}

#[tokio::test]
async fn in_sqlite_a_flipped_bit_ends_no_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orx.db");
    let store = sqlite(&path);
    let term = led(store.as_ref()).await;
    store.enqueue(vec![job().into(); 6], NOW).await.expect("enqueued");
    let claimed =
        store.claim_ready(vec![request(1, 1, 3)], term, NOW).await.expect("claimed").claimed;
    assert_eq!(claimed.len(), 3);
    let file = rusqlite::Connection::open(&path).expect("the file");
    file.pragma_update(None, "ignore_check_constraints", true).expect("set");
    for sql in [
        "update jobs set execution = x'00' where id = 1",
        "update jobs set status = 12, finished_at = 1 where id = 2",
        "update jobs set attempt = -1 where id = 4",
    ] {
        assert_eq!(file.execute(sql, []).expect("damaged"), 1, "{sql}");
    }
    let everything =
        ListRequest { filter: Filter::default(), oldest_first: true, after: None, limit: 50 };
    let page = store.list(everything, NOW).await.expect("a list");
    let unreadable =
        page.rows.iter().filter(|job| job.state.unreadable.is_some()).map(|job| job.id.0);
    assert_eq!(unreadable.collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(page.rows.len(), 6);
    let live: Vec<i64> =
        store.live_attempts().await.expect("live").iter().map(|live| live.job.0).collect();
    assert_eq!(live, [3]);
    let outcomes = (1..=3).map(|id| outcome(JobId(id), id as u128, succeeded())).collect();
    let recorded = store.record_outcomes(outcomes, vec![0.5; 3], at(2)).await.expect("recorded");
    assert!(matches!(recorded[2], Recorded::Applied { .. }), "{recorded:?}");
    let claimed =
        store.claim_ready(vec![request(1, 9, 9)], term, NOW).await.expect("claimed").claimed;
    let jobs: Vec<i64> = claimed.iter().map(|claim| claim.dispatch.job.0).collect();
    assert_eq!(jobs, [5, 6]);
    let (before, limit, chunks) = (at(99), 9, 9);
    let prune = PruneRequest { completed_before: before, others_before: before, limit, chunks };
    assert_eq!(store.prune(prune, term).await.expect("pruned").jobs, 2);
}

#[tokio::test]
async fn in_postgres_a_row_that_cannot_be_read_hides_no_other() {
    let database = TestDatabase::new().await;
    let options = PostgresOptions::new(database.url());
    let store = Postgres::open(options.clone(), NOW).await.expect("a store");
    fill(&store).await;
    let mut server = PgConnection::connect(&database.url()).await.expect("a session");
    for sql in DAMAGE {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut server).await.expect("damaged");
        assert!(done.rows_affected() > 0, "{sql}");
    }
    // An unreadable lane, and a store that has not cached it yet.
    sqlx::raw_sql(
        "insert into queues (name) values (''); \
         insert into lanes (queue, handler, require) \
         select id, '', '{' from queues where name = ''",
    )
    .execute(&mut server)
    .await
    .expect("damaged");
    let store = Postgres::open(options, NOW).await.expect("a store");
    other_rows_are_usable(&store).await;
}
