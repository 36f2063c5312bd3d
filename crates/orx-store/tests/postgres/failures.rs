//! Locks, lost answers, a network that drops everything, a killed server.

use super::*;

#[tokio::test]
async fn a_wait_for_a_row_lock_times_out_and_changes_nothing() {
    let database = TestDatabase::new().await;
    let lock_deadline = Duration::from_millis(200);
    let options = PostgresOptions { lock_deadline, ..PostgresOptions::new(database.url()) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    let id = add(&store, vec![job()]).await[0];
    let mut other = Open::begin(&database).await;
    other.run(&format!("update jobs set percent = 1 where id = {id}")).await;
    let cancel =
        orx_store::CancelCommand { id, reason: None, by: None, force: false, expected: None };
    let answer = store.cancel(vec![cancel], at(1)).await;
    assert!(matches!(answer, Err(StoreError::Busy)), "{answer:?}");
    other.end("rollback").await;
    let status = store.job(id).await.expect("read").map(|job| job.state.status);
    assert_eq!(status, Some(JobStatus::Pending));
}

#[tokio::test]
async fn a_wait_for_a_table_lock_times_out() {
    let database = TestDatabase::new().await;
    let lock_deadline = Duration::from_millis(200);
    let write_deadline = Duration::from_secs(30);
    let options =
        PostgresOptions { lock_deadline, write_deadline, ..PostgresOptions::new(database.url()) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    add(&store, vec![job()]).await;
    let mut other = Open::begin(&database).await;
    other.run("lock table jobs in share mode").await;
    for jobs in [vec![job().into()], vec![keyed("k")]] {
        let called = Instant::now();
        let answer = store.enqueue(jobs, NOW).await;
        assert!(matches!(answer, Err(StoreError::Busy)), "{answer:?}");
        assert!(called.elapsed() < Duration::from_secs(10), "{:?}", called.elapsed());
    }
    other.end("rollback").await;
}

/// Through a transaction-pooling proxy.
#[tokio::test]
async fn many_callers_share_a_few_sessions_behind_a_proxy() {
    let database = TestDatabase::new().await;
    let options = PostgresOptions::new(database.url_by(&bouncer()));
    let store = Arc::new(Postgres::open(options, NOW).await.expect("a store"));
    let term = lead(&store, 1, HOUR).await.expect("free");
    let tasks: Vec<_> = (0..16_u128)
        .map(|who| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut done = 0;
                for round in 0..10 {
                    add(&store, vec![job()]).await;
                    let request = request(who + 1, who * 1_000 + round * 10, 2);
                    let claimed = store.claim_ready(vec![request], term, at(1)).await;
                    let outcomes: Vec<Outcome> = claimed
                        .expect("claimed")
                        .claimed
                        .iter()
                        .map(|it| outcome(it.dispatch.job, it.dispatch.execution.0, succeeded()))
                        .collect();
                    done += outcomes.len();
                    let draws = vec![0.5; outcomes.len()];
                    let recorded = store.record_outcomes(outcomes, draws, at(2)).await;
                    assert!(
                        recorded
                            .expect("recorded")
                            .iter()
                            .all(|it| matches!(it, Recorded::Applied { .. }))
                    );
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("done");
    }
    let counts = store.queue_counts().await.expect("counts")[0].1;
    assert_eq!((counts.completed, counts.pending), (done as u64, 160 - done as u64));
}

/// Short deadlines, for tests in which calls time out.
fn impatient(url: String) -> PostgresOptions {
    PostgresOptions {
        write_deadline: Duration::from_secs(2),
        read_deadline: Duration::from_secs(2),
        busy_after: Duration::from_secs(2),
        connect_deadline: Duration::from_secs(1),
        ..PostgresOptions::new(url)
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_found_again_by_its_key() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&orx_testkit::servers::shared()).await;
    let options = impatient(database.url_by(&proxy.url()));
    let store = Postgres::open(options, NOW).await.expect("a store");
    let first = add(&store, vec![keyed("first")]).await[0];

    proxy.drop_answers(true);
    let called = Instant::now();
    let answer = store.enqueue(vec![keyed("lost")], NOW).await;
    assert!(matches!(answer, Err(StoreError::Unknown)), "{answer:?}");
    assert!(called.elapsed() < Duration::from_secs(10), "{:?}", called.elapsed());
    let read = store.job(first).await;
    assert!(matches!(read, Err(StoreError::Unknown | StoreError::Unavailable { .. })), "{read:?}");

    proxy.drop_answers(false);
    let until = Instant::now() + SOON;
    let again = loop {
        match store.enqueue(vec![keyed("lost")], NOW).await {
            Ok(answers) => break answers[0].clone(),
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
    };
    assert!(matches!(again, Enqueued::Existing { .. }), "{again:?}");
    assert_eq!(database.run("select count(*) from jobs").await, ["2"]);
}

#[tokio::test]
async fn a_write_that_waits_behind_a_hanging_one_is_busy_and_changes_nothing() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&orx_testkit::servers::shared()).await;
    // The second write times out long before the first.
    let busy_after = Duration::from_millis(300);
    let options = PostgresOptions { busy_after, ..impatient(database.url_by(&proxy.url())) };
    let store = Arc::new(Postgres::open(options, NOW).await.expect("a store"));
    // Prepares the statement in the session: with the answers dropped, it could not prepare it.
    add(&store, vec![keyed("before")]).await;
    proxy.drop_answers(true);
    let enqueue = |key: &str| {
        let (store, key) = (Arc::clone(&store), key.to_owned());
        tokio::spawn(async move { store.enqueue(vec![keyed(&key)], NOW).await })
    };
    let first = enqueue("first");
    let keys = "select key from keys order by key";
    let written = async || database.run(keys).await == ["before", "first"];
    eventually("the first is written", written).await;
    let second = enqueue("second");
    let (first, second) = (first.await.expect("ended"), second.await.expect("ended"));
    assert!(matches!(first, Err(StoreError::Unknown)), "{first:?}");
    assert!(matches!(second, Err(StoreError::Busy)), "{second:?}");
    assert_eq!(database.run(keys).await, ["before", "first"]);
}

#[tokio::test]
async fn calls_time_out_while_the_network_drops_everything_and_succeed_afterwards() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&orx_testkit::servers::shared()).await;
    let store = Postgres::open(impatient(database.url_by(&proxy.url())), NOW).await;
    let store = Arc::new(store.expect("a store"));
    let first = add(&store, vec![job()]).await[0];
    proxy.swallow(true);
    let called = Instant::now();
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.job(first).await.map(drop) })
        })
        .collect();
    let write = store.enqueue(vec![keyed("swallowed")], NOW).await;
    assert!(
        matches!(write, Err(StoreError::Unknown | StoreError::Unavailable { .. })),
        "{write:?}"
    );
    for call in calls {
        call.await.expect("an answer").expect_err("the network dropped it");
    }
    assert!(called.elapsed() < Duration::from_secs(12), "{:?}", called.elapsed());
    proxy.swallow(false);
    assert!(store.job(first).await.expect("read").is_some());
    // Whether or not the write arrived in the end, one job has the key. The next write may have to wait for
    // it.
    let until = Instant::now() + SOON;
    let again = loop {
        match store.enqueue(vec![keyed("swallowed")], NOW).await {
            Ok(answers) => break id(&answers[0]),
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
    };
    assert_eq!(store.job_by_key("swallowed").await.expect("read").map(|job| job.id), Some(again));
}

#[tokio::test]
async fn scans_and_reads_of_pieces_block_no_other_call_and_nothing_blocks_an_election() {
    let database = TestDatabase::new().await;
    let (read_deadline, busy_after) = (2 * SOON, 2 * SOON);
    let options = PostgresOptions {
        scans: 2,
        read_deadline,
        busy_after,
        ..PostgresOptions::new(database.url())
    };
    let store = Arc::new(Postgres::open(options, NOW).await.expect("a store"));
    let callers = Arc::new(store.callers());
    let id = add(&callers, vec![job()]).await[0];
    let mut held = Open::begin(&database).await;
    held.run("lock table counts, logs in access exclusive mode").await;
    let mut calls = Vec::new();
    let log = LogRequest {
        job: id,
        after: LogCursor::default(),
        attempt: None,
        streams: Vec::new(),
        limit_bytes: 1,
    };
    for _ in 0..20 {
        let (scans, pieces, log) = (Arc::clone(&callers), Arc::clone(&callers), log.clone());
        calls.push(tokio::spawn(async move { scans.log_tail(log, 9).await.map(drop) }));
        calls.push(tokio::spawn(async move { pieces.queue_counts().await.map(drop) }));
    }
    database.lock_waits(4).await;
    let others = async {
        assert!(callers.job(id).await.expect("read").is_some());
        assert!(callers.token("none").await.expect("read").is_none());
        // A list that an index returns in order is not a scan.
        let all = Filter::default();
        let first = ListRequest { filter: all, oldest_first: false, after: None, limit: 9 };
        assert_eq!(callers.list(first, NOW).await.expect("read").rows.len(), 1);
        callers.check_writable().await.expect("written");
        assert_eq!(store.live_attempts().await.expect("read"), []);
        assert!(store.nodes(NOW).await.expect("read").is_empty());
    };
    let answered = tokio::time::timeout(SOON / 3, others).await;

    // An election works even if the control plane has no session left.
    for _ in 0..20 {
        let store = Arc::clone(&store);
        calls.push(tokio::spawn(async move { store.queue_counts().await.map(drop) }));
    }
    database.lock_waits(8).await;
    let elected = tokio::time::timeout(SOON / 3, lead(&store, 1, HOUR)).await;
    held.end("rollback").await;
    answered.expect("no other call waits");
    assert!(elected.expect("the election does not wait").is_some());
    for call in calls {
        call.await.expect("it ended").expect("read");
    }
}

#[tokio::test]
async fn a_dropped_call_leaves_no_session_in_the_middle_of_a_message() {
    let database = TestDatabase::new().await;
    let options = PostgresOptions { sessions: 2, ..PostgresOptions::new(database.url()) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    let id = add(&store, vec![job()]).await[0];
    for _ in 0..20 {
        let read = tokio::time::timeout(Duration::from_micros(50), store.job(id));
        drop(read.await);
    }
    assert!(store.job(id).await.expect("read").is_some());
    assert_eq!(store.live_attempts().await.expect("read"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_job_survives_a_killed_server_and_the_store_reconnects() {
    let mut server = OwnPostgres::start();
    let url = format!("{}/postgres", server.url());
    let store = Arc::new(Postgres::open(PostgresOptions::new(url), NOW).await.expect("a store"));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|who| {
            let (store, stop, count) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let (mut answered, mut number) = (BTreeMap::new(), 0);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let key = format!("{who}/{number}");
                    number += 1;
                    // Repeats the call until it is answered, as a client does.
                    let answer = loop {
                        match store.enqueue(vec![keyed(&key)], NOW).await {
                            Ok(answer) => break answer[0].clone(),
                            Err(
                                StoreError::Unknown
                                | StoreError::Unavailable { .. }
                                | StoreError::Busy,
                            ) => tokio::time::sleep(Duration::from_millis(20)).await,
                            Err(error) => panic!("{error:?}"),
                        }
                    };
                    answered.insert(key, id(&answer));
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                answered
            })
        })
        .collect();
    let more = async || {
        let before = count.load(std::sync::atomic::Ordering::Relaxed);
        let there = async || count.load(std::sync::atomic::Ordering::Relaxed) > before + 30;
        eventually("some are answered", there).await;
    };
    for _ in 0..3 {
        more().await;
        server.kill();
        tokio::task::block_in_place(|| server.restart());
    }
    more().await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut answered = BTreeMap::new();
    for caller in callers {
        answered.extend(caller.await.expect("answered"));
    }
    assert!(answered.len() > 100, "{}", answered.len());
    for (key, id) in &answered {
        let holder = store.job_by_key(key).await.expect("read").map(|job| job.id);
        assert_eq!(holder, Some(*id), "the job of {key}");
    }
    let ids: BTreeSet<JobId> = answered.values().copied().collect();
    assert_eq!(ids.len(), answered.len(), "an id was used twice");
}
