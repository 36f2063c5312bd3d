//! Rows to the domain's types and back.

use orx_model::job::{CancelRequest, DeadReason, Ends, Progress};
use orx_model::{
    Attempt, AttemptStatus, Exit, ExecutionId, Incarnation, Job, JobId, JobSpec, JobStatus,
    LiveAttempt, Name, Timestamp,
};
use rusqlite::Row;
use rusqlite::types::Type;

pub(super) fn status_number(status: JobStatus) -> u8 {
    status as u8
}

pub(super) fn status(number: u8) -> rusqlite::Result<JobStatus> {
    JobStatus::ALL.get(usize::from(number)).copied().ok_or_else(|| strange("a status"))
}

/// What is not ours in the file: said, never guessed.
pub(super) fn strange(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, what.into())
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn time_if(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn execution(row: &Row<'_>, column: &str) -> rusqlite::Result<ExecutionId> {
    row.get(column).map(ExecutionId::from_bytes)
}

pub(super) fn incarnation(row: &Row<'_>, column: &str) -> rusqlite::Result<Incarnation> {
    row.get(column).map(Incarnation::from_bytes)
}

pub(super) fn exit(row: &Row<'_>) -> rusqlite::Result<Option<Exit>> {
    let code: Option<i32> = row.get("exit_code")?;
    let signal: Option<i32> = row.get("exit_signal")?;
    Ok(code.map(Exit::Code).or(signal.map(Exit::Signal)))
}

pub(super) fn exit_columns(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    }
}

/// Columns that [`job`] reads.
pub(super) const JOB: &str = "SELECT j.*, s.spec, r.result, d.reason FROM jobs j \
     JOIN specs s ON s.id = j.id \
     LEFT JOIN results r ON r.id = j.id \
     LEFT JOIN dead_letters d ON d.job = j.id";

pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let spec: JobSpec = json(row.get_ref("spec")?.as_str()?)?;
    let result: Option<String> = row.get("result")?;
    let reason: Option<String> = row.get("reason")?;
    Ok(Job {
        id: JobId(row.get("id")?),
        status: status(row.get("status")?)?,
        created_at: time(row, "created_at")?,
        run_at: time(row, "run_at")?,
        attempt: row.get("attempt")?,
        live: live_attempt(row)?,
        ends: Ends {
            failed: row.get("failed")?,
            lost: row.get("lost")?,
            returned: row.get("returned")?,
        },
        cancel: match time_if(row, "cancel_at")? {
            Some(at) => Some(CancelRequest {
                at,
                reason: row.get("cancel_reason")?,
                by: row.get("cancel_by")?,
            }),
            None => None,
        },
        finished_at: time_if(row, "finished_at")?,
        started_at: time_if(row, "last_started_at")?,
        worker: row.get::<_, Option<String>>("last_worker")?.map(|name| Name::from_any(&name)),
        error: row.get("error")?,
        exit: exit(row)?,
        result: result.as_deref().map(json).transpose()?,
        dead: reason.as_deref().map(dead_reason).transpose()?,
        name: spec.name,
        queue: spec.queue,
        priority: spec.priority,
        args: spec.args,
        command: spec.command,
        retry: spec.retry,
        timeout_ms: spec.timeout_ms,
        deadline: spec.deadline,
        expires_at: spec.expires_at,
        on_lost: spec.on_lost,
        require: spec.require,
        tags: spec.tags,
        corr: spec.corr,
        key: spec.key,
        by: spec.by,
    })
}

pub(super) fn dead_reason(text: &str) -> rusqlite::Result<DeadReason> {
    serde_json::from_value(text.into()).map_err(|_| strange("a dead letter's reason"))
}

fn live_attempt(row: &Row<'_>) -> rusqlite::Result<Option<LiveAttempt>> {
    let Some(bytes) = row.get::<_, Option<[u8; 16]>>("execution")? else { return Ok(None) };
    let percent: Option<f64> = row.get("percent")?;
    let text: Option<String> = row.get("progress")?;
    Ok(Some(LiveAttempt {
        execution: ExecutionId::from_bytes(bytes),
        worker: incarnation(row, "worker")?,
        worker_name: Name::from_any(row.get_ref("worker_name")?.as_str()?),
        claimed_at: time(row, "claimed_at")?,
        started_at: time_if(row, "started_at")?,
        progress: percent.map(|percent| Progress { percent, text }),
    }))
}

pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let status: String = row.get("status")?;
    let status: AttemptStatus =
        serde_json::from_value(status.into()).map_err(|_| strange("an attempt's status"))?;
    Ok(Attempt {
        job: JobId(row.get("job")?),
        number: row.get("number")?,
        execution: execution(row, "execution")?,
        worker: incarnation(row, "worker")?,
        worker_name: Name::from_any(row.get_ref("worker_name")?.as_str()?),
        status,
        claimed_at: time(row, "claimed_at")?,
        started_at: time_if(row, "started_at")?,
        ended_at: time_if(row, "ended_at")?,
        error: row.get("error")?,
        exit: exit(row)?,
    })
}

pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
