//! Converts values of the model to and from columns, the same way in every dialect.

use std::collections::HashMap;

use orx_model::job::DeadReason;
use orx_model::log::Stream;
use orx_model::message::{Dispatch, WorkerDirective, WorkerRegistration, WorkerState};
use orx_model::schedule::{SkipReason, SlotOutcome};
use orx_model::text::truncate_bytes;
use orx_model::{
    AttemptStatus, Capabilities, ExecutionId, Incarnation, JobId, JobSpec, JobStatus, Name, OnLost,
    Priority, ProcessExit, RetryPolicy, Timestamp, limits,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ClockNote;

pub(crate) fn status_code(status: JobStatus) -> i64 {
    match status {
        JobStatus::Created => 0,
        JobStatus::Pending => 1,
        JobStatus::Scheduled => 2,
        JobStatus::Dispatched => 3,
        JobStatus::Running => 4,
        JobStatus::Completed => 5,
        JobStatus::Failed => 6,
        JobStatus::TimedOut => 7,
        JobStatus::Cancelled => 8,
    }
}

pub(crate) fn status_of(code: i64) -> Option<JobStatus> {
    usize::try_from(code).ok().and_then(|place| JobStatus::ALL.get(place).copied())
}

/// Priority rank as the column `priority_rank` holds it: 0 for critical, higher for less important jobs.
pub(crate) fn priority_rank(priority: Priority) -> i64 {
    i64::from(Priority::Critical.rank()) - i64::from(priority.rank())
}

pub(crate) fn stream_code(stream: Stream) -> i64 {
    match stream {
        Stream::Out => 0,
        Stream::Err => 1,
        Stream::Log => 2,
    }
}

pub(crate) fn stream_of(code: i64) -> Option<Stream> {
    usize::try_from(code).ok().and_then(|place| Stream::ALL.get(place).copied())
}

pub(crate) fn attempt_status(text: &str) -> Option<AttemptStatus> {
    use AttemptStatus as S;
    [
        S::Dispatched,
        S::Running,
        S::Succeeded,
        S::Failed,
        S::TimedOut,
        S::Cancelled,
        S::Interrupted,
        S::Lost,
        S::Refused,
    ]
    .into_iter()
    .find(|status| status.as_str() == text)
}

pub(crate) fn dead_reason(text: &str) -> Option<DeadReason> {
    use DeadReason as R;
    [R::Exhausted, R::NotRetryable, R::Poison, R::Returned, R::Lost, R::Deadline]
        .into_iter()
        .find(|reason| reason.as_str() == text)
}

pub(crate) fn order_of(text: &str) -> Option<WorkerDirective> {
    [WorkerDirective::Drain, WorkerDirective::Fence]
        .into_iter()
        .find(|order| order.as_str() == text)
}

pub(crate) fn worker_state(text: &str) -> Option<WorkerState> {
    use WorkerState as S;
    [S::Starting, S::Running, S::Draining, S::Stopping, S::Stopped]
        .into_iter()
        .find(|state| state.as_str() == text)
}

fn reason_word(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Overlap => "overlap",
        SkipReason::OneWaits => "one_waits",
        SkipReason::Paused => "paused",
    }
}

/// The outcome of a slot, as the columns of a ledger hold it.
pub(crate) struct SlotColumns {
    pub(crate) outcome: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) job: Option<i64>,
    pub(crate) late_ms: Option<i64>,
}

pub(crate) fn slot_columns(outcome: &SlotOutcome) -> SlotColumns {
    let (reason, job, late_ms) = match *outcome {
        SlotOutcome::Ran { job, late_ms } | SlotOutcome::CaughtUp { job, late_ms } => {
            (None, Some(job.0), Some(integer(late_ms)))
        }
        SlotOutcome::Skipped { reason } => (Some(reason_word(reason)), None, None),
        SlotOutcome::Missed => (None, None, None),
        SlotOutcome::ClockSet { by_ms } => (None, None, Some(by_ms)),
    };
    SlotColumns { outcome: outcome.as_str(), reason, job, late_ms }
}

pub(crate) fn slot_outcome(
    outcome: &str,
    reason: Option<&str>,
    job: Option<JobId>,
    late_ms: Option<i64>,
) -> Option<SlotOutcome> {
    let late = late_ms.map(|ms| u64::try_from(ms).unwrap_or(0));
    Some(match outcome {
        "ran" => SlotOutcome::Ran { job: job?, late_ms: late? },
        "caught_up" => SlotOutcome::CaughtUp { job: job?, late_ms: late? },
        "missed" => SlotOutcome::Missed,
        "clock_set" => SlotOutcome::ClockSet { by_ms: late_ms? },
        "skipped" => {
            use SkipReason as R;
            let all = [R::Overlap, R::OneWaits, R::Paused];
            let reason = all.into_iter().find(|known| Some(reason_word(*known)) == reason)?;
            SlotOutcome::Skipped { reason }
        }
        _ => return None,
    })
}

pub(crate) fn exit_columns(exit: Option<ProcessExit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(ProcessExit::Code(code)) => (Some(code), None),
        Some(ProcessExit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    }
}

/// As a column holds it; a number above the range becomes the highest of the range.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Milliseconds of an optional time.
pub(crate) fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

/// The earlier of two optional times.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The text, cut at a character boundary to the [`limits::ERROR_BYTES`] that a store keeps.
pub(crate) fn capped(text: &str) -> &str {
    truncate_bytes(text, limits::ERROR_BYTES)
}

/// Why the store cancels a waiting job: its deadline passed, or it expired.
pub(crate) fn over(deadline: Option<Timestamp>, now: Timestamp) -> &'static str {
    if deadline.is_some_and(|deadline| deadline <= now) { "deadline passed" } else { "expired" }
}

/// The error of an attempt that a forced cancel ended.
pub(crate) const FORCED: &str = "cancelled by force";

/// When an attempt started and ended, moved into the range from its claim to `now`. The worker's clock
/// may be wrong, and retention counts from the end.
pub(crate) fn span(
    claimed_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Timestamp,
    now: Timestamp,
) -> (Option<Timestamp>, Timestamp) {
    let ended_at = ended_at.min(now).max(claimed_at);
    (started_at.map(|at| at.min(ended_at).max(claimed_at)), ended_at)
}

/// The part of a spec that decides between retry and failure.
#[derive(Deserialize)]
pub(crate) struct Policy {
    /// The type of the job, for the cause of its dead letter.
    pub(crate) name: Name,
    pub(crate) retry: RetryPolicy,
    #[serde(default)]
    pub(crate) on_lost: OnLost,
}

/// The policy in the spec of a job. An unreadable spec allows no retry: the job may be one that must not
/// run twice, and no worker gets it anyway.
pub(crate) fn policy(job: JobId, spec: Option<&[u8]>) -> Policy {
    readable(job, spec).unwrap_or_else(|| {
        let JobSpec { name, retry, on_lost, .. } = JobSpec::unreadable();
        Policy { name, retry, on_lost }
    })
}

/// The spec of a job, or a part of it. Logs an unreadable spec and returns `None`, so that it does not
/// fail a batch.
pub(crate) fn readable<T: DeserializeOwned>(job: JobId, spec: Option<&[u8]>) -> Option<T> {
    let error = match spec.map(serde_json::from_slice) {
        Some(Ok(read)) => return Some(read),
        Some(Err(error)) => error.to_string(),
        None => "its row is missing".to_owned(),
    };
    tracing::error!(%job, error, "cannot read the spec of a job");
    None
}

/// Stands in for an unreadable registration: it offers nothing, and is enough to detect the loss of the
/// worker and release its attempts.
pub(crate) fn unreadable_worker(
    incarnation: Incarnation,
    name: &str,
    seen_at: Timestamp,
    why: &dyn std::fmt::Display,
) -> WorkerRegistration {
    tracing::error!(worker = %incarnation, %why, "cannot read the registration of a worker");
    WorkerRegistration {
        incarnation,
        name: Name::from_any(name),
        host: String::new(),
        pid: 0,
        version: "cannot be read".to_owned(),
        offer: Capabilities::default(),
        slots: 1,
        started_at: seen_at,
    }
}

/// The message that dispatches a job to a worker.
pub(crate) fn dispatch(
    job: JobId,
    attempt: u32,
    execution: ExecutionId,
    run_at: Timestamp,
    failed: u32,
    spec: JobSpec,
) -> Dispatch {
    Dispatch {
        job,
        attempt,
        execution,
        name: spec.name,
        queue: spec.queue,
        priority: spec.priority,
        args: spec.args,
        command: spec.command,
        timeout_ms: spec.timeout_ms,
        deadline: spec.deadline,
        run_at,
        retry: failed,
        correlation_id: spec.correlation_id,
        tags: spec.tags,
        schedule: spec.schedule,
    }
}

/// The note as rows: key and value.
pub(crate) fn clock_values(note: &ClockNote) -> Vec<(&'static str, i64)> {
    let mut values =
        vec![("clock_seen", note.seen.as_millis()), ("clock_jumps", integer(note.jumps))];
    if let Some((at, by_ms)) = note.last {
        values.extend([("clock_jump_at", at.as_millis()), ("clock_jump_by", by_ms)]);
    }
    values
}

pub(crate) fn clock_note(values: &HashMap<String, i64>) -> Option<ClockNote> {
    let value = |key: &str| values.get(key).copied();
    Some(ClockNote {
        seen: Timestamp::from_millis(value("clock_seen")?),
        jumps: value("clock_jumps").and_then(|jumps| jumps.try_into().ok()).unwrap_or_default(),
        last: value("clock_jump_at").map(Timestamp::from_millis).zip(value("clock_jump_by")),
    })
}
