//! Rows as the words of the model.

use orx_model::job::{AttemptCounts, CancelRequest, Progress};
use orx_model::{
    Attempt, ExecutionId, Exit, Incarnation, Job, JobId, JobState, JobStatus, LiveAttempt, Name,
    Timestamp,
};
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::{Row as _, ValueRef as _};

use super::db_error::{DbError, DbResult};
use crate::codec;

/// A row, read by the places of its columns. Values come as the server keeps them.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r>(pub(super) &'r PgRow);

impl<'r> Columns<'r> {
    fn raw(self, column: usize) -> DbResult<Option<&'r [u8]>> {
        let value = self.0.try_get_raw(column)?;
        if value.is_null() {
            return Ok(None);
        }
        match value.format() {
            PgValueFormat::Binary => value.as_bytes().map(Some).map_err(DbError::Unreadable),
            PgValueFormat::Text => Err(wrong(column, "text")),
        }
    }

    fn exact<const N: usize>(self, column: usize, what: &str) -> DbResult<Option<[u8; N]>> {
        let bytes = self.raw(column)?.map(<[u8; N]>::try_from).transpose();
        bytes.map_err(|_| wrong(column, what))
    }

    pub(super) fn is_null(self, column: usize) -> DbResult<bool> {
        Ok(self.raw(column)?.is_none())
    }

    pub(super) fn optional(self, column: usize) -> DbResult<Option<&'r str>> {
        let text = self.raw(column)?.map(str::from_utf8).transpose();
        text.map_err(|error| DbError::Unreadable(error.into()))
    }

    pub(super) fn str(self, column: usize) -> DbResult<&'r str> {
        self.optional(column)?.ok_or_else(|| wrong(column, "null"))
    }

    pub(super) fn text(self, column: usize) -> DbResult<String> {
        self.str(column).map(str::to_owned)
    }

    pub(super) fn optional_text(self, column: usize) -> DbResult<Option<String>> {
        Ok(self.optional(column)?.map(str::to_owned))
    }

    /// Of any whole number's type.
    pub(super) fn optional_int(self, column: usize) -> DbResult<Option<i64>> {
        let Some(bytes) = self.raw(column)? else { return Ok(None) };
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Some(i64::from_be_bytes(bytes)));
        }
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Some(i32::from_be_bytes(bytes).into()));
        }
        let bytes = bytes.try_into().map_err(|_| wrong(column, "no number"))?;
        Ok(Some(i16::from_be_bytes(bytes).into()))
    }

    pub(super) fn int(self, column: usize) -> DbResult<i64> {
        self.optional_int(column)?.ok_or_else(|| wrong(column, "null"))
    }

    pub(super) fn count(self, column: usize) -> DbResult<u32> {
        let number = self.int(column)?;
        u32::try_from(number).map_err(|_| wrong(column, &number.to_string()))
    }

    /// What is below nothing is nothing.
    pub(super) fn unsigned(self, column: usize) -> DbResult<u64> {
        Ok(u64::try_from(self.int(column)?).unwrap_or(0))
    }

    pub(super) fn optional_float(self, column: usize) -> DbResult<Option<f64>> {
        Ok(self.exact(column, "no number")?.map(f64::from_be_bytes))
    }

    pub(super) fn optional_bool(self, column: usize) -> DbResult<Option<bool>> {
        Ok(self.exact(column, "neither yes nor no")?.map(|byte: [u8; 1]| byte != [0]))
    }

    pub(super) fn bool(self, column: usize) -> DbResult<bool> {
        self.optional_bool(column)?.ok_or_else(|| wrong(column, "null"))
    }

    pub(super) fn time(self, column: usize) -> DbResult<Timestamp> {
        self.int(column).map(Timestamp::from_millis)
    }

    pub(super) fn optional_time(self, column: usize) -> DbResult<Option<Timestamp>> {
        Ok(self.optional_int(column)?.map(Timestamp::from_millis))
    }

    pub(super) fn job(self, column: usize) -> DbResult<JobId> {
        self.int(column).map(JobId)
    }

    /// Ids with commas between them, or null for none.
    pub(super) fn jobs(self, column: usize) -> DbResult<Vec<JobId>> {
        let Some(text) = self.optional(column)? else { return Ok(Vec::new()) };
        let id = |id: &str| id.parse().map(JobId).map_err(|_| wrong(column, text));
        text.split(',').map(id).collect()
    }

    pub(super) fn name(self, column: usize) -> DbResult<Name> {
        self.optional_name(column)?.ok_or_else(|| wrong(column, "null"))
    }

    pub(super) fn optional_name(self, column: usize) -> DbResult<Option<Name>> {
        let Some(text) = self.optional(column)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| wrong(column, text))
    }

    /// The 128 bits of an id.
    pub(super) fn optional_id(self, column: usize) -> DbResult<Option<u128>> {
        Ok(self.exact(column, "no id")?.map(u128::from_be_bytes))
    }

    pub(super) fn id(self, column: usize) -> DbResult<u128> {
        self.optional_id(column)?.ok_or_else(|| wrong(column, "null"))
    }

    pub(super) fn execution(self, column: usize) -> DbResult<ExecutionId> {
        self.id(column).map(ExecutionId)
    }

    pub(super) fn incarnation(self, column: usize) -> DbResult<Incarnation> {
        self.id(column).map(Incarnation)
    }

    pub(super) fn status(self, column: usize) -> DbResult<JobStatus> {
        codec::status_of(self.int(column)?).ok_or_else(|| wrong(column, "no status"))
    }

    pub(super) fn json<T: DeserializeOwned>(self, column: usize) -> DbResult<T> {
        serde_json::from_str(self.str(column)?).map_err(|error| DbError::Unreadable(error.into()))
    }

    pub(super) fn bytes(self, column: usize) -> DbResult<Vec<u8>> {
        self.raw(column)?.map(<[u8]>::to_vec).ok_or_else(|| wrong(column, "null"))
    }

    /// Of two columns, code and signal.
    pub(super) fn exit(self, column: usize) -> DbResult<Option<Exit>> {
        let number = |column| {
            let number = self.optional_int(column)?.map(i32::try_from).transpose();
            number.map_err(|_| wrong(column, "no exit"))
        };
        if let Some(code) = number(column)? {
            return Ok(Some(Exit::Code(code)));
        }
        Ok(number(column + 1)?.map(Exit::Signal))
    }
}

/// What [`job`] reads, in its order, of `jobs j`, with or without what may be large.
macro_rules! job_columns {
    ($result:literal, $spec:literal) => {
        concat!(
            "j.id, j.status, j.run_at, j.created_at, j.attempt, j.failed, j.lost, j.returned, \
             j.execution, j.worker, j.worker_name, j.claimed_at, j.started_at, j.percent, \
             j.progress, j.cancel_at, j.cancel_reason, j.cancel_by, j.finished_at, \
             j.last_started_at, j.last_worker, j.last_error, j.last_exit_code, \
             j.last_exit_signal, j.dead, ",
            $result,
            ", ",
            $spec,
            ", j.epoch, j.dead_at, j.expire_at, j.server_lost"
        )
    };
}

pub(super) const JOB: &str = concat!(
    "SELECT ",
    job_columns!("r.result", "s.spec"),
    " FROM jobs j LEFT JOIN specs s ON s.job = j.id LEFT JOIN results r ON r.job = j.id"
);
/// A large spec is not read, but its head.
pub(super) const SUMMARY: &str = job_columns!("null::text", "coalesce(s.head, s.spec)");
/// Without the result.
pub(super) const WITH_ARGS: &str = job_columns!("null::text", "s.spec");
/// So many columns these are.
pub(super) const COLUMNS: usize = 31;

/// Those that can be read. The others are told of here, and hide none.
pub(super) fn readable<'r, T>(
    what: &str,
    rows: &'r [PgRow],
    read: impl Fn(&'r PgRow) -> DbResult<T>,
) -> DbResult<Vec<T>> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(row) => all.push(row),
            Err(DbError::Unreadable(error)) => {
                tracing::error!(what, %error, "a row that cannot be read is passed over");
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(all)
}

/// As [`job`]; of one that cannot be read what can be.
pub(super) fn job_or_stub(row: &PgRow) -> DbResult<Job> {
    let error = match job(row) {
        Err(DbError::Unreadable(error)) => error,
        read => return read,
    };
    let row = Columns(row);
    let id = row.job(0)?;
    tracing::error!(job = %id, %error, "a job cannot be read");
    let created_at = row.time(3).unwrap_or_default();
    // What cannot be said to go on is said to have failed: nobody waits for it in vain.
    let status = row.status(1).unwrap_or(JobStatus::Failed);
    let mut job = Job::unreadable(id, status, created_at, error.to_string());
    job.state = JobState {
        run_at: row.time(2).unwrap_or(created_at),
        attempt: row.count(4).unwrap_or_default(),
        finished_at: row.optional_time(18).ok().flatten(),
        dead: row.optional(24).ok().flatten().and_then(codec::dead_reason),
        ..job.state
    };
    Ok(job)
}

pub(super) fn job(row: &PgRow) -> DbResult<Job> {
    let row = Columns(row);
    Ok(Job {
        id: row.job(0)?,
        spec: row.json(26)?,
        state: JobState {
            status: row.status(1)?,
            created_at: row.time(3)?,
            run_at: row.time(2)?,
            attempt: row.count(4)?,
            live: live(row)?,
            ends: AttemptCounts {
                failed: row.count(5)?,
                lost: row.count(6)?,
                server_lost: row.count(30)?,
                returned: row.count(7)?,
            },
            cancel: match row.optional_time(15)? {
                Some(at) => {
                    let (reason, by) = (row.optional_text(16)?, row.optional_text(17)?);
                    Some(CancelRequest { at, reason, by })
                }
                None => None,
            },
            finished_at: row.optional_time(18)?,
            started_at: row.optional_time(19)?,
            worker: row.optional_name(20)?,
            error: row.optional_text(21)?,
            exit: row.exit(22)?,
            result: match row.optional(25)? {
                Some(_) => Some(row.json(25)?),
                None => None,
            },
            dead: match row.optional(24)? {
                Some(text) => Some(codec::dead_reason(text).ok_or_else(|| wrong(24, text))?),
                None => None,
            },
            unreadable: None,
        },
    })
}

fn live(row: Columns<'_>) -> DbResult<Option<LiveAttempt>> {
    let Some(execution) = row.optional_id(8)? else { return Ok(None) };
    Ok(Some(LiveAttempt {
        execution: ExecutionId(execution),
        worker: row.incarnation(9)?,
        worker_name: row.name(10)?,
        epoch: row.unsigned(27)?,
        claimed_at: row.time(11)?,
        started_at: row.optional_time(12)?,
        progress: match row.optional_float(13)? {
            Some(percent) => Some(Progress { percent, text: row.optional_text(14)? }),
            None => None,
        },
    }))
}

/// What [`attempt`] reads, in its order. What its log lacks is asked for beside the log only.
pub(super) const ATTEMPT: &str = "SELECT number, execution, worker, worker_name, status, \
     claimed_at, started_at, ended_at, error, exit_code, exit_signal, epoch, job, 0::bigint FROM attempts";

pub(super) fn attempt(row: &PgRow) -> DbResult<Attempt> {
    let row = Columns(row);
    let text = row.str(4)?;
    Ok(Attempt {
        job: row.job(12)?,
        number: row.count(0)?,
        execution: row.execution(1)?,
        worker: row.incarnation(2)?,
        worker_name: row.name(3)?,
        epoch: row.unsigned(11)?,
        status: codec::attempt_status(text).ok_or_else(|| wrong(4, text))?,
        claimed_at: row.time(5)?,
        started_at: row.optional_time(6)?,
        ended_at: row.optional_time(7)?,
        error: row.optional_text(8)?,
        exit: row.exit(9)?,
        dropped_bytes: row.unsigned(13)?,
    })
}

pub(super) fn wrong(column: usize, found: &str) -> DbError {
    let found: String = found.chars().take(80).collect();
    DbError::Unreadable(format!("found `{found}` in column {column}").into())
}
