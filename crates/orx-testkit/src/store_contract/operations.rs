//! Cases of operations over many jobs, and of deleted jobs.

use std::time::Duration;

use orx_model::filter::Filter;
use orx_model::log::Stream;
use orx_model::time::UtcClock;
use orx_model::wire::{Count, LeftAlone, OperationAction, OperationStatus, StatusCounts};
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, JobStatus, OperationId, RetryPolicy, limits,
};
use orx_store::{
    AddedOperation, BatchAnswer, BatchOutcome, BatchedJob, CausesRequest, DeleteAnswer, Enqueued,
    NewOperation, OperationBatch, OperationEnd, OperationRecord, StoreError, Target, Term,
};

use super::logs::{chunk, whole};
use super::{AStore, HOUR, add, cancel, cancel_of, claim, get, keyed, lead, send, status};
use crate::make::{NOW, at, failed, job, name, outcome, succeeded};

/// An operation of all jobs.
fn new(action: OperationAction) -> NewOperation {
    NewOperation {
        action,
        filter: Some("id>0".to_owned()),
        zone: Some("Europe/Berlin".to_owned()),
        ids: Vec::new(),
        dead: false,
        force: false,
        rate: Some(100),
        matched: Count { count: 7, exact: true },
        reason: Some("why".to_owned()),
        person: Some("ada@host".to_owned()),
        token: "ops".to_owned(),
        address: Some("10.0.0.7".to_owned()),
        key: None,
    }
}

async fn start(store: &AStore, operation: NewOperation) -> OperationRecord {
    match store.add_operation(operation, at(1)).await.expect("added") {
        AddedOperation::New(record) => record,
        other => panic!("expected a new operation, found {other:?}"),
    }
}

fn targets(jobs: impl IntoIterator<Item = (JobId, Option<JobStatus>)>) -> Vec<Target> {
    jobs.into_iter().map(|(job, seen)| Target { job, seen }).collect()
}

/// A batch up to the last job of the operation.
fn batch(operation: &OperationRecord, jobs: Vec<Target>) -> OperationBatch {
    OperationBatch { operation: operation.clone(), jobs, upto: operation.upto, chunks: 100 }
}

async fn run(
    store: &AStore,
    batch: OperationBatch,
) -> (OperationRecord, Vec<(JobId, BatchOutcome)>) {
    match store.run_batch(batch, at(2), store.term).await.expect("run") {
        BatchAnswer::Done { operation, jobs } => {
            (*operation, jobs.iter().map(|one| (one.job, one.outcome)).collect())
        }
        BatchAnswer::Stale => panic!("the operation runs"),
    }
}

/// A job that failed for good.
async fn dead(store: &AStore, execution: u128) -> JobId {
    let id = add(store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    claim(store, execution).await;
    let _ = send(store, outcome(id, execution, failed())).await;
    id
}

/// A deletion removes a job with its attempts, logs, key and dead letter; its id is not used again.
pub async fn a_deleted_job_leaves_nothing_behind_and_frees_its_key(store: AStore) {
    let Enqueued::New { id, .. } =
        store.enqueue(vec![keyed("a", "h")], NOW).await.expect("enqueue")[0]
    else {
        panic!("the key is free");
    };
    claim(&store, 1).await;
    store.append_logs(vec![chunk(id, 1, 1, Stream::Out, "x")]).await.expect("append");
    let _ = send(&store, outcome(id, 1, succeeded())).await;
    let letter = dead(&store, 2).await;
    let deleted = store.delete_jobs(vec![id, letter, id], None).await.expect("deleted");
    assert_eq!(deleted, [DeleteAnswer::Deleted, DeleteAnswer::Deleted, DeleteAnswer::Missing]);
    assert!(store.job(id).await.expect("read").is_none());
    assert!(store.attempts(id).await.expect("read").is_empty());
    assert!(store.read_logs(whole(id)).await.expect("read").is_empty());
    assert_eq!(store.dead_letter_count(9).await.expect("read"), 0);
    assert!(store.export_keys(None, 9).await.expect("read").is_empty());
    let counts = store.queue_counts().await.expect("counts");
    assert_eq!(counts, [(name("default"), StatusCounts::default())]);
    let again = store.enqueue(vec![keyed("a", "h")], NOW).await.expect("enqueue");
    let Enqueued::New { id: new, .. } = again[0] else { panic!("{again:?}") };
    assert!(new > letter, "{new} was used before");
}

/// Only final jobs in the expected status are deleted.
pub async fn jobs_that_have_not_ended_or_are_missing_are_not_deleted(store: AStore) {
    let failed = dead(&store, 1).await;
    let live = add(&store, job()).await;
    claim(&store, 2).await;
    let waiting = add(&store, job()).await;
    let answers = store.delete_jobs(vec![waiting, live, JobId(999)], None).await.expect("asked");
    let kept = |status| DeleteAnswer::NotInState { status };
    let (pending, dispatched) = (kept(JobStatus::Pending), kept(JobStatus::Dispatched));
    assert_eq!(answers, [pending, dispatched, DeleteAnswer::Missing]);
    let completed = Some(JobStatus::Completed);
    let answers = store.delete_jobs(vec![failed], completed).await.expect("asked");
    assert_eq!(answers, [kept(JobStatus::Failed)]);
    assert_eq!(status(&store, failed).await, JobStatus::Failed);
    let answers = store.delete_jobs(vec![failed], Some(JobStatus::Failed)).await.expect("asked");
    assert_eq!(answers, [DeleteAnswer::Deleted]);
}

/// What is added is read back, one by one, by pages, and while it runs.
pub async fn operations_are_stored_and_read_newest_first(store: AStore) {
    let job = add(&store, job()).await;
    let first = start(&store, new(OperationAction::Cancel)).await;
    let other = NewOperation {
        filter: None,
        zone: None,
        ids: vec![JobId(3), JobId(5)],
        dead: true,
        force: true,
        rate: None,
        matched: Count { count: 2, exact: false },
        reason: None,
        person: None,
        address: None,
        ..new(OperationAction::Remove)
    };
    let second = start(&store, other).await;
    assert_eq!((first.upto, second.upto), (job, JobId(5)));
    assert!(second.id > first.id);
    assert_eq!((first.status, first.created_at), (OperationStatus::Running, at(1)));
    assert_eq!(store.operation(first.id).await.expect("read"), Some(first.clone()));
    assert_eq!(store.operation(OperationId(99)).await.expect("read"), None);
    let page = store.operations(None, 1).await.expect("read");
    assert_eq!(page, std::slice::from_ref(&second));
    let page = store.operations(Some(second.id), 9).await.expect("read");
    assert_eq!(page, std::slice::from_ref(&first));
    assert_eq!(store.running_operations(9).await.expect("read"), [first.clone(), second.clone()]);
    let end = OperationEnd::Failed { error: "broken".to_owned() };
    let ended = store.end_operation(first.id, end, at(3)).await.expect("ended");
    let error = Some("broken".to_owned());
    let failed = (OperationStatus::Failed, error, Some(at(3)));
    let (record, by_this) = ended.expect("known");
    assert_eq!((record.status, record.error, record.ended_at), failed);
    assert!(by_this);
    assert_eq!(store.running_operations(9).await.expect("read"), [second]);
}

/// A repeated request returns its operation; another request with the key is a conflict.
pub async fn an_idempotency_key_starts_one_operation(store: AStore) {
    let keyed = |hash: &str| NewOperation {
        key: Some(("k".to_owned(), hash.to_owned())),
        ..new(OperationAction::Retry)
    };
    let first = start(&store, keyed("h")).await;
    let again = store.add_operation(keyed("h"), at(2)).await.expect("asked");
    assert_eq!(again, AddedOperation::Existing(first.clone()));
    let other = store.add_operation(keyed("other"), at(2)).await.expect("asked");
    assert_eq!(other, AddedOperation::KeyConflict(first.id));
    assert_eq!(store.operations(None, 9).await.expect("read").len(), 1);
}

/// The jobs of a batch change, and the operation shows how many, and how many were left alone.
pub async fn a_batch_changes_its_jobs_counts_them_and_moves_the_cursor(store: AStore) {
    let one = dead(&store, 1).await;
    let two = dead(&store, 2).await;
    let gone = dead(&store, 3).await;
    store.delete_jobs(vec![gone], None).await.expect("deleted");
    let waiting = add(&store, job()).await;
    let operation = start(&store, new(OperationAction::Retry)).await;
    let late = add(&store, job()).await;
    assert_eq!(operation.upto, waiting, "jobs that come later are out of reach");
    let first = OperationBatch {
        upto: two,
        ..batch(&operation, targets([(one, Some(JobStatus::Failed))]))
    };
    let (operation, jobs) = run(&store, first).await;
    assert_eq!(jobs, [(one, BatchOutcome::Changed)]);
    assert_eq!((operation.cursor, operation.status), (two, OperationStatus::Running));
    assert_eq!(store.operation(operation.id).await.expect("read").as_ref(), Some(&operation));
    let rest = batch(&operation, targets([(gone, None), (waiting, None)]));
    let (operation, jobs) = run(&store, rest).await;
    let outcomes: Vec<BatchOutcome> = jobs.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [BatchOutcome::NotFound, BatchOutcome::NotEnded]);
    assert_eq!((operation.changed, operation.stopping), (1, 0));
    let left = LeftAlone { not_ended: 1, not_found: 1, ..LeftAlone::default() };
    assert_eq!(operation.left, left);
    let done = (OperationStatus::Done, Some(at(2)), waiting);
    assert_eq!((operation.status, operation.ended_at, operation.cursor), done);
    assert_eq!(store.operation(operation.id).await.expect("read").as_ref(), Some(&operation));
    assert_eq!(status(&store, one).await, JobStatus::Pending);
    assert_eq!(get(&store, one).await.state.run_at, at(2));
    assert_eq!(status(&store, two).await, JobStatus::Failed);
    assert_eq!(status(&store, late).await, JobStatus::Pending);
    let counts = store.queue_counts().await.expect("counts")[0].1;
    assert_eq!((counts.pending, counts.failed), (3, 1));
}

/// A batch runs once, and only for the leader.
pub async fn a_batch_from_an_old_cursor_or_an_old_leader_changes_nothing(store: AStore) {
    let (one, two) = (dead(&store, 1).await, dead(&store, 2).await);
    let operation = start(&store, new(OperationAction::Retry)).await;
    let first = OperationBatch { upto: one, ..batch(&operation, targets([(one, None)])) };
    run(&store, first.clone()).await;
    claim(&store, 3).await;
    let _ = send(&store, outcome(one, 3, failed())).await;
    let again = store.run_batch(first, at(3), store.term).await.expect("run");
    assert_eq!(again, BatchAnswer::Stale);
    assert_eq!(status(&store, one).await, JobStatus::Failed, "it is retried once");
    let operation = store.operation(operation.id).await.expect("read").expect("known");
    assert_eq!(operation.changed, 1);
    let rest = batch(&operation, targets([(two, None)]));
    assert!(store.step_down(store.term).await.expect("done"));
    let next = lead(&*store, Incarnation(78), HOUR).await.expect("free");
    let old = store.run_batch(rest.clone(), at(3), store.term).await;
    assert!(matches!(old, Err(StoreError::Deposed)), "{old:?}");
    assert_eq!(status(&store, two).await, JobStatus::Failed);
    let next: Term = next;
    let done = store.run_batch(rest, at(3), next).await.expect("run");
    assert!(matches!(done, BatchAnswer::Done { .. }));
    assert_eq!(status(&store, two).await, JobStatus::Pending);
}

/// A job in another status than the filter saw may match no longer: the next batch reads it again.
pub async fn a_batch_ends_before_a_job_that_changed_since_it_was_read(store: AStore) {
    let (one, two, three) = (dead(&store, 1).await, dead(&store, 2).await, dead(&store, 3).await);
    let operation = start(&store, new(OperationAction::Retry)).await;
    store.retry(vec![two], at(1)).await.expect("retried");
    let all = targets([one, two, three].map(|id| (id, Some(JobStatus::Failed))));
    let (operation, jobs) = run(&store, batch(&operation, all)).await;
    assert_eq!(jobs, [(one, BatchOutcome::Changed)]);
    assert_eq!((operation.cursor, operation.changed), (JobId(two.0 - 1), 1));
    assert_eq!(operation.status, OperationStatus::Running);
    assert_eq!(status(&store, three).await, JobStatus::Failed);
}

/// A cancelled operation is over at once; a second cancel finds it so.
pub async fn a_cancelled_operation_changes_nothing_more(store: AStore) {
    let one = dead(&store, 1).await;
    let operation = start(&store, new(OperationAction::Retry)).await;
    let by = || OperationEnd::Cancelled { by: "ada".to_owned() };
    let ended = store.end_operation(operation.id, by(), at(2)).await.expect("ended");
    let (record, by_this) = ended.expect("known");
    let cancelled = (OperationStatus::Cancelled, Some("ada".to_owned()), Some(at(2)));
    assert_eq!((record.status, record.ended_by.clone(), record.ended_at), cancelled);
    assert!(by_this);
    let again = store.end_operation(operation.id, by(), at(3)).await.expect("ended");
    assert_eq!(again, Some((record, false)));
    let late = batch(&operation, targets([(one, None)]));
    assert_eq!(store.run_batch(late, at(3), store.term).await.expect("run"), BatchAnswer::Stale);
    assert_eq!(status(&store, one).await, JobStatus::Failed);
    assert_eq!(store.end_operation(OperationId(99), by(), at(3)).await.expect("ended"), None);
}

/// Waiting jobs are cancelled at once, live ones through their workers, or at once by force.
pub async fn a_batch_of_a_cancel_stops_live_jobs_or_ends_them_by_force(store: AStore) {
    let live = add(&store, job()).await;
    claim(&store, 7).await;
    let waiting = add(&store, job()).await;
    let over = add(&store, job()).await;
    cancel(&store, cancel_of(over)).await;
    let operation = start(&store, new(OperationAction::Cancel)).await;
    let all = targets([live, waiting, over].map(|id| (id, None)));
    let answer = store.run_batch(batch(&operation, all), at(2), store.term).await.expect("run");
    let BatchAnswer::Done { operation, jobs } = answer else { panic!("{answer:?}") };
    let held = Some((Incarnation(1), ExecutionId(7)));
    let expected = [
        BatchedJob { job: live, outcome: BatchOutcome::Stopping, held },
        BatchedJob { job: waiting, outcome: BatchOutcome::Changed, held: None },
        BatchedJob { job: over, outcome: BatchOutcome::AlreadyEnded, held: None },
    ];
    assert_eq!(jobs, expected);
    assert_eq!((operation.changed, operation.stopping, operation.left.already_ended), (2, 1, 1));
    assert_eq!(status(&store, live).await, JobStatus::Dispatched);
    let request = get(&store, waiting).await.state.cancel.expect("a request");
    assert_eq!((request.reason.as_deref(), request.by.as_deref()), (Some("why"), Some("ada@host")));
    let force = NewOperation { force: true, ..new(OperationAction::Cancel) };
    let force = start(&store, force).await;
    let (_, jobs) = run(&store, batch(&force, targets([(live, None)]))).await;
    assert_eq!(jobs, [(live, BatchOutcome::Changed)]);
    assert_eq!(status(&store, live).await, JobStatus::Cancelled);
    assert!(store.live_attempts().await.expect("read").is_empty());
}

/// A deletion bounds the chunks of one batch, and a job goes with its last chunk.
pub async fn a_batch_of_a_deletion_deletes_a_few_chunks_of_logs_at_a_time(store: AStore) {
    let mut ids = Vec::new();
    for (execution, chunks) in [(1, 1), (2, 5), (3, 1)] {
        let id = add(&store, job()).await;
        claim(&store, execution).await;
        let chunks = (1..=chunks).map(|seq| chunk(id, 1, seq, Stream::Out, "x")).collect();
        store.append_logs(chunks).await.expect("append");
        let _ = send(&store, outcome(id, execution, succeeded())).await;
        ids.push(id);
    }
    let waiting = add(&store, job()).await;
    let mut operation = start(&store, new(OperationAction::Remove)).await;
    let mut rounds = 0;
    while operation.status == OperationStatus::Running {
        let left = ids.iter().chain([&waiting]).filter(|id| **id > operation.cursor);
        let left = targets(left.map(|id| (*id, None)));
        operation = run(&store, OperationBatch { chunks: 4, ..batch(&operation, left) }).await.0;
        rounds += 1;
        assert!(rounds < 9, "{operation:?}");
        for id in &ids {
            let log = store.read_logs(whole(*id)).await.expect("read");
            let known = store.job(*id).await.expect("read").is_some();
            assert!(known || log.is_empty(), "a log without its job");
        }
    }
    assert!(rounds > 1, "one batch deleted more chunks than it may");
    assert_eq!((operation.changed, operation.left.not_ended), (3, 1));
    assert!(store.jobs(ids).await.expect("read").is_empty());
    let counts = store.queue_counts().await.expect("counts")[0].1;
    assert_eq!((counts.pending, counts.completed), (1, 0));
}

/// A dead letter goes, and its job stays.
pub async fn a_batch_removes_dead_letters_and_leaves_their_jobs(store: AStore) {
    let letter = dead(&store, 1).await;
    let none = add(&store, job()).await;
    let operation = start(&store, new(OperationAction::RemoveDeadLetters)).await;
    let (_, jobs) = run(&store, batch(&operation, targets([(letter, None), (none, None)]))).await;
    assert_eq!(jobs, [(letter, BatchOutcome::Changed), (none, BatchOutcome::NotEnded)]);
    assert_eq!(store.dead_letter_count(9).await.expect("read"), 0);
    assert_eq!(status(&store, letter).await, JobStatus::Failed);
}

/// Whichever way a dead letter goes, its cause counts one less at once.
pub async fn batches_keep_the_counts_of_causes(store: AStore) {
    let letters = [dead(&store, 1).await, dead(&store, 2).await, dead(&store, 3).await];
    let one_by_one =
        [OperationAction::RemoveDeadLetters, OperationAction::Retry, OperationAction::Remove];
    for (action, letter) in one_by_one.into_iter().zip(letters) {
        let operation = start(&store, new(action)).await;
        let (_, jobs) = run(&store, batch(&operation, targets([(letter, None)]))).await;
        assert_eq!(jobs, [(letter, BatchOutcome::Changed)]);
        let every = Filter::parse("", NOW, &UtcClock).expect("a filter");
        let request = CausesRequest { filter: every, after: None, limit: 9 };
        let page = store.causes(request, NOW).await.expect("causes");
        let counted: u64 = page.rows.iter().map(|row| row.count).sum();
        assert_eq!(counted, store.dead_letter_count(9).await.expect("counted"));
    }
    let missing = store.assign_causes(9, store.term).await.expect("assigned");
    assert_eq!(missing, 0, "no job keeps the cause of a dead letter that it has no longer");
}

/// The ids come in order, at most a batch at a time.
pub async fn the_ids_of_an_operation_are_read_piece_by_piece(store: AStore) {
    let ids: Vec<JobId> = (1..=1_200).map(|id| JobId(id * 2)).collect();
    let named = NewOperation { filter: None, ids: ids.clone(), ..new(OperationAction::Cancel) };
    let operation = start(&store, named).await;
    assert_eq!(operation.upto, JobId(2_400));
    let (mut found, mut after) = (Vec::new(), JobId(0));
    loop {
        let next = store.operation_targets(operation.id, after).await.expect("read");
        assert!(next.len() <= limits::OPERATION_BATCH);
        let Some(last) = next.last() else { break };
        after = *last;
        found.extend(next);
    }
    assert_eq!(found, ids);
    let next = store.operation_targets(operation.id, JobId(999)).await.expect("read");
    assert_eq!(next.first(), Some(&JobId(1_000)));
    assert!(store.operation_targets(OperationId(99), JobId(0)).await.expect("read").is_empty());
}

/// Operations go by the age of their end, a limited number at a time; running ones stay.
pub async fn old_operations_are_deleted(store: AStore) {
    let mut ids = Vec::new();
    for second in [5, 6, 9] {
        let named = NewOperation {
            filter: None,
            ids: vec![JobId(1)],
            key: Some((format!("k{second}"), "h".to_owned())),
            ..new(OperationAction::Cancel)
        };
        let id = start(&store, named).await.id;
        let end = OperationEnd::Cancelled { by: "ada".to_owned() };
        store.end_operation(id, end, at(second)).await.expect("ended");
        ids.push(id);
    }
    let running = start(&store, new(OperationAction::Cancel)).await.id;
    let forget = async |before, limit| {
        store.forget_operations(before, limit, store.term).await.expect("deleted")
    };
    assert_eq!(forget(at(5), 9).await, 0);
    assert_eq!(forget(at(7), 1).await, 1);
    assert_eq!(forget(at(7), 9).await, 1);
    let left = store.operations(None, 9).await.expect("read");
    assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [running, ids[2]]);
    assert!(store.operation_targets(ids[0], JobId(0)).await.expect("read").is_empty());
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(forget(at(9).saturating_add(day), 9).await, 1);
    assert_eq!(store.running_operations(9).await.expect("read").len(), 1);
}
