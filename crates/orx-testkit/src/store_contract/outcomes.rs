//! Cases of the outcomes of attempts.

use orx_model::job::DeadReason;
use orx_model::{
    ExecutionId, JobId, JobSpec, JobStatus, Outcome, OutcomeKind, ProcessExit, RetryPolicy,
};
use orx_store::Recorded;

use super::{AStore, add, claim, get, send, status};
use crate::make::{at, failed, job, json, name, outcome, request, succeeded};

/// A failure delays the job by the backoff; the last one makes it a dead letter.
pub async fn failures_back_off_until_the_retries_are_used_up(store: AStore) {
    let retry = RetryPolicy { retries: 1, ..job().retry };
    let id = add(&store, JobSpec { retry, ..job() }).await;
    claim(&store, 1).await;
    let first = send(&store, outcome(id, 1, failed())).await;
    let run_at = Some(at(12));
    assert_eq!(first, Recorded::Applied { status: JobStatus::Scheduled, run_at });
    store.promote_due(store.term, at(12), 10).await.expect("promote");
    claim(&store, 2).await;
    let second = send(&store, outcome(id, 2, failed())).await;
    assert_eq!(second, Recorded::Applied { status: JobStatus::Failed, run_at: None });
    let job = get(&store, id).await;
    assert_eq!((job.state.attempt, job.state.dead), (2, Some(DeadReason::Exhausted)));
    assert_eq!(store.attempts(id).await.expect("read").len(), 2);
}

/// A timeout with no retries left makes the job `timed_out`.
pub async fn a_timeout_without_retries_left_ends_as_timed_out(store: AStore) {
    let id = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, OutcomeKind::TimedOut)).await;
    assert_eq!(status(&store, id).await, JobStatus::TimedOut);
}

/// The outcome of an execution that was replaced is stale.
pub async fn late_result_of_an_old_execution_changes_nothing(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, OutcomeKind::Interrupted)).await;
    claim(&store, 2).await;
    let late = send(&store, outcome(id, 1, succeeded())).await;
    assert_eq!(late, Recorded::Stale { status: JobStatus::Dispatched });
    let job = get(&store, id).await;
    assert_eq!(job.state.live.map(|live| live.execution), Some(ExecutionId(2)));
}

/// The second outcome of one execution is stale, within one batch too.
pub async fn an_outcome_reported_twice_is_recorded_once(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let twice = vec![outcome(id, 1, succeeded()), outcome(id, 1, failed())];
    let both = store.record_outcomes(twice, vec![0.5; 2], at(2)).await.expect("record");
    assert_eq!(both[0], Recorded::Applied { status: JobStatus::Completed, run_at: None });
    assert_eq!(both[1], Recorded::Stale { status: JobStatus::Completed });
    assert_eq!(store.attempts(id).await.expect("read").len(), 1);
}

/// Missing and stale outcomes of a batch do not keep the valid ones from being recorded.
pub async fn stale_outcomes_of_a_batch_do_not_block_the_others(store: AStore) {
    let one = add(&store, job()).await;
    let two = add(&store, job()).await;
    store.claim_ready(vec![request(1, 1, 2)], store.term, at(1)).await.expect("claim");
    let batch = vec![
        outcome(JobId(999), 5, succeeded()),
        outcome(one, 9, succeeded()),
        outcome(two, 2, succeeded()),
    ];
    let each = store.record_outcomes(batch, vec![0.5; 3], at(2)).await.expect("record");
    assert_eq!(each[0], Recorded::Missing);
    assert!(matches!(each[1], Recorded::Stale { .. }));
    assert!(matches!(each[2], Recorded::Applied { .. }));
    assert_eq!(status(&store, one).await, JobStatus::Dispatched);
}

/// Arguments and results are stored byte for byte, errors up to their limit, exits with them.
pub async fn results_errors_and_exits_are_stored(store: AStore) {
    let args = json(r#"{"b": 1.0, "a": [123456789012345678901234567890]}"#);
    let id = add(&store, JobSpec { args: args.clone(), ..job() }).await;
    assert_eq!(get(&store, id).await.spec.args.get(), args.get());
    claim(&store, 1).await;
    let failure = Outcome {
        error: Some("x".repeat(10_000)),
        exit: Some(ProcessExit::Code(3)),
        ..outcome(id, 1, failed())
    };
    let _ = send(&store, failure).await;
    let job = get(&store, id).await;
    assert_eq!(job.state.exit, Some(ProcessExit::Code(3)));
    assert_eq!(job.state.error.map(|error| error.len()), Some(orx_model::limits::ERROR_BYTES));
    store.promote_due(store.term, at(60), 10).await.expect("promote");
    claim(&store, 2).await;
    let result = json(r#"{"z":1.50}"#);
    let kind = OutcomeKind::Succeeded { result: Some(result.clone()) };
    let _ = send(&store, outcome(id, 2, kind)).await;
    let job = get(&store, id).await;
    assert_eq!(job.state.result.as_ref().map(|json| json.get()), Some(result.get()));
    assert_eq!((job.state.error, job.state.exit, job.state.attempt), (None, None, 2));
    assert_eq!(job.state.worker, Some(name("w")));
}
