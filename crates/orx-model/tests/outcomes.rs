//! What the end of an attempt means for its job: the next status, the due time, the counts, the dead letter.

use std::time::Duration;

use orx_model::job::{AttemptCounts, DeadReason};
use orx_model::outcome::{self, Resolution, RetryInputs};
use orx_model::{
    ExecutionId, JobEvent, JobId, LostWith, OnLost, Outcome, OutcomeKind, RetryPolicy, Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// One retry after 10 s, two after 20 s, without jitter.
fn inputs(ends: AttemptCounts) -> RetryInputs {
    RetryInputs {
        ends,
        retry: RetryPolicy { retries: 2, jitter: 0.0, ..RetryPolicy::default() },
        on_lost: OnLost::Retry,
        deadline: None,
        cancel_requested: false,
    }
}

fn fresh() -> RetryInputs {
    inputs(AttemptCounts::default())
}

fn ended(inputs: &RetryInputs, kind: OutcomeKind) -> Resolution {
    let outcome = Outcome {
        job: JobId(1),
        execution: ExecutionId(1),
        kind,
        started_at: Some(NOW),
        ended_at: NOW,
        error: None,
        exit: None,
    };
    outcome::resolve_outcome(inputs, &outcome, NOW, 0.5)
}

fn after(seconds: u64) -> Option<Timestamp> {
    Some(NOW.saturating_add(Duration::from_secs(seconds)))
}

fn failed() -> OutcomeKind {
    OutcomeKind::Failed { retryable: true, retry_after_ms: None }
}

fn lost(with: LostWith) -> OutcomeKind {
    OutcomeKind::Lost { with }
}

/// The job is a dead letter for this reason, with this event.
fn dead(resolved: Resolution, event: JobEvent, reason: DeadReason) -> AttemptCounts {
    let Resolution { ends, .. } = resolved;
    assert_eq!(resolved, Resolution { event, ends, run_at: None, dead: Some(reason) });
    ends
}

/// The job gets another try, due at this time.
fn again(resolved: Resolution, event: JobEvent, run_at: Option<Timestamp>) -> AttemptCounts {
    let Resolution { ends, .. } = resolved;
    assert_eq!(resolved, Resolution { event, ends, run_at, dead: None });
    ends
}

#[test]
fn each_failure_counts_and_waits_longer_until_no_retry_is_left() {
    let first = again(ended(&fresh(), failed()), JobEvent::RetryLater, after(10));
    assert_eq!(first, AttemptCounts { failed: 1, ..AttemptCounts::default() });
    let second = again(ended(&inputs(first), failed()), JobEvent::RetryLater, after(20));
    let third = dead(ended(&inputs(second), failed()), JobEvent::GiveUp, DeadReason::Exhausted);
    assert_eq!(third.failed, 3);
}

#[test]
fn a_timeout_is_retried_like_a_failure_and_the_last_one_ends_the_job_as_timed_out() {
    let first = ended(&fresh(), OutcomeKind::TimedOut);
    let first = again(first, JobEvent::RetryLater, after(10));
    assert_eq!(first, AttemptCounts { failed: 1, ..AttemptCounts::default() });
    let used_up = inputs(AttemptCounts { failed: 2, ..AttemptCounts::default() });
    let last = ended(&used_up, OutcomeKind::TimedOut);
    dead(last, JobEvent::GiveUpTimedOut, DeadReason::Exhausted);
}

#[test]
fn a_failure_that_is_not_retryable_ends_the_job_though_retries_are_left() {
    let kind = OutcomeKind::Failed { retryable: false, retry_after_ms: Some(1_000) };
    let ends = dead(ended(&fresh(), kind), JobEvent::GiveUp, DeadReason::NotRetryable);
    assert_eq!(ends.failed, 1);
}

#[test]
fn a_failure_that_names_a_wait_is_retried_after_it_and_uses_a_retry() {
    let kind = OutcomeKind::Failed { retryable: true, retry_after_ms: Some(77_000) };
    let ends = again(ended(&fresh(), kind.clone()), JobEvent::RetryLater, after(77));
    assert_eq!(ends.failed, 1);
    let used_up = inputs(AttemptCounts { failed: 2, ..AttemptCounts::default() });
    dead(ended(&used_up, kind), JobEvent::GiveUp, DeadReason::Exhausted);
}

#[test]
fn losses_with_the_worker_wait_as_failures_do_and_use_no_retry() {
    let no_retry = RetryInputs { retry: RetryPolicy { retries: 0, ..fresh().retry }, ..fresh() };
    let first = ended(&no_retry, lost(LostWith::Worker));
    let first = again(first, JobEvent::RetryLater, after(10));
    assert_eq!(first, AttemptCounts { lost: 1, ..AttemptCounts::default() });
    let second = ended(&RetryInputs { ends: first, ..no_retry }, lost(LostWith::Worker));
    let second = again(second, JobEvent::RetryLater, after(20));
    assert_eq!(second, AttemptCounts { lost: 2, ..AttemptCounts::default() });
}

#[test]
fn an_interrupted_job_is_due_at_once_and_a_refused_one_after_a_pause() {
    let interrupted = ended(&fresh(), OutcomeKind::Interrupted);
    let interrupted = again(interrupted, JobEvent::GiveBack, Some(NOW));
    assert_eq!(interrupted, AttemptCounts { returned: 1, ..AttemptCounts::default() });
    let refused = ended(&fresh(), OutcomeKind::Refused);
    let refused = again(refused, JobEvent::RetryLater, after(1));
    assert_eq!(refused, AttemptCounts { returned: 1, ..AttemptCounts::default() });
}

#[test]
fn a_job_that_workers_return_twenty_times_is_a_dead_letter() {
    for kind in [OutcomeKind::Interrupted, OutcomeKind::Refused] {
        let returned = |times| inputs(AttemptCounts { returned: times, ..Default::default() });
        assert_eq!(ended(&returned(18), kind.clone()).dead, None);
        let last = ended(&returned(19), kind);
        assert_eq!(dead(last, JobEvent::GiveUp, DeadReason::Returned).returned, 20);
    }
}

#[test]
fn a_job_that_snoozes_is_due_after_its_wait_at_no_cost() {
    let ends = ended(&fresh(), OutcomeKind::Snoozed { for_ms: 3_000 });
    assert_eq!(again(ends, JobEvent::RetryLater, after(3)), AttemptCounts::default());
}

#[test]
fn an_attempt_reported_as_cancelled_ends_the_job_without_a_dead_letter() {
    let ends = again(ended(&fresh(), OutcomeKind::Cancelled), JobEvent::Stopped, None);
    assert_eq!(ends, AttemptCounts::default());
}

#[test]
fn a_success_counts_nothing_and_needs_no_due_time() {
    let success = ended(&fresh(), OutcomeKind::Succeeded { result: None });
    assert_eq!(again(success, JobEvent::Succeed, None), AttemptCounts::default());
}

#[test]
fn a_try_may_start_before_the_deadline_and_not_at_it() {
    let until = |deadline| RetryInputs { deadline, ..fresh() };
    let just_after = after(10).map(|at| Timestamp::from_millis(at.as_millis() + 1));
    again(ended(&until(just_after), failed()), JobEvent::RetryLater, after(10));
    dead(ended(&until(after(10)), failed()), JobEvent::GiveUpTimedOut, DeadReason::Deadline);
    // Whatever ended the attempt.
    for kind in [lost(LostWith::Fence), OutcomeKind::Interrupted, OutcomeKind::Refused] {
        let late = ended(&until(Some(NOW)), kind);
        dead(late, JobEvent::GiveUpTimedOut, DeadReason::Deadline);
    }
}
