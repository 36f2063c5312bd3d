//! Keys, tags, lists, and rows or values that are invalid.

use super::*;

/// A key too long for an index, and incompressible.
fn too_long() -> String {
    let mut random = 1_u64;
    let mut digit = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        char::from_digit((random >> 60) as u32, 16).expect("a digit")
    };
    (0..20_000).map(|_| digit()).collect()
}

#[tokio::test]
async fn an_invalid_part_of_a_batch_fails_alone() {
    let database = TestDatabase::new().await;
    let store = Arc::new(open(&database).await);
    let term = lead(&store, 1, HOUR).await.expect("free");
    let long = too_long();
    let callers: Vec<_> = (0..20)
        .map(|who| {
            let store = Arc::clone(&store);
            let key = if who % 7 == 3 { format!("{who}{long}") } else { format!("k{who}") };
            tokio::spawn(async move { (who, store.enqueue(vec![keyed(&key)], NOW).await) })
        })
        .collect();
    for caller in callers {
        let (who, answer) = caller.await.expect("an answer");
        assert_eq!(answer.is_ok(), who % 7 != 3, "{who}: {answer:?}");
        assert!(!matches!(answer, Err(StoreError::Unknown)), "{answer:?}");
    }
    // U+0000, which a text column cannot store, causes no error.
    let mut odd = keyed("a\0b");
    (odd.spec.by, odd.spec.correlation_id) = (Some("a\0b".into()), Some("\0".into()));
    let id = add(&store, vec![odd.clone()]).await[0];
    assert_eq!(add(&store, vec![odd]).await, [id]);
    let stored = store.job(id).await.expect("read").expect("the job");
    assert_eq!(stored.spec.by.as_deref(), Some("a\0b"));
    let claimed =
        store.claim_ready(vec![request(1, 1, 99)], term, at(1)).await.expect("claimed").claimed;
    let own = claimed.iter().find(|it| it.dispatch.job == id).expect("claimed");
    let outcome = Outcome {
        error: Some("bad \0 end".into()),
        ..outcome(id, own.dispatch.execution.0, failed())
    };
    let recorded = store.record_outcomes(vec![outcome], vec![0.5], at(2)).await.expect("recorded");
    assert!(matches!(recorded[0], Recorded::Applied { .. }));
    let error = store.job(id).await.expect("read").and_then(|job| job.state.error);
    assert_eq!(error.as_deref(), Some("bad \u{fffd} end"));
}

#[tokio::test]
async fn an_unreadable_job_does_not_affect_others() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let ids = add(&store, vec![keyed("a"), keyed("b"), keyed("c"), keyed("d")]).await;
    database.run(&format!("update specs set spec = '{{' where job = {}", ids[1])).await;
    database.run(&format!("delete from specs where job = {}", ids[2])).await;

    let claimed =
        store.claim_ready(vec![request(1, 1, 4)], term, at(1)).await.expect("claimed").claimed;
    assert_eq!(jobs(&claimed), [ids[0], ids[3]]);
    let live = store.live_attempts().await.expect("read");
    let execution = |place: usize| {
        let live = live.iter().find(|live| live.job == ids[place]);
        live.expect("a live attempt, as after a lost dispatch").execution.0
    };
    let never_started = |outcome| Outcome { started_at: None, ..outcome };
    let outcomes = vec![
        outcome(ids[0], execution(0), failed()),
        never_started(outcome(ids[1], execution(1), OutcomeKind::Interrupted)),
        outcome(ids[2], execution(2), failed()),
        outcome(ids[3], execution(3), succeeded()),
    ];
    let recorded = store.record_outcomes(outcomes, vec![0.5; 4], at(2)).await.expect("recorded");
    let statuses: Vec<JobStatus> = recorded.iter().map(applied).collect();
    use JobStatus::{Completed, Failed, Pending, Scheduled};
    assert_eq!(statuses, [Scheduled, Pending, Failed, Completed]);
    // No worker gets the unreadable job, and it fails in the end.
    let mut status = Pending;
    for execution in 10..40 {
        let claim = store.claim_ready(vec![request(1, execution, 1)], term, at(2)).await;
        assert_eq!(jobs(&claim.expect("claimed").claimed), []);
        if status == Pending {
            let interrupted = outcome(ids[1], execution, OutcomeKind::Interrupted);
            let outcomes = vec![never_started(interrupted)];
            let recorded = store.record_outcomes(outcomes, vec![0.5], at(2)).await;
            status = applied(&recorded.expect("recorded")[0]);
        }
    }
    assert_eq!(status, Failed);
    store.delete_dead_letters(ids.clone()).await.expect("deleted");
    let prune = PruneRequest { completed_before: at(9), others_before: at(9), limit: 9, chunks: 9 };
    assert_eq!(store.prune(prune, term).await.expect("pruned").jobs, 3);
}

fn applied(recorded: &Recorded) -> JobStatus {
    match *recorded {
        Recorded::Applied { status, .. } => status,
        Recorded::Stale { .. } | Recorded::Missing => panic!("{recorded:?}"),
    }
}

#[tokio::test]
async fn an_enqueue_with_a_key_in_use_uses_no_id() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let first = add(&store, vec![keyed("k")]).await[0];
    for _ in 0..5 {
        assert_eq!(add(&store, vec![keyed("k")]).await, [first]);
    }
    assert_eq!(add(&store, vec![job()]).await, [JobId(first.0 + 1)]);
}

#[tokio::test]
async fn the_key_of_a_pruned_job_is_retained_and_expires() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let first = add(&store, vec![keyed("k")]).await[0];
    store.claim_ready(vec![request(1, 1, 1)], term, at(1)).await.expect("claimed");
    let outcomes = vec![outcome(first, 1, succeeded())];
    let recorded = store.record_outcomes(outcomes, vec![0.5], at(2)).await.expect("recorded");
    assert!(matches!(recorded[0], Recorded::Applied { .. }));
    let prune =
        PruneRequest { completed_before: at(9), others_before: at(9), limit: 9, chunks: 99 };
    assert_eq!(store.prune(prune, term).await.expect("pruned").jobs, 1);
    let day = 24 * 3_600;
    let within = store.enqueue(vec![keyed("k")], at(day)).await.expect("enqueued");
    assert_eq!(within, [Enqueued::Existing { id: first, status: JobStatus::Completed }]);
    let other = NewJob { key_hash: Some("other".into()), ..keyed("k") };
    let conflict = store.enqueue(vec![other], at(day)).await.expect("enqueued");
    let hash = Some("h".to_owned());
    let status = JobStatus::Completed;
    assert_eq!(conflict, [Enqueued::KeyConflict { id: first, status, hash }]);
    // A key is retained for a day after the end of its job, which was at 2 s.
    let twice = vec![keyed("k"), keyed("k")];
    let beyond = store.enqueue(twice, at(day + 3)).await.expect("enqueued");
    assert!(matches!(beyond[0], Enqueued::New { .. }), "{beyond:?}");
    assert_eq!(id(&beyond[1]), id(&beyond[0]));
    assert!(id(&beyond[0]) > first);
}

#[tokio::test]
async fn a_list_does_not_read_args_and_pruning_deletes_the_terms_of_a_job() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let args = json(&format!("\"{}\"", "x".repeat(200_000)));
    let tags =
        [("tenant".to_owned(), "acme".to_owned()), ("\"a\\".to_owned(), "{\u{0}}".to_owned())];
    let large = JobSpec { args, tags: tags.into(), ..job() };
    let ids = add(&store, vec![large, job()]).await;
    let stored = store.job(ids[0]).await.expect("read").expect("a job");
    assert_eq!(stored.spec.args.get().len(), 200_002);
    // Damages the part that a list does not read.
    database.run("update specs set spec = '{' where job = 1").await;
    assert!(
        store.job(ids[0]).await.expect("read").is_some_and(|job| job.state.unreadable.is_some())
    );
    assert_eq!(listed(&store, "tag.tenant:ACME name:work").await, [1]);
    assert_eq!(database.run("select count(*) from terms").await, ["2"]);

    let term = lead(&store, 1, HOUR).await.expect("free");
    let cancel = |id: &JobId| CancelCommand {
        id: *id,
        reason: None,
        by: None,
        force: false,
        expected: None,
    };
    store.cancel(ids.iter().map(cancel).collect(), NOW).await.expect("cancelled");
    let (before, limit, chunks) = (at(99), 9, 9);
    let prune = PruneRequest { completed_before: before, others_before: before, limit, chunks };
    assert_eq!(store.prune(prune, term).await.expect("pruned").jobs, 2);
    assert_eq!(database.run("select count(*) from terms").await, ["0"]);
}

/// Two tags that produce the same term: `a=b` with a value, and `a` with `b=` and the value.
fn alike(secret: &str) -> JobSpec {
    let tags = [("a", format!("b={secret}")), ("a=b", secret.to_owned())];
    JobSpec { tags: tags.map(|(name, value)| (name.to_owned(), value)).into(), ..job() }
}

#[tokio::test]
async fn tags_with_the_same_term_are_stored_and_found() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let keyed = JobSpec { key: Some("k".to_owned()), ..alike("c") };
    let ids = add(&store, vec![alike("c"), keyed]).await;
    assert_eq!(listed(&store, "tag.a:b=c").await, [ids[1].0, ids[0].0]);
}

/// By default, a server logs each statement that fails.
#[tokio::test]
async fn the_log_of_failed_statements_contains_no_value_of_a_job() {
    const SECRET: &str = "canary-5417";
    let mut server = OwnPostgres::start();
    let url = format!("{}/postgres", server.url());
    let lock_deadline = Duration::from_millis(200);
    let write_deadline = Duration::from_secs(3);
    let options = PostgresOptions {
        lock_deadline,
        write_deadline,
        read_deadline: write_deadline,
        ..PostgresOptions::new(url.clone())
    };
    let store = Postgres::open(options, NOW).await.expect("a store");
    let term = lead(&store, 1, HOUR).await.expect("free");
    let secret = |key: &str| {
        let spec = JobSpec {
            args: json(&format!("{{\"a\": \"{SECRET}\"}}")),
            correlation_id: Some(SECRET.to_owned()),
            key: Some(format!("{SECRET}-{key}")),
            ..alike(SECRET)
        };
        NewJob { key_hash: Some(SECRET.to_owned()), ..spec.into() }
    };
    let run = async |sql: &str| drop(orx_testkit::servers::run(&url, sql).await);
    let id = add(&store, vec![secret("first")]).await[0];
    let claimed =
        store.claim_ready(vec![request(1, 1, 1)], term, at(1)).await.expect("claimed").claimed;
    let execution = claimed[0].dispatch.execution.0;
    let end = |kind| {
        let error = Some(SECRET.to_owned());
        vec![Outcome { error, ..outcome(id, execution, kind) }]
    };
    let succeed = || {
        let result = Some(json(&format!("\"{SECRET}\"")));
        end(OutcomeKind::Succeeded { result })
    };
    let cancel = || {
        let reason = Some(SECRET.to_owned());
        vec![CancelCommand { id, by: reason.clone(), reason, force: true, expected: None }]
    };
    let chunk = LogChunk {
        job: id,
        attempt: 1,
        execution: ExecutionId(execution),
        seq: 1,
        stream: Stream::ALL[0],
        at: NOW,
        dropped_bytes: 0,
        bytes: SECRET.as_bytes().to_vec(),
    };

    // An error in a function that a statement calls.
    run("create function refuse() returns trigger language plpgsql as \
         $$ begin raise exception using errcode = '53100'; end $$; \
         create trigger no before insert on logs execute function refuse(); \
         create trigger no before insert on results execute function refuse();")
    .await;
    store.append_logs(vec![chunk]).await.expect_err("full");
    store.record_outcomes(succeed(), vec![0.5], at(2)).await.expect_err("full");
    run("drop trigger no on logs; drop trigger no on results").await;
    // A row that already exists.
    run("insert into specs (job, spec) select last_value + 1, '' from job_ids").await;
    store.enqueue(vec![secret("second")], NOW).await.expect_err("refused");
    // A key too long for an index.
    store.enqueue(vec![secret(&too_long())], NOW).await.expect_err("refused");
    // Waits for a lock that another transaction holds.
    let held = |sql: &str| {
        let (url, sql) = (url.clone(), sql.to_owned());
        async move {
            let mut session = PgConnection::connect(&url).await.expect("a session");
            let sql = AssertSqlSafe(format!("begin; {sql}"));
            sqlx::raw_sql(sql).execute(&mut session).await.expect("held");
            session
        }
    };
    let holder = held("select 1 from jobs for update").await;
    store.cancel(cancel(), at(2)).await.expect_err("locked");
    store.record_outcomes(end(failed()), vec![0.5], at(2)).await.expect_err("locked");
    drop(holder);
    // A statement that times out, and a session that ends during one.
    run("create function slow() returns trigger language plpgsql as \
         $$ begin perform pg_sleep(9); return new; end $$; \
         create trigger slow before insert on results execute function slow()")
    .await;
    let record = store.record_outcomes(succeed(), vec![0.5], at(2));
    record.await.expect_err("too slow");
    let (ended, _) = tokio::join!(store.record_outcomes(succeed(), vec![0.5], at(2)), async {
        let sleeps = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                      where wait_event = 'PgSleep'";
        eventually("it sleeps", async || {
            orx_testkit::servers::run(&url, sleeps).await.iter().any(|ended| ended != "0")
        })
        .await;
    });
    ended.expect_err("it ended");

    server.kill();
    let log = server.log();
    for failure in [
        "duplicate key value violates unique constraint \"specs_pkey\"",
        "index row requires",
        "canceling statement due to lock timeout",
        "canceling statement due to statement timeout",
        "terminating connection due to administrator command",
        "refuse() line 1 at RAISE",
    ] {
        assert!(log.contains(failure), "nothing failed by `{failure}`:\n{log}");
    }
    assert!(log.matches("STATEMENT:").count() >= 6, "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
