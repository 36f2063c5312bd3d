//! Rows as the words of the model.

use orx_model::job::{AttemptCounts, CancelRequest, Progress};
use orx_model::log::Stream;
use orx_model::message::WorkerDirective;
use orx_model::{
    Attempt, ExecutionId, Exit, Incarnation, Job, JobId, JobState, JobStatus, LiveAttempt, Name,
    Timestamp,
};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};
use serde::de::DeserializeOwned;

use crate::codec::{attempt_status, dead_reason, order_of, status_of, stream_of};
pub(super) use crate::codec::{exit_columns, integer, millis, status_code, stream_code, urgency};

type Read<T> = rusqlite::Result<T>;

/// What [`job`] reads, in its order, with or without what may be large.
macro_rules! job {
    (result: $result:literal, spec: $spec:literal, from: $from:literal) => {
        concat!(
            "SELECT j.id, j.status, j.run_at, j.created_at, j.attempt, j.failed, j.lost, \
             j.returned, j.execution, j.worker, j.worker_name, j.claimed_at, j.started_at, \
             j.percent, j.progress, j.cancel_at, j.cancel_reason, j.cancel_by, j.finished_at, \
             j.last_started_at, j.last_worker, j.last_error, j.last_exit_code, \
             j.last_exit_signal, j.dead, ",
            $result,
            ", ",
            $spec,
            ", j.epoch, j.dead_at, j.expire_at, j.server_lost \
             FROM jobs j LEFT JOIN specs s ON s.job = j.id",
            $from
        )
    };
}

pub(super) const JOB: &str =
    job!(result: "r.result", spec: "s.spec", from: " LEFT JOIN results r ON r.job = j.id");
/// A large spec is not read, but its head.
pub(super) const SUMMARY: &str = job!(
    result: "NULL", spec: "coalesce(h.head, s.spec)",
    from: " LEFT JOIN heads h ON h.job = j.id"
);
/// Without the result.
pub(super) const WITH_ARGS: &str = job!(result: "NULL", spec: "s.spec", from: "");

/// The row was read, and does not hold what it should: no word of the file or the disk.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error,
        E::FromSqlConversionFailure(..)
            | E::InvalidColumnType(..)
            | E::IntegralValueOutOfRange(..)
            | E::Utf8Error(..)
    )
}

/// Those that can be read. The others are told of here, and hide none.
pub(super) fn readable<T>(what: &str, rows: impl Iterator<Item = Read<T>>) -> Read<Vec<T>> {
    let mut all = Vec::new();
    for row in rows {
        match row {
            Ok(row) => all.push(row),
            Err(error) if is_unreadable(&error) => {
                tracing::error!(what, %error, "a row that cannot be read is passed over");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// As [`job`]; of one that cannot be read what can be.
pub(super) fn job_or_stub(row: &Row<'_>) -> Read<Job> {
    let error = match job(row) {
        Err(error) if is_unreadable(&error) => error,
        read => return read,
    };
    let id = JobId(row.get(0)?);
    tracing::error!(job = %id, %error, "a job cannot be read");
    let created_at = time(row, 3).unwrap_or_default();
    // What cannot be said to go on is said to have failed: nobody waits for it in vain.
    let status = status(row, 1).unwrap_or(JobStatus::Failed);
    let dead = row.get_ref(24).ok().and_then(|value| value.as_str().ok().and_then(dead_reason));
    let mut job = Job::unreadable(id, status, created_at, error.to_string());
    job.state = JobState {
        run_at: time(row, 2).unwrap_or(created_at),
        attempt: row.get(4).unwrap_or_default(),
        finished_at: optional_time(row, 18).ok().flatten(),
        dead,
        ..job.state
    };
    Ok(job)
}

pub(super) fn job(row: &Row<'_>) -> Read<Job> {
    Ok(Job {
        id: JobId(row.get(0)?),
        spec: json(row, 26)?,
        state: JobState {
            status: status(row, 1)?,
            created_at: time(row, 3)?,
            run_at: time(row, 2)?,
            attempt: row.get(4)?,
            live: live(row)?,
            ends: AttemptCounts {
                failed: row.get(5)?,
                lost: row.get(6)?,
                server_lost: row.get(30)?,
                returned: row.get(7)?,
            },
            cancel: match optional_time(row, 15)? {
                Some(at) => Some(CancelRequest { at, reason: row.get(16)?, by: row.get(17)? }),
                None => None,
            },
            finished_at: optional_time(row, 18)?,
            started_at: optional_time(row, 19)?,
            worker: optional_name(row, 20)?,
            error: row.get(21)?,
            exit: exit(row, 22)?,
            result: match row.get_ref(25)?.as_str_or_null()? {
                Some(_) => Some(json(row, 25)?),
                None => None,
            },
            dead: match row.get_ref(24)?.as_str_or_null()? {
                Some(text) => Some(dead_reason(text).ok_or_else(|| wrong(24, Type::Text, text))?),
                None => None,
            },
            unreadable: None,
        },
    })
}

fn live(row: &Row<'_>) -> Read<Option<LiveAttempt>> {
    if row.get_ref(8)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    Ok(Some(LiveAttempt {
        execution: execution(row, 8)?,
        worker: incarnation(row, 9)?,
        worker_name: name(row, 10)?,
        epoch: row.get::<_, Option<i64>>(27)?.unwrap_or_default().unsigned_abs(),
        claimed_at: time(row, 11)?,
        started_at: optional_time(row, 12)?,
        progress: match row.get(13)? {
            Some(percent) => Some(Progress { percent, text: row.get(14)? }),
            None => None,
        },
    }))
}

/// What [`attempt`] reads, in its order. What its log lacks is known from the log.
pub(super) const ATTEMPT: &str = "SELECT number, execution, worker, worker_name, status, \
     claimed_at, started_at, ended_at, error, exit_code, exit_signal, epoch FROM attempts";

pub(super) fn attempt(job: JobId, row: &Row<'_>) -> Read<Attempt> {
    let text = row.get_ref(4)?.as_str()?;
    Ok(Attempt {
        job,
        number: row.get(0)?,
        execution: execution(row, 1)?,
        worker: incarnation(row, 2)?,
        worker_name: name(row, 3)?,
        epoch: row.get::<_, i64>(11)?.unsigned_abs(),
        status: attempt_status(text).ok_or_else(|| wrong(4, Type::Text, text))?,
        claimed_at: time(row, 5)?,
        started_at: optional_time(row, 6)?,
        ended_at: optional_time(row, 7)?,
        error: row.get(8)?,
        exit: exit(row, 9)?,
        dropped_bytes: 0,
    })
}

pub(super) fn status(row: &Row<'_>, column: usize) -> Read<JobStatus> {
    let code: i64 = row.get(column)?;
    status_of(code).ok_or_else(|| wrong(column, Type::Integer, &code.to_string()))
}

pub(super) fn stream(row: &Row<'_>, column: usize) -> Read<Stream> {
    let code: i64 = row.get(column)?;
    stream_of(code).ok_or_else(|| wrong(column, Type::Integer, &code.to_string()))
}

/// Of two columns, code and signal.
fn exit(row: &Row<'_>, column: usize) -> Read<Option<Exit>> {
    if let Some(code) = row.get(column)? {
        return Ok(Some(Exit::Code(code)));
    }
    Ok(row.get::<_, Option<i32>>(column + 1)?.map(Exit::Signal))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Read<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> Read<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn name(row: &Row<'_>, column: usize) -> Read<Name> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|_| wrong(column, Type::Text, text))
}

pub(super) fn optional_name(row: &Row<'_>, column: usize) -> Read<Option<Name>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(_) => name(row, column).map(Some),
        None => Ok(None),
    }
}

pub(super) fn execution(row: &Row<'_>, column: usize) -> Read<ExecutionId> {
    row.get(column).map(ExecutionId::from_bytes)
}

pub(super) fn incarnation(row: &Row<'_>, column: usize) -> Read<Incarnation> {
    row.get(column).map(Incarnation::from_bytes)
}

/// What a person wants of a worker.
pub(super) fn order(row: &Row<'_>, column: usize) -> Read<Option<WorkerDirective>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => match order_of(text) {
            Some(order) => Ok(Some(order)),
            None => Err(wrong(column, Type::Text, text)),
        },
        None => Ok(None),
    }
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Read<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

pub(super) fn wrong(column: usize, kind: Type, found: &str) -> rusqlite::Error {
    let found: String = found.chars().take(80).collect();
    let error = FromSqlError::Other(format!("found `{found}`").into());
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
