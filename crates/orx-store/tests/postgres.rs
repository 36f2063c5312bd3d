//! Tests of PostgreSQL alone: several nodes that share one store, and failures of the server.
//!
//! `contract.rs` tests the contract of every store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::time::UtcClock;
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, JobStatus, NewJob, Outcome, OutcomeKind,
};
use orx_store::{
    CancelAnswer, CancelCommand, Claimed, DeadLetters, Dispatching, Durability, Enqueued, Home,
    Jobs, Lead, LeadRequest, Leases, ListRequest, LogRequest, Logs, Postgres, PostgresOptions,
    PruneRequest, Recorded, RetryAnswer, StoreError, Term, Tokens, Transfer, Upkeep,
};
use orx_testkit::make::{NOW, at, failed, job, json, name, outcome, request, succeeded};
use orx_testkit::servers::{Database, OwnPostgres, Proxy, bouncer, forgetful_bouncer};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const HOUR: Duration = Duration::from_secs(3_600);
/// Deadline of an expected state, long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

async fn open(database: &Database) -> Postgres {
    Postgres::open(PostgresOptions::new(database.url()), NOW).await.expect("a store")
}

/// A store that waits longer for a lock than any test holds one.
async fn patient(database: &Database) -> Arc<Postgres> {
    let lock_deadline = Duration::from_secs(20);
    let write_deadline = Duration::from_secs(30);
    let options =
        PostgresOptions { lock_deadline, write_deadline, ..PostgresOptions::new(database.url()) };
    Arc::new(Postgres::open(options, NOW).await.expect("a store"))
}

async fn lead(store: &Postgres, node: u128, ttl: Duration) -> Option<Term> {
    let request = LeadRequest { node: Incarnation(node), ttl, above: 0 };
    match store.lead(request, NOW).await.expect("an answer") {
        Lead::Leading(term) => Some(term),
        Lead::Following { .. } => None,
    }
}

async fn add(store: &Postgres, jobs: Vec<impl Into<NewJob>>) -> Vec<JobId> {
    let jobs = jobs.into_iter().map(Into::into).collect();
    let answers = store.enqueue(jobs, NOW).await.expect("enqueued");
    answers.iter().map(id).collect()
}

fn id(answer: &Enqueued) -> JobId {
    match *answer {
        Enqueued::New { id, .. }
        | Enqueued::Existing { id, .. }
        | Enqueued::KeyConflict { id, .. } => id,
    }
}

fn keyed(key: &str) -> NewJob {
    let spec = JobSpec { key: Some(key.to_owned()), ..job() };
    NewJob { key_hash: Some("h".to_owned()), ..spec.into() }
}

fn jobs(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claim| claim.dispatch.job).collect()
}

/// A transaction that stays open until [`Open::end`].
struct Open(PgConnection);

impl Open {
    async fn begin(database: &Database) -> Self {
        let mut session = PgConnection::connect(&database.url()).await.expect("a session");
        sqlx::raw_sql("begin").execute(&mut session).await.expect("begun");
        Self(session)
    }

    async fn run(&mut self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut self.0).await.expect("done");
    }

    async fn end(mut self, how: &str) {
        self.run(how).await;
    }
}

async fn eventually(what: &str, there: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !there().await {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Inserts a job as another node does, with the next id and in the first lane.
const JOB_OF_ANOTHER_NODE: &str = "with new as (
        insert into jobs (id, lane, run_at, created_at, status, urgency)
        select nextval('job_ids'), 1, 0, 0, 1, 2 returning id
    )
    insert into specs (job, spec) select new.id, specs.spec from new, specs order by job limit 1";

#[tokio::test]
async fn a_job_that_commits_after_one_with_a_higher_id_is_claimed_all_the_same() {
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let database = Database::new().await;
    let (leader, other) = (open(&database).await, open(&database).await);
    let term = lead(&leader, 1, HOUR).await.expect("free");
    let ids = add(&other, vec![JobSpec { queue: name("new"), ..job() }]).await;
    let claimed =
        leader.claim_ready(vec![request(1, 1, 3)], term, at(1)).await.expect("claimed").claimed;
    assert_eq!(jobs(&claimed), ids);
}

#[tokio::test]
async fn of_concurrent_candidates_one_leads_and_no_epoch_is_used_twice() {
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let none = store.give_up(Vec::new(), Vec::new(), term, at(1)).await;
    assert!(matches!(none, Err(StoreError::Deposed)), "{none:?}");
}

#[tokio::test]
async fn an_enqueue_waits_for_a_transaction_that_takes_its_key() {
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
async fn no_node_leads_on_a_store_that_has_moved() {
    let database = Database::new().await;
    let store = open(&database).await;
    let home = store.home().await.expect("read");
    let moved = Home { moved_to: Some("/elsewhere".into()), ..home.clone() };
    store.put_home(moved).await.expect("put");
    let request = LeadRequest { node: Incarnation(1), ttl: HOUR, above: 0 };
    let refused = store.lead(request, NOW).await.expect_err("moved");
    assert!(matches!(&refused, StoreError::Moved { to, .. } if to == "/elsewhere"), "{refused:?}");
    store.put_home(home).await.expect("put");
    lead(&store, 1, HOUR).await.expect("leads");
}

#[tokio::test]
async fn an_enqueue_with_a_key_in_use_uses_no_id() {
    let database = Database::new().await;
    let store = open(&database).await;
    let first = add(&store, vec![keyed("k")]).await[0];
    for _ in 0..5 {
        assert_eq!(add(&store, vec![keyed("k")]).await, [first]);
    }
    assert_eq!(add(&store, vec![job()]).await, [JobId(first.0 + 1)]);
}

#[tokio::test]
async fn the_key_of_a_pruned_job_is_retained_and_expires() {
    let database = Database::new().await;
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
async fn an_outcome_is_computed_again_if_its_job_changed_meanwhile() {
    let database = Database::new().await;
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
    database: &Database,
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
async fn a_wait_for_a_row_lock_times_out_and_changes_nothing() {
    let database = Database::new().await;
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
    let database = Database::new().await;
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

#[tokio::test]
async fn counts_are_right_while_nodes_sum_them() {
    let database = Database::new().await;
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

#[tokio::test]
async fn nodes_that_start_at_once_create_one_schema() {
    let database = Database::new().await;
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let options = PostgresOptions::new(database.url());
            tokio::spawn(async move { Postgres::open(options, NOW).await })
        })
        .collect();
    let mut nodes = Vec::new();
    for start in starts {
        nodes.push(start.await.expect("an answer").expect("a store"));
    }
    let first = add(&nodes[0], vec![job()]).await[0];
    assert_eq!(add(&nodes[3], vec![job()]).await, [JobId(first.0 + 1)]);
}

#[tokio::test]
async fn a_database_with_an_older_schema_opens_with_its_content() {
    let database = Database::new().await;
    database.run(include_str!("../src/postgres/migrations/0001_first.sql")).await;
    database.run(include_str!("../src/postgres/migrations/0002_schedules.sql")).await;
    let tags = [("tenant".to_owned(), "acme".to_owned())].into();
    let tagged = JobSpec { tags, ..job() };
    let spec = serde_json::to_string(&tagged).expect("json");
    let rows = format!(
        "create table orx_schema (id boolean primary key default true check (id), \
             version bigint not null);
         insert into orx_schema (version) values (2);
         insert into queues (name) values ('default');
         insert into lanes (queue, handler, require) values (1, 'work', '{{}}');
         insert into jobs (id, lane, run_at, created_at, status, urgency)
             values (nextval('job_ids'), 1, 5, 5, 1, 2);
         insert into jobs (id, lane, run_at, created_at, status, urgency, attempt, lost, epoch, execution,
             worker, worker_name, claimed_at)
             values (nextval('job_ids'), 1, 5, 5, 3, 2, 2, 1, 1,
                 '00000000-0000-0000-0000-000000000009', '00000000-0000-0000-0000-000000000007',
                 'w1', 6);
         insert into specs (job, spec) values (1, '{spec}'), (2, '{spec}')"
    );
    database.run(&rows).await;

    let store = open(&database).await;
    let live = store.live_attempts().await.expect("read");
    assert_eq!((live.len(), live[0].job, live[0].alone), (1, JobId(2), false));
    let ends = store.job(JobId(2)).await.expect("read").expect("the job").state.ends;
    assert_eq!((ends.lost, ends.server_lost), (1, 0));
    let term = lead(&store, 1, HOUR).await.expect("free");
    let claimed =
        store.claim_ready(vec![request(7, 20, 5)], term, NOW).await.expect("claimed").claimed;
    assert_eq!(claimed.len(), 1);
    assert_eq!(add(&store, vec![tagged]).await, [JobId(3)]);
    // Filters find jobs from before the migration, new jobs, and jobs that a node of the older version adds.
    let older = "insert into specs (job, spec) select 4, spec from specs where job = 1; \
                 insert into jobs (id, lane, run_at, created_at, status, urgency) \
                 values (4, 1, 5, 5, 1, 2)";
    database.run(older).await;
    assert_eq!(listed(&store, "tag.tenant:ACME").await, [4, 3, 2, 1]);
    assert_eq!(listed(&store, "name:work queue:default").await, [4, 3, 2, 1]);
}

async fn listed(store: &Postgres, text: &str) -> Vec<i64> {
    let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
    let request = ListRequest { filter, oldest_first: false, after: None, limit: 100 };
    let page = store.list(request, NOW).await.expect("a list");
    page.rows.iter().map(|job| job.id.0).collect()
}

#[tokio::test]
async fn a_list_does_not_read_args_and_pruning_deletes_the_terms_of_a_job() {
    let database = Database::new().await;
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

#[tokio::test]
async fn a_newer_schema_is_rejected_and_left_unchanged() {
    let database = Database::new().await;
    drop(open(&database).await);
    database.run("update orx_schema set version = 99").await;
    let refused = Postgres::open(PostgresOptions::new(database.url()), NOW).await;
    let error = refused.expect_err("refused");
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error:?}");
    assert_eq!(database.run("select version from orx_schema").await, ["99"]);
}

#[tokio::test]
async fn a_database_that_may_lose_commits_is_rejected_unless_durability_is_relaxed() {
    let database = Database::new().await;
    let set = format!("alter database {} set synchronous_commit = off", database.name());
    database.run(&set).await;
    let options = PostgresOptions::new(database.url());
    let error = Postgres::open(options.clone(), NOW).await.expect_err("refused");
    let StoreError::Unsafe { setting, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*setting, found.as_str()), ("synchronous_commit", "off"));
    assert!(error.hint().is_some());
    let relaxed = PostgresOptions { durability: Durability::Relaxed, ..options };
    let store = Postgres::open(relaxed, NOW).await.expect("a store");
    assert_ne!(store.info().durability, "full");
    add(&store, vec![job()]).await;
}

#[tokio::test]
async fn a_server_without_syncs_or_a_replica_is_rejected() {
    for (setting, replica, named) in [
        ("fsync=off", false, "fsync"),
        ("full_page_writes=off", false, "full_page_writes"),
        ("hot_standby=on", true, "pg_is_in_recovery()"),
    ] {
        let server = OwnPostgres::start_with(&[setting], replica);
        let url = format!("{}/postgres", server.url());
        let error = Postgres::open(PostgresOptions::new(url), NOW).await.expect_err("refused");
        assert!(
            matches!(&error, StoreError::Unsafe { setting, .. } if *setting == named),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_proxy_without_prepared_statements_is_rejected() {
    let database = Database::new().await;
    let url = database.url_by(&forgetful_bouncer());
    let error = Postgres::open(PostgresOptions::new(url), NOW).await.expect_err("refused");
    assert!(
        matches!(&error, StoreError::Unsafe { setting: "max_prepared_statements", .. }),
        "{error:?}"
    );
}

/// Two tags that produce the same term: `a=b` with a value, and `a` with `b=` and the value.
fn alike(secret: &str) -> JobSpec {
    let tags = [("a", format!("b={secret}")), ("a=b", secret.to_owned())];
    JobSpec { tags: tags.map(|(name, value)| (name.to_owned(), value)).into(), ..job() }
}

#[tokio::test]
async fn tags_with_the_same_term_are_stored_and_found() {
    let database = Database::new().await;
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

#[tokio::test]
async fn an_error_of_opening_shows_the_cause_and_never_the_password() {
    let database = Database::new().await;
    let missing = database.url().replace(database.name(), "nowhere");
    let secret = missing.replace("orx@", "orx:hunter2@");
    let error = Postgres::open(PostgresOptions::new(secret), NOW).await.expect_err("refused");
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("/nowhere") && !text.contains("hunter2"), "{text}");

    let closed =
        format!("postgres://orx:hunter2@127.0.0.1:{}/x", orx_testkit::servers::free_port());
    let options = PostgresOptions {
        connect_deadline: Duration::from_millis(300),
        ..PostgresOptions::new(closed)
    };
    assert!(!format!("{options:?}").contains("hunter2"));
    let error = Postgres::open(options, NOW).await.expect_err("away");
    assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

/// Through a transaction-pooling proxy.
#[tokio::test]
async fn many_callers_share_a_few_sessions_behind_a_proxy() {
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    assert!(matches!(read, Err(StoreError::Unknown | StoreError::Away { .. })), "{read:?}");

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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
    assert!(matches!(write, Err(StoreError::Unknown | StoreError::Away { .. })), "{write:?}");
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
    let database = Database::new().await;
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
    let database = Database::new().await;
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
                                StoreError::Unknown | StoreError::Away { .. } | StoreError::Busy,
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
