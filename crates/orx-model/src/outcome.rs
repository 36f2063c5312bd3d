//! Decides what the end of an attempt means for its job. Every store calls this inside its transaction,
//! so all stores decide alike.

use std::time::Duration;

use crate::attempt::{LostWith, Outcome, OutcomeKind};
use crate::job::{AttemptCounts, DeadReason};
use crate::policy::{OnLost, RetryPolicy};
use crate::status::JobEvent;
use crate::time::Timestamp;

/// Losses with a worker after which a job is a dead letter with the reason `poison`.
pub const LOST_MAX: u32 = 3;
/// Losses with a whole server after which a job is a dead letter with the reason `poison`.
pub const SERVER_LOST_MAX: u32 = 3;
/// Losses of either kind after which a job runs alone. A job that kills its server then takes no other
/// job with it, so the others do not reach [`SERVER_LOST_MAX`] or [`LOST_MAX`].
pub const ALONE_FROM: u32 = SERVER_LOST_MAX - 1;
const _: () = assert!(LOST_MAX == SERVER_LOST_MAX);
/// Interruptions and refusals after which a job is a dead letter, so that none is returned for ever.
pub const RETURNED_MAX: u32 = 20;
/// Wait before a refused job is dispatched again, so that a worker that refuses it does not loop.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The part of a job that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct RetryInputs {
    /// How often its attempts ended in each way so far.
    pub ends: AttemptCounts,
    /// The retry policy of the job.
    pub retry: RetryPolicy,
    /// What happens when its worker or server is lost.
    pub on_lost: OnLost,
    /// No attempt may start at or after this time.
    pub deadline: Option<Timestamp>,
    /// A cancel was requested.
    pub cancel_requested: bool,
}

/// What the end of an attempt means for its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// The event to apply to the status of the job.
    pub event: JobEvent,
    /// The counts, this attempt included.
    pub ends: AttemptCounts,
    /// When the job is due again, for [`JobEvent::RetryLater`] and [`JobEvent::GiveBack`]; `None`
    /// leaves it as it was.
    pub run_at: Option<Timestamp>,
    /// Why the store adds a dead letter in the same transaction; `None`: it adds none.
    pub dead: Option<DeadReason>,
}

/// Decides what `outcome` means for a job in this state. `draw` is uniform in 0..1 and spreads retries.
#[must_use]
pub fn resolve_outcome(
    inputs: &RetryInputs,
    outcome: &Outcome,
    now: Timestamp,
    draw: f64,
) -> Resolution {
    let kind = &outcome.kind;
    let mut ends = inputs.ends;
    let done = |event, ends| Resolution { event, ends, run_at: None, dead: None };
    if let OutcomeKind::Succeeded { .. } = kind {
        return done(JobEvent::Succeed, ends);
    }
    match kind {
        OutcomeKind::Failed { .. } | OutcomeKind::TimedOut => {
            ends.failed = ends.failed.saturating_add(1);
        }
        OutcomeKind::Lost { with: LostWith::Worker } => ends.lost = ends.lost.saturating_add(1),
        OutcomeKind::Lost { with: LostWith::Server } => {
            ends.server_lost = ends.server_lost.saturating_add(1);
        }
        OutcomeKind::Interrupted | OutcomeKind::Refused => {
            ends.returned = ends.returned.saturating_add(1);
        }
        OutcomeKind::Succeeded { .. }
        | OutcomeKind::Cancelled
        | OutcomeKind::Lost { with: LostWith::Fence }
        | OutcomeKind::HandedBack
        | OutcomeKind::Snoozed { .. } => {}
    }
    // After a cancel request, every end but success makes the job cancelled. A worker reports `Cancelled`
    // only after such a request.
    if inputs.cancel_requested || matches!(kind, OutcomeKind::Cancelled) {
        return done(JobEvent::Stopped, ends);
    }
    let dead_letter = |reason| {
        let event = match kind {
            OutcomeKind::TimedOut => JobEvent::GiveUpTimedOut,
            _ if reason == DeadReason::Deadline => JobEvent::GiveUpTimedOut,
            _ => JobEvent::GiveUp,
        };
        Resolution { event, ends, run_at: None, dead: Some(reason) }
    };
    let again = |event, wait: Duration| {
        let run_at = now.saturating_add(wait);
        match inputs.deadline {
            Some(deadline) if run_at >= deadline => dead_letter(DeadReason::Deadline),
            _ => Resolution { event, ends, run_at: Some(run_at), dead: None },
        }
    };
    match kind {
        OutcomeKind::Failed { retryable: false, .. } => dead_letter(DeadReason::NotRetryable),
        OutcomeKind::Failed { .. } | OutcomeKind::TimedOut
            if ends.failed > inputs.retry.retries =>
        {
            dead_letter(DeadReason::Exhausted)
        }
        OutcomeKind::Failed { retry_after_ms: Some(ms), .. } => {
            again(JobEvent::RetryLater, Duration::from_millis(*ms))
        }
        OutcomeKind::Failed { .. } | OutcomeKind::TimedOut => {
            again(JobEvent::RetryLater, inputs.retry.backoff(ends.failed, draw))
        }
        OutcomeKind::Lost { .. } if inputs.on_lost == OnLost::Fail => dead_letter(DeadReason::Lost),
        // At most once, whatever ended it. An attempt that never started counts as never dispatched.
        OutcomeKind::Interrupted
            if inputs.on_lost == OnLost::Fail && outcome.started_at.is_some() =>
        {
            dead_letter(DeadReason::Lost)
        }
        OutcomeKind::Lost { with: LostWith::Worker } => match ends.lost {
            LOST_MAX.. => dead_letter(DeadReason::Poison),
            lost => again(JobEvent::RetryLater, inputs.retry.backoff(lost, draw)),
        },
        OutcomeKind::Lost { with: LostWith::Server } => match ends.server_lost {
            SERVER_LOST_MAX.. => dead_letter(DeadReason::Poison),
            // One crash of a server is no evidence against the jobs that ran on it.
            0 | 1 => again(JobEvent::GiveBack, Duration::ZERO),
            lost => again(JobEvent::RetryLater, inputs.retry.backoff(lost - 1, draw)),
        },
        OutcomeKind::Lost { with: LostWith::Fence } => again(JobEvent::GiveBack, Duration::ZERO),
        OutcomeKind::Interrupted | OutcomeKind::Refused if ends.returned >= RETURNED_MAX => {
            dead_letter(DeadReason::Returned)
        }
        OutcomeKind::HandedBack => done(JobEvent::GiveBack, ends),
        OutcomeKind::Refused => again(JobEvent::RetryLater, REFUSED_PAUSE),
        OutcomeKind::Interrupted => again(JobEvent::GiveBack, Duration::ZERO),
        OutcomeKind::Snoozed { for_ms } => {
            again(JobEvent::RetryLater, Duration::from_millis(*for_ms))
        }
        OutcomeKind::Succeeded { .. } | OutcomeKind::Cancelled => done(JobEvent::Stopped, ends),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExecutionId, JobId};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn inputs() -> RetryInputs {
        RetryInputs {
            ends: AttemptCounts::default(),
            retry: RetryPolicy { retries: 1, jitter: 0.0, ..RetryPolicy::default() },
            on_lost: OnLost::Retry,
            deadline: None,
            cancel_requested: false,
        }
    }

    /// The outcome of an attempt that never started.
    fn ended(kind: OutcomeKind) -> Outcome {
        Outcome {
            job: JobId(1),
            execution: ExecutionId(1),
            kind,
            started_at: None,
            ended_at: NOW,
            error: None,
            exit: None,
        }
    }

    fn failed() -> OutcomeKind {
        OutcomeKind::Failed { retryable: true, retry_after_ms: None }
    }

    #[test]
    fn a_failure_is_tried_again_until_the_retries_are_used_up() {
        let first = resolve_outcome(&inputs(), &ended(failed()), NOW, 0.5);
        assert_eq!(first.event, JobEvent::RetryLater);
        assert_eq!(first.run_at, Some(NOW.saturating_add(Duration::from_secs(10))));

        let second = resolve_outcome(
            &RetryInputs { ends: first.ends, ..inputs() },
            &ended(failed()),
            NOW,
            0.5,
        );
        assert_eq!((second.event, second.dead), (JobEvent::GiveUp, Some(DeadReason::Exhausted)));
    }

    #[test]
    fn the_first_loss_of_the_server_retries_at_once_and_the_third_is_poison() {
        let died = ended(OutcomeKind::Lost { with: LostWith::Server });
        let first = resolve_outcome(&inputs(), &died, NOW, 0.5);
        assert_eq!((first.event, first.run_at), (JobEvent::GiveBack, Some(NOW)));
        assert_eq!(first.ends, AttemptCounts { server_lost: 1, ..AttemptCounts::default() });
        assert!(!first.ends.runs_alone());

        let second =
            resolve_outcome(&RetryInputs { ends: first.ends, ..inputs() }, &died, NOW, 0.5);
        let later = NOW.saturating_add(Duration::from_secs(10));
        assert_eq!((second.event, second.run_at), (JobEvent::RetryLater, Some(later)));
        assert!(second.ends.runs_alone());

        let third =
            resolve_outcome(&RetryInputs { ends: second.ends, ..inputs() }, &died, NOW, 0.5);
        assert_eq!((third.event, third.dead), (JobEvent::GiveUp, Some(DeadReason::Poison)));
    }

    #[test]
    fn a_fence_uses_no_retry_and_retries_at_once() {
        let lost = resolve_outcome(
            &inputs(),
            &ended(OutcomeKind::Lost { with: LostWith::Fence }),
            NOW,
            0.5,
        );
        assert_eq!((lost.event, lost.run_at), (JobEvent::GiveBack, Some(NOW)));
        assert_eq!(lost.ends, AttemptCounts::default());
    }

    #[test]
    fn the_third_counted_loss_is_poison_and_comes_while_the_job_runs_alone() {
        assert!(!AttemptCounts { lost: 1, ..AttemptCounts::default() }.runs_alone());
        let ends = AttemptCounts { lost: 2, ..AttemptCounts::default() };
        assert!(ends.runs_alone());
        let kind = OutcomeKind::Lost { with: LostWith::Worker };
        let third = resolve_outcome(&RetryInputs { ends, ..inputs() }, &ended(kind), NOW, 0.5);
        assert_eq!((third.event, third.dead), (JobEvent::GiveUp, Some(DeadReason::Poison)));
    }

    #[test]
    fn a_job_handed_back_uses_no_retry_and_keeps_its_due_time() {
        let back = resolve_outcome(&inputs(), &ended(OutcomeKind::HandedBack), NOW, 0.5);
        assert_eq!((back.event, back.run_at, back.dead), (JobEvent::GiveBack, None, None));
        assert_eq!(back.ends, AttemptCounts::default());
    }

    #[test]
    fn a_job_with_on_lost_fail_fails_when_it_is_lost() {
        let inputs = RetryInputs { on_lost: OnLost::Fail, ..inputs() };
        for with in [LostWith::Worker, LostWith::Server, LostWith::Fence] {
            let lost = resolve_outcome(&inputs, &ended(OutcomeKind::Lost { with }), NOW, 0.5);
            assert_eq!((lost.event, lost.dead), (JobEvent::GiveUp, Some(DeadReason::Lost)));
        }
    }

    #[test]
    fn a_job_with_on_lost_fail_fails_when_interrupted_unless_it_never_started() {
        let inputs = RetryInputs { on_lost: OnLost::Fail, ..inputs() };
        let started = Outcome { started_at: Some(NOW), ..ended(OutcomeKind::Interrupted) };
        let resolved = resolve_outcome(&inputs, &started, NOW, 0.5);
        assert_eq!((resolved.event, resolved.dead), (JobEvent::GiveUp, Some(DeadReason::Lost)));

        let resolved = resolve_outcome(&inputs, &ended(OutcomeKind::Interrupted), NOW, 0.5);
        assert_eq!((resolved.event, resolved.dead), (JobEvent::GiveBack, None));
    }

    #[test]
    fn under_a_cancel_any_end_but_success_is_cancelled() {
        let inputs = RetryInputs { cancel_requested: true, ..inputs() };
        for kind in [
            failed(),
            OutcomeKind::TimedOut,
            OutcomeKind::Cancelled,
            OutcomeKind::Interrupted,
            OutcomeKind::Refused,
            OutcomeKind::HandedBack,
            OutcomeKind::Lost { with: LostWith::Worker },
            OutcomeKind::Lost { with: LostWith::Server },
            OutcomeKind::Snoozed { for_ms: 1 },
        ] {
            let outcome = ended(kind);
            let resolved = resolve_outcome(&inputs, &outcome, NOW, 0.5);
            assert_eq!(resolved.event, JobEvent::Stopped, "{outcome:?}");
        }
        let success =
            resolve_outcome(&inputs, &ended(OutcomeKind::Succeeded { result: None }), NOW, 0.5);
        assert_eq!(success.event, JobEvent::Succeed);
    }

    #[test]
    fn no_try_starts_after_the_deadline() {
        let inputs =
            RetryInputs { deadline: Some(NOW.saturating_add(Duration::from_secs(5))), ..inputs() };
        let end = resolve_outcome(&inputs, &ended(failed()), NOW, 0.5);
        assert_eq!((end.event, end.dead), (JobEvent::GiveUpTimedOut, Some(DeadReason::Deadline)));
    }
}
