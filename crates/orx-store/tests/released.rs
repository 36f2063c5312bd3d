//! Opening a database of an earlier release migrates it. Its content (specs, templates of schedules,
//! outcomes, logs) reads as before. Each release adds its own files to `released/`; the tests open all of
//! them.

use std::sync::Arc;
use std::time::Duration;

use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::log::LogCursor;
use orx_model::time::UtcClock;
use orx_model::{
    AttemptStatus, Cause, Incarnation, JobId, JobSpec, JobStatus, NewJob, Priority, Timestamp,
};
use orx_schedule::Schedule;
use orx_store::{
    CancelCommand, CausesRequest, Enqueued, Lead, LeadRequest, ListRequest, LogRequest, Postgres,
    PostgresOptions, Release, Sqlite, SqliteOptions, Store, Templates,
};
use orx_testkit::make::{failed, name, outcome, request};
use orx_testkit::servers::TestDatabase;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// After every event in the files, and before the next due time in them.
const LATER: Timestamp = Timestamp::from_millis(1_795_900_000_000);

#[tokio::test]
async fn a_sqlite_file_of_the_first_release_is_migrated_with_its_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orx.db");
    let file = rusqlite::Connection::open(&path).expect("a file");
    file.execute_batch(include_str!("released/sqlite.sql")).expect("filled");
    drop(file);
    let open = || Sqlite::open(SqliteOptions::new(&path), LATER).expect("migrated");
    content_is_unchanged(Arc::new(open())).await;
    // Opens the migrated file again.
    causes_are_assigned(&open()).await;
    work_continues(Arc::new(open())).await;
}

#[tokio::test]
async fn a_postgres_database_of_the_first_release_is_migrated_with_its_content() {
    let database = TestDatabase::new().await;
    database.run(include_str!("released/postgres.sql")).await;
    let open = || Postgres::open(PostgresOptions::new(database.url()), LATER);
    content_is_unchanged(Arc::new(open().await.expect("migrated"))).await;
    causes_are_assigned(&open().await.expect("migrated")).await;
    work_continues(Arc::new(open().await.expect("migrated"))).await;
}

/// The leader computes the causes of dead letters of before.
async fn causes_are_assigned(store: &dyn Store) {
    let causes =
        || store.causes(CausesRequest { filter: Filter::default(), after: None, limit: 9 }, LATER);
    assert_eq!(causes().await.expect("causes").rows, []);
    let node = Incarnation(7);
    let request = LeadRequest { node, ttl: Duration::from_secs(3_600), above: 0 };
    let Lead::Leading(term) = store.lead(request, LATER).await.expect("an answer") else {
        panic!("another node leads");
    };
    let all = ListRequest { filter: Filter::default(), oldest_first: true, after: None, limit: 9 };
    let letters = store.dead_letters(all, LATER).await.expect("dead letters").rows;
    let letter = letters.first().expect("a dead letter");
    let cause = Cause::of(&letter.job).expect("a cause");
    // Before that the filter finds them too.
    let of_cause = format!("cause:{}", cause.id);
    let filter = Filter::parse(&of_cause, LATER, &UtcClock).expect("a filter");
    let request = ListRequest { filter, oldest_first: true, after: None, limit: 9 };
    let found = store.dead_letters(request, LATER).await.expect("dead letters").rows;
    assert!(found.iter().any(|found| found.job.id == letter.job.id));
    let assigned = store.assign_causes(9, term).await.expect("assigned");
    assert_eq!(assigned, letters.len() as u64);
    assert_eq!(store.assign_causes(9, term).await.expect("assigned"), 0);
    let rows = causes().await.expect("causes").rows;
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), assigned);
    let row = rows.iter().find(|row| row.id == cause.id).expect("its cause");
    assert_eq!((row.text.as_str(), row.first), (cause.text.as_str(), letter.at));
    assert!(store.step_down(term).await.is_ok());
}

/// More runs in the table of the first release: 20 waits for 8 and cancels it; 21 waits for 15, which was
/// pruned and waited for 8; 22 waits for 16, which was pruned; 7 was cancelled, and its alert is still there.
const RUNS: &str = "
    INSERT INTO jobs (id, lane, run_at, created_at, status, urgency)
    VALUES (20, 5, 1795828765000, 1795828765000, 0, 2), (21, 5, 1795828765000, 1795828765000, 0, 2),
           (22, 5, 1795828765000, 1795828765000, 0, 2);
    INSERT INTO specs (job, spec) SELECT 20, spec FROM specs WHERE job = 9;
    INSERT INTO specs (job, spec) SELECT 21, spec FROM specs WHERE job = 9;
    INSERT INTO specs (job, spec) SELECT 22, spec FROM specs WHERE job = 9;
    INSERT INTO watched (job, schedule, slot, waits_for, cancel, on_failure)
    SELECT 7, 'often', NULL, NULL, 1 = 2, on_failure FROM watched WHERE job = 8;
    INSERT INTO watched (job, schedule, slot, waits_for, cancel, on_failure)
    VALUES (15, 'often', 1, 8, 1 = 2, NULL), (20, 'often', 2, 8, 1 = 1, NULL),
           (21, 'often', 3, 15, 1 = 1, NULL), (22, 'often', 4, 16, 1 = 1, NULL);
";

#[tokio::test]
async fn waiting_runs_of_a_sqlite_file_of_the_first_release_still_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orx.db");
    let file = rusqlite::Connection::open(&path).expect("a file");
    let counts = "UPDATE counts SET jobs = 4 WHERE queue = 1 AND status = 0;";
    let content = [include_str!("released/sqlite.sql"), RUNS, counts].concat();
    file.execute_batch(&content).expect("filled");
    drop(file);
    let store = Sqlite::open(SqliteOptions::new(&path), LATER).expect("migrated");
    runs_still_wait(Arc::new(store)).await;
}

#[tokio::test]
async fn waiting_runs_of_a_postgres_database_of_the_first_release_still_wait() {
    let database = TestDatabase::new().await;
    let counts = "INSERT INTO counts VALUES (1, 0, 3);";
    database.run(&[include_str!("released/postgres.sql"), RUNS, counts].concat()).await;
    let store = Postgres::open(PostgresOptions::new(database.url()), LATER).await;
    runs_still_wait(Arc::new(store.expect("migrated"))).await;
}

async fn runs_still_wait(store: Arc<dyn Store>) {
    let (dependencies, alerts) = store.dependencies().await.expect("read");
    let pairs: Vec<_> =
        dependencies.iter().map(|it| (it.parent.0, it.child.0, it.cancel)).collect();
    assert_eq!(pairs, [(8, 9, false), (8, 20, true), (8, 21, true)]);
    assert_eq!(alerts.iter().map(|it| it.job.0).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(store.jobs_to_cancel(9).await.expect("read"), [JobId(8)]);
    let ended = store.follow_ups(9).await.expect("read");
    let ended: Vec<_> = ended.iter().map(|it| (it.job.0, it.alert.is_some())).collect();
    assert_eq!(ended, [(7, true)]);
    let ids = [9, 20, 21, 22].map(JobId).to_vec();
    let jobs = store.jobs(ids).await.expect("read");
    let statuses: Vec<JobStatus> = jobs.iter().map(|job| job.state.status).collect();
    use JobStatus::{Created, Pending};
    assert_eq!(statuses, [Created, Created, Created, Pending], "16 had ended");
    let counts = store.queue_counts().await.expect("read");
    let of = |status| counts.iter().map(|(_, counts)| counts.of(status)).sum::<u64>();
    assert_eq!((of(Created), of(Pending)), (3, 3));

    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
    let Lead::Leading(term) = store.lead(lead, LATER).await.expect("an answer") else {
        panic!("the old lease has not expired");
    };
    let cancel =
        CancelCommand { id: JobId(8), reason: None, by: None, force: false, expected: None };
    let _ = store.cancel(vec![cancel], LATER).await.expect("cancelled");
    let release =
        |job| Release { job: JobId(job), alert: Some(JobSpec::new(name("x"), name("y"))) };
    let releases = vec![release(7), release(8)];
    let released = store.release(releases, term, LATER).await.expect("released");
    assert_eq!((released.admitted, released.alerts.len()), ([9, 20, 21].map(JobId).to_vec(), 2));
    store.close().await.expect("closed");
}

/// The columns of a schedule that hold JSON. `orx-model/tests/released` has the JSON of the other tables.
#[test]
fn the_stored_json_of_a_schedule_reads_back_and_is_written_as_before() {
    fn check<T: Serialize + DeserializeOwned>(file: &str, text: &str) {
        let why = "an older release wrote this: add an alias, do not change the file";
        let value: T =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{file}: {why}: {error}"));
        let written = serde_json::to_value(&value).expect("JSON");
        let kept: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(written, kept, "{file}: {why}");
    }
    check::<Templates>("templates.full", include_str!("released/0.1.0/templates.full.json"));
    check::<Templates>("templates.least", include_str!("released/0.1.0/templates.least.json"));
    check::<Schedule>("schedule", include_str!("released/0.1.0/schedule.json"));
}

async fn content_is_unchanged(store: Arc<dyn Store>) {
    use JobStatus as S;
    let ids = (1..10).map(JobId).collect();
    let jobs = store.jobs(ids).await.expect("read");
    let statuses: Vec<JobStatus> = jobs.iter().map(|job| job.state.status).collect();
    let expected = [
        S::Pending,
        S::Scheduled,
        S::Completed,
        S::Failed,
        S::Completed,
        S::Running,
        S::Cancelled,
        S::Pending,
        S::Created,
    ];
    assert_eq!(statuses, expected);
    assert!(jobs.iter().all(|job| job.state.unreadable.is_none()), "{jobs:?}");

    let first = &jobs[0].spec;
    assert_eq!((first.name.as_str(), first.priority), ("video.process", Priority::High));
    assert_eq!(first.args.get(), r#"{"n":1.2345678901234568e+29,"path":"/in/1.mp4"}"#);
    assert_eq!((first.timeout_ms, first.correlation_id.as_deref()), (Some(60_000), Some("c1")));
    assert_eq!((first.tags["tenant"].as_str(), first.require["gpu"].as_str()), ("acme", "a"));
    assert_eq!(jobs[1].state.run_at.to_string(), "2036-01-01T00:00:00.000Z");
    let command = jobs[2].spec.command.as_ref().expect("a command");
    assert_eq!(command.argv, ["/bin/sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(jobs[3].state.dead, Some(DeadReason::Exhausted));
    assert_eq!(jobs[3].state.error.as_deref(), Some("exit 3"));
    assert_eq!(jobs[7].spec.schedule.as_ref().map(|it| it.id.as_str()), Some("often"));

    let attempts = store.attempts(JobId(4)).await.expect("read");
    assert_eq!(attempts.iter().map(|it| it.status).collect::<Vec<_>>(), [AttemptStatus::Failed]);
    let log = LogRequest {
        job: JobId(3),
        after: LogCursor::default(),
        attempt: None,
        streams: Vec::new(),
        limit_bytes: 1_000,
    };
    let log = store.read_logs(log).await.expect("read");
    assert_eq!(
        log.iter().map(|chunk| chunk.bytes.as_slice()).collect::<Vec<_>>(),
        [b"out\n", b"err\n"]
    );

    for (text, expected) in [
        ("tag.tenant:acme", vec![1, 5]),
        ("name:later.type", vec![8, 9]),
        ("schedule:often status:created", vec![9]),
        ("queue:builds", vec![3, 4, 6]),
    ] {
        let filter = Filter::parse(text, LATER, &UtcClock).expect("a filter");
        let request = ListRequest { filter, oldest_first: true, after: None, limit: 9 };
        let page = store.list(request, LATER).await.expect("read");
        assert_eq!(page.rows.iter().map(|job| job.id.0).collect::<Vec<_>>(), expected, "{text}");
    }

    let exports = store.export(None, 9).await.expect("read");
    let hash = exports[0].key_hash.as_deref().expect("a hash").to_owned();
    assert!(hash.starts_with("2:0415"), "{hash}");
    assert_eq!(exports[7].key_hash, None);
    let schedules = store.schedules(None, 9).await.expect("read");
    let names: Vec<&str> = schedules.iter().map(|record| record.id().as_str()).collect();
    assert_eq!(names, ["nightly", "often"]);
    let templates = &schedules[0].plan.templates;
    assert_eq!(templates.job.args.get(), r#"{"path":"/in/n.mp4"}"#);
    let alert = templates.on_failure.as_ref().expect("an alert");
    assert_eq!(alert.name.as_str(), "page.me");
    assert_eq!(schedules[1].last_run.map(|run| run.job), Some(JobId(9)));
    let (dependencies, alerts) = store.dependencies().await.expect("read");
    let pairs: Vec<_> =
        dependencies.iter().map(|it| (it.parent.0, it.child.0, it.cancel)).collect();
    assert_eq!(pairs, [(8, 9, false)]);
    let of: Vec<_> = alerts.iter().map(|it| (it.job.0, it.schedule.as_str())).collect();
    assert_eq!(of, [(8, "often"), (9, "often")]);
    assert!(alerts.iter().all(|it| it.on_failure.name.as_str() == "page.me"));
    assert!(store.follow_ups(9).await.expect("read").is_empty(), "both go on");
    store.close().await.expect("closed");
}

/// Keys are still in use, the end of a run still releases the next one, and ids continue.
async fn work_continues(store: Arc<dyn Store>) {
    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
    let Lead::Leading(term) = store.lead(lead, LATER).await.expect("an answer") else {
        panic!("the old lease has not expired");
    };
    let key = JobSpec { key: Some("k1".into()), ..JobSpec::new(name("x"), name("default")) };
    let known = store.enqueue(vec![key.into()], LATER).await.expect("answered");
    assert!(matches!(known[0], Enqueued::KeyConflict { id: JobId(1), .. }), "{known:?}");
    let mut claim = request(1, 1, 1);
    claim.offer.handlers = [name("later.type")].into();
    let claimed = store.claim_ready(vec![claim], term, LATER).await.expect("claimed").claimed;
    assert_eq!(claimed.iter().map(|it| it.dispatch.job.0).collect::<Vec<_>>(), [8]);
    let ended = outcome(JobId(8), 1, failed());
    let _ = store.record_outcomes(vec![ended], vec![0.5], LATER).await.expect("recorded");
    let retried = store.job(JobId(8)).await.expect("read").expect("the job");
    assert_eq!((retried.state.status, retried.state.ends.failed), (JobStatus::Scheduled, 1));
    let new = NewJob::from(JobSpec::new(name("x"), name("default")));
    let new = store.enqueue(vec![new], LATER).await.expect("accepted");
    assert!(matches!(new[0], Enqueued::New { id: JobId(10..), .. }), "{new:?}");
    store.close().await.expect("closed");
}
