//! Several nodes that use one database at the same time.

use super::*;

/// Inserts a job as another node does, with the next id and in the first lane.
const JOB_OF_ANOTHER_NODE: &str = "with new as (
        insert into jobs (id, lane, run_at, created_at, status, priority_rank)
        select nextval('job_ids'), 1, 0, 0, 1, 2 returning id
    )
    insert into specs (job, spec) select new.id, specs.spec from new, specs order by job limit 1";

#[tokio::test]
async fn a_job_that_commits_after_one_with_a_higher_id_is_claimed_all_the_same() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let first = add(&store, vec![job()]).await[0];
    let mut other = Open::begin(&database).await;
    other.run(JOB_OF_ANOTHER_NODE).await;
    let third = add(&store, vec![job()]).await[0];
    assert_eq!(third.0, first.0 + 2);
    let claimed =
        store.claim_ready(vec![request(1, 1, 9)], term, at(1)).await.expect("claimed").claimed;
    assert_eq!(jobs(&claimed), [first, third]);

    other.end("commit").await;

    let claimed =
        store.claim_ready(vec![request(1, 20, 9)], term, at(1)).await.expect("claimed").claimed;
    assert_eq!(jobs(&claimed), [JobId(first.0 + 1)]);
}

#[tokio::test]
async fn a_claim_skips_a_job_that_another_transaction_locks() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let ids = add(&store, vec![job(), job(), job()]).await;
    let mut other = Open::begin(&database).await;
    other.run(&format!("update jobs set percent = 1 where id = {}", ids[0])).await;

    // The other transaction ends after the claim: a claim that waited for it would time out.
    let claimed =
        store.claim_ready(vec![request(1, 1, 3)], term, at(1)).await.expect("claimed").claimed;

    assert_eq!(jobs(&claimed), ids[1..]);
    other.end("rollback").await;
    let claimed =
        store.claim_ready(vec![request(1, 9, 3)], term, at(1)).await.expect("claimed").claimed;
    assert_eq!(jobs(&claimed), ids[..1]);
}

#[tokio::test]
async fn concurrent_claims_never_get_the_same_job() {
    let database = TestDatabase::new().await;
    let nodes = [Arc::new(open(&database).await), Arc::new(open(&database).await)];
    let term = lead(&nodes[0], 1, HOUR).await.expect("free");
    let ids: BTreeSet<JobId> = add(&nodes[0], vec![job(); 400]).await.into_iter().collect();
    let claims = (0..4_u128).map(|who| {
        let store = Arc::clone(&nodes[who as usize % 2]);
        tokio::spawn(async move {
            let mut all = Vec::new();
            for round in 0..40 {
                let request = request(who + 1, who * 10_000 + round * 20, 20);
                let claimed =
                    store.claim_ready(vec![request], term, at(1)).await.expect("claimed").claimed;
                all.extend(jobs(&claimed));
            }
            all
        })
    });
    let mut claimed = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.expect("claimed"));
    }
    assert_eq!(claimed.len(), ids.len());
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), ids);
    let live = nodes[1].live_attempts().await.expect("read");
    let executions: BTreeSet<ExecutionId> = live.iter().map(|live| live.execution).collect();
    assert_eq!(executions.len(), ids.len());
}

#[tokio::test]
async fn a_lane_that_another_node_added_is_claimed_from() {
    let database = TestDatabase::new().await;
    let (leader, other) = (open(&database).await, open(&database).await);
    let term = lead(&leader, 1, HOUR).await.expect("free");
    let ids = add(&other, vec![JobSpec { queue: name("new"), ..job() }]).await;
    let claimed =
        leader.claim_ready(vec![request(1, 1, 3)], term, at(1)).await.expect("claimed").claimed;
    assert_eq!(jobs(&claimed), ids);
}

#[tokio::test]
async fn of_concurrent_candidates_one_leads_and_no_epoch_is_used_twice() {
    let database = TestDatabase::new().await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(open(&database).await));
    }
    let tasks: Vec<_> = (0..12_u128)
        .map(|who| {
            let store = Arc::clone(&nodes[who as usize % 3]);
            tokio::spawn(async move {
                let mut terms = Vec::new();
                while terms.len() < 3 {
                    if let Some(term) = lead(&store, who + 1, HOUR).await {
                        terms.push(term);
                        assert!(store.step_down(term).await.expect("stepped down"));
                    }
                }
                terms
            })
        })
        .collect();
    let mut epochs = BTreeMap::new();
    for task in tasks {
        for term in task.await.expect("led") {
            let before = epochs.insert(term.epoch, term.node);
            assert_eq!(before, None, "epoch {} was used twice", term.epoch);
        }
    }
    assert_eq!(epochs.len(), 12 * 3);
}

/// A leader was paused and continues while its successor is elected: its claim waits for the election, and
/// then changes nothing.
#[tokio::test]
async fn a_claim_during_an_election_waits_for_it_and_changes_nothing() {
    let database = TestDatabase::new().await;
    let store = patient(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let id = add(&store, vec![job()]).await[0];
    let mut election = Open::begin(&database).await;
    election.run("update lease set holder = gen_random_uuid(), epoch = epoch + 1").await;
    let claim = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.claim_ready(vec![request(1, 1, 1)], term, at(1)).await })
    };
    database.lock_waits(1).await;
    assert!(!claim.is_finished(), "it did not wait for the election");

    election.end("commit").await;

    let claimed = claim.await.expect("an answer");
    assert!(matches!(claimed, Err(StoreError::Deposed)), "{claimed:?}");
    let status = store.job(id).await.expect("read").map(|job| job.state.status);
    assert_eq!(status, Some(JobStatus::Pending));
    let prune =
        PruneRequest { completed_before: at(9), others_before: at(9), limit: 1, chunks: 99 };
    assert!(matches!(store.prune(prune, term).await, Err(StoreError::Deposed)));
    let none = store.record_outcomes_as_leader(Vec::new(), Vec::new(), term, at(1)).await;
    assert!(matches!(none, Err(StoreError::Deposed)), "{none:?}");
}

#[tokio::test]
async fn an_enqueue_waits_for_a_transaction_that_takes_its_key() {
    let database = TestDatabase::new().await;
    let store = patient(&database).await;
    add(&store, vec![job()]).await;
    for (how, expected) in [("commit", "existing"), ("rollback", "new")] {
        let mut other = Open::begin(&database).await;
        other.run(JOB_OF_ANOTHER_NODE).await;
        let take = format!("insert into keys (key, job, hash) values ('{how}', lastval(), 'h')");
        other.run(&take).await;
        let ours = {
            let (store, key) = (Arc::clone(&store), how.to_owned());
            tokio::spawn(async move { store.enqueue(vec![keyed(&key), job().into()], NOW).await })
        };
        database.lock_waits(1).await;
        assert!(!ours.is_finished(), "it did not wait");
        other.end(how).await;
        let answers = ours.await.expect("an answer").expect("enqueued");
        let found = match answers[0] {
            Enqueued::Existing { .. } => "existing",
            Enqueued::New { .. } => "new",
            Enqueued::KeyConflict { .. } => "conflict",
        };
        assert_eq!(found, expected, "after {how}");
        assert!(matches!(answers[1], Enqueued::New { .. }));
        let holder = store.job_by_key(how).await.expect("read").map(|job| job.id);
        assert_eq!(holder, Some(id(&answers[0])));
    }
}

#[tokio::test]
async fn nodes_that_take_the_same_keys_in_any_order_agree_on_their_jobs() {
    let database = TestDatabase::new().await;
    let nodes = [Arc::new(open(&database).await), Arc::new(open(&database).await)];
    let tasks: Vec<_> = (0..6)
        .map(|who| {
            let store = Arc::clone(&nodes[who % 2]);
            tokio::spawn(async move {
                let mut keys: Vec<String> = (0..30).map(|key| format!("k{key}")).collect();
                if who % 3 == 0 {
                    keys.reverse();
                }
                let jobs: Vec<NewJob> = keys.iter().map(|key| keyed(key)).collect();
                let answers = store.enqueue(jobs, NOW).await.expect("enqueued");
                keys.into_iter().zip(answers).collect::<Vec<_>>()
            })
        })
        .collect();
    let (mut holders, mut new) = (BTreeMap::new(), 0);
    for task in tasks {
        for (key, answer) in task.await.expect("an answer") {
            new += usize::from(matches!(answer, Enqueued::New { .. }));
            let first = holders.entry(key).or_insert(id(&answer));
            assert_eq!(*first, id(&answer));
        }
    }
    assert_eq!((holders.len(), new), (30, 30));
    let jobs = database.run("select count(*) from jobs").await;
    assert_eq!(jobs, ["30"]);
}

/// The server rolls one of two deadlocked transactions back; the store sends it again.
#[tokio::test]
async fn a_deadlock_is_no_error_of_the_caller() {
    let database = TestDatabase::new().await;
    // A waiting transaction checks for a deadlock once, after this time: the deadlock has to exist by then.
    let set = format!("alter database {} set deadlock_timeout = '3s'", database.name());
    database.run(&set).await;
    let store = patient(&database).await;
    let ids = add(&store, vec![job(), job()]).await;
    let mut other = Open::begin(&database).await;
    // The server never rolls this transaction back.
    other.run("set local deadlock_timeout = '1h'").await;
    other.run(&format!("update jobs set percent = 1 where id = {}", ids[1])).await;
    let cancels = {
        let store = Arc::clone(&store);
        let cancel = |id| orx_store::CancelCommand {
            id,
            reason: None,
            by: None,
            force: false,
            expected: None,
        };
        let cancels = ids.iter().copied().map(cancel).collect();
        tokio::spawn(async move { store.cancel(cancels, at(1)).await })
    };
    database.lock_waits(1).await;
    // Gets the lock once the server has rolled the cancel back.
    other.run(&format!("update jobs set percent = 1 where id = {}", ids[0])).await;
    assert!(!cancels.is_finished(), "it did not wait for the other transaction");
    other.end("commit").await;
    let answers = cancels.await.expect("an answer").expect("cancelled");
    assert_eq!(answers, [orx_store::CancelAnswer::Cancelled { stop: None }; 2]);
    assert_eq!(store.queue_counts().await.expect("counts")[0].1.cancelled, 2);
}

#[tokio::test]
async fn concurrent_calls_share_statements() {
    let database = TestDatabase::new().await;
    let store = Arc::new(open(&database).await);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { add(&store, vec![job()]).await[0] })
        })
        .collect();
    let mut ids = Vec::new();
    for caller in callers {
        ids.push(caller.await.expect("answered"));
    }
    // Earlier calls got lower ids.
    assert!(ids.is_sorted(), "{ids:?}");
    // Each statement leaves one row of counts.
    let written: u64 = database.run("select count(*) from counts").await[0].parse().expect("n");
    assert!(written < 20, "{written} statements for 200 callers");
}

#[tokio::test]
async fn an_outcome_is_computed_again_if_its_job_changed_meanwhile() {
    let database = TestDatabase::new().await;
    let store = patient(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let id = add(&store, vec![job()]).await[0];
    store.claim_ready(vec![request(1, 1, 1)], term, at(1)).await.expect("claimed");
    // A cancel request commits after the store has computed the outcome and before it writes it: the job is
    // cancelled, not retried.
    let mut other = Open::begin(&database).await;
    other.run(&format!("update jobs set cancel_at = 1 where id = {id}")).await;
    let recording = {
        let store = Arc::clone(&store);
        let outcomes = vec![outcome(id, 1, failed())];
        tokio::spawn(async move { store.record_outcomes(outcomes, vec![0.5], at(2)).await })
    };
    database.lock_waits(1).await;
    assert!(!recording.is_finished(), "it did not wait");
    other.end("commit").await;
    let recorded = recording.await.expect("an answer").expect("recorded")[0];
    assert_eq!(recorded, Recorded::Applied { status: JobStatus::Cancelled, run_at: None });
    assert_eq!(store.attempts(id).await.expect("read").len(), 1);
}

/// Records an outcome of the job's first attempt. Runs `change` after the store has computed the outcome and
/// before it writes it. Returns the result of `change`.
async fn change_while_it_ends<T: Send + 'static>(
    database: &TestDatabase,
    store: &Arc<Postgres>,
    outcome: Outcome,
    change: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut other = Open::begin(database).await;
    other.run(&format!("select 1 from jobs where id = {} for update", outcome.job)).await;
    let recording = {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.record_outcomes(vec![outcome], vec![0.5], at(2)).await })
    };
    database.lock_waits(1).await;
    let changing = tokio::spawn(change);
    database.lock_waits(2).await;
    assert!(!recording.is_finished() && !changing.is_finished(), "they did not wait");
    other.end("commit").await;
    recording.await.expect("an answer").expect("recorded");
    changing.await.expect("an answer")
}

#[tokio::test]
async fn a_job_that_has_just_succeeded_is_retried_and_leaves_no_result_behind() {
    let database = TestDatabase::new().await;
    let store = patient(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let id = add(&store, vec![job()]).await[0];
    store.claim_ready(vec![request(1, 1, 1)], term, at(1)).await.expect("claimed");
    let success = outcome(id, 1, OutcomeKind::Succeeded { result: Some(json("1")) });
    let retry = {
        let store = Arc::clone(&store);
        async move { store.retry(vec![id], at(3)).await }
    };
    let retried = change_while_it_ends(&database, &store, success, retry).await;
    assert_eq!(retried.expect("retried"), [RetryAnswer::Retried]);

    // The next attempt reports no result, so the job has none.
    store.claim_ready(vec![request(1, 2, 1)], term, at(4)).await.expect("claimed");
    let outcomes = vec![outcome(id, 2, succeeded())];
    store.record_outcomes(outcomes, vec![0.5], at(5)).await.expect("recorded");
    let job = store.job(id).await.expect("read").expect("there");
    assert_eq!(job.state.status, JobStatus::Completed);
    assert!(job.state.result.is_none(), "{:?}", job.state.result);
}

#[tokio::test]
async fn a_job_whose_attempt_has_just_failed_is_cancelled() {
    let database = TestDatabase::new().await;
    let store = patient(&database).await;
    let term = lead(&store, 1, HOUR).await.expect("free");
    let ids = add(&store, vec![job(), job()]).await;
    let (ends, other) = (ids[0], ids[1]);
    store.claim_ready(vec![request(1, 1, 1)], term, at(1)).await.expect("claimed");
    let cancel = {
        let store = Arc::clone(&store);
        let cancel =
            |id| CancelCommand { id, reason: None, by: None, force: false, expected: None };
        async move { store.cancel(vec![cancel(ends), cancel(other)], at(3)).await }
    };
    let failure = outcome(ends, 1, failed());
    let answers = change_while_it_ends(&database, &store, failure, cancel).await;
    let cancelled = CancelAnswer::Cancelled { stop: None };
    assert_eq!(answers.expect("cancelled"), [cancelled, cancelled]);
}

#[tokio::test]
async fn counts_are_right_while_nodes_sum_them() {
    let database = TestDatabase::new().await;
    let nodes = [Arc::new(open(&database).await), Arc::new(open(&database).await)];
    let tasks: Vec<_> = (0..8)
        .map(|who| {
            let store = Arc::clone(&nodes[who % 2]);
            tokio::spawn(async move {
                for _ in 0..150 {
                    add(&store, vec![job()]).await;
                    let counts = store.queue_counts().await.expect("counts");
                    assert!(counts[0].1.pending > 0);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("counted");
    }
    let term = lead(&nodes[0], 1, HOUR).await.expect("free");
    let prune =
        PruneRequest { completed_before: at(0), others_before: at(0), limit: 1, chunks: 99 };
    nodes[0].prune(prune, term).await.expect("pruned");
    for store in &nodes {
        assert_eq!(store.queue_counts().await.expect("counts")[0].1.pending, 1_200);
    }
    // Pruning sums the counts.
    let rows: u64 = database.run("select count(*) from counts").await[0].parse().expect("a count");
    assert!(rows <= 10, "{rows} rows of counts are left");
}
