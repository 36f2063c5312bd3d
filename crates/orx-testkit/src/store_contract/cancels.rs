//! Cases of cancels, before and after the claim of a job.

use orx_model::{AttemptStatus, ExecutionId, Incarnation, JobId, JobStatus};
use orx_store::{CancelAnswer, CancelCommand, Recorded};

use super::{AStore, add, cancel, cancel_of, claim, claimed_ids, get, send, status};
use crate::make::{at, failed, job, not_before, outcome, succeeded};

/// Cancelling a `pending` or `scheduled` job takes effect at once.
pub async fn a_cancelled_waiting_job_is_never_claimed(store: AStore) {
    let pending = add(&store, job()).await;
    let scheduled = add(&store, not_before(at(2), job())).await;
    for id in [pending, scheduled] {
        let answer = cancel(&store, cancel_of(id)).await;
        assert_eq!(answer, CancelAnswer::Cancelled { stop: None });
    }
    store.promote_due(store.term, at(60), 100).await.expect("promote");
    assert_eq!(claimed_ids(&store, 9).await, [0_i64; 0]);
    let job = get(&store, pending).await;
    assert_eq!((job.state.status, job.state.finished_at), (JobStatus::Cancelled, Some(at(1))));
}

/// A cancel of a dispatched job is recorded; the end of the attempt makes it `cancelled`, not a
/// dead letter.
pub async fn a_cancel_of_a_dispatched_job_waits_for_the_attempts_end(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 7).await;
    let answer = cancel(&store, cancel_of(id)).await;
    let (worker, execution) = (Incarnation(1), ExecutionId(7));
    let status_now = JobStatus::Dispatched;
    assert_eq!(answer, CancelAnswer::Cancelling { worker, execution, status: status_now });
    assert_eq!(status(&store, id).await, JobStatus::Dispatched);
    assert!(store.live_attempts().await.expect("read")[0].cancel_requested);
    let _ = send(&store, outcome(id, 7, failed())).await;
    assert_eq!(status(&store, id).await, JobStatus::Cancelled);
    assert_eq!(store.dead_letter_count(9).await.expect("read"), 0);
}

/// An attempt that succeeds after the cancel request leaves the job `completed`.
pub async fn a_success_that_commits_first_wins_over_a_cancel(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 7).await;
    cancel(&store, cancel_of(id)).await;
    let _ = send(&store, outcome(id, 7, succeeded())).await;
    assert_eq!(status(&store, id).await, JobStatus::Completed);
    let late = cancel(&store, cancel_of(id)).await;
    assert_eq!(late, CancelAnswer::AlreadyFinal { status: JobStatus::Completed });
}

/// A forced cancel ends a dispatched job at once; the outcome that follows is stale.
pub async fn a_forced_cancel_leaves_the_late_outcome_stale(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 7).await;
    let answer = cancel(&store, CancelCommand { force: true, ..cancel_of(id) }).await;
    let stop = Some((Incarnation(1), ExecutionId(7)));
    assert_eq!(answer, CancelAnswer::Cancelled { stop });
    assert!(store.live_attempts().await.expect("read").is_empty());
    let late = send(&store, outcome(id, 7, succeeded())).await;
    assert_eq!(late, Recorded::Stale { status: JobStatus::Cancelled });
    let attempts = store.attempts(id).await.expect("read");
    assert_eq!(attempts[0].status, AttemptStatus::Cancelled);
}

/// A cancel that expects another status, or names no job, changes nothing and returns which.
pub async fn a_cancel_in_another_status_or_of_no_job_changes_nothing(store: AStore) {
    let id = add(&store, job()).await;
    let expected = Some(JobStatus::Running);
    let answer = cancel(&store, CancelCommand { expected, ..cancel_of(id) }).await;
    assert_eq!(answer, CancelAnswer::NotInState { status: JobStatus::Pending });
    assert_eq!(cancel(&store, cancel_of(JobId(999))).await, CancelAnswer::Missing);
    assert_eq!(claimed_ids(&store, 9).await, [id.0]);
}
