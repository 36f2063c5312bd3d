//! Reads jobs and attempts from columns by name, the same way in every dialect. A dialect implements
//! [`Row`] for its values.

use std::fmt::Display;

use orx_model::job::{AttemptCounts, CancelRequest, Progress};
use orx_model::wire::{Count, LeftAlone, OperationAction, OperationStatus};
use orx_model::{
    Attempt, ExecutionId, Incarnation, Job, JobId, JobState, JobStatus, LiveAttempt, Name,
    OperationId, ProcessExit, Timestamp,
};
use serde::de::DeserializeOwned;

use crate::{OperationRecord, codec};

/// A column of a row: a number, or a name with a number.
pub(crate) trait Column: Copy {
    /// Number of the column, from 0.
    fn place(self) -> usize;
}

impl Column for usize {
    fn place(self) -> usize {
        self
    }
}

/// Defines names of columns in the order of the SELECT, and the text that selects those of one table.
/// Columns of other tables follow after `then`.
macro_rules! columns {
    (
        $(#[$meta:meta])*
        $type:ident, $text:ident of $table:literal:
        $first:ident $(, $name:ident)*;
        then $($other:ident),*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        #[expect(non_camel_case_types, reason = "named as the columns are")]
        pub(crate) enum $type { $first, $($name,)* $($other,)* }

        impl Column for $type {
            fn place(self) -> usize {
                self as usize
            }
        }

        macro_rules! $text {
            () => { concat!($table, ".", stringify!($first) $(, ", ", $table, ".", stringify!($name))*) };
        }
        pub(crate) use $text;
    };
}

columns! {
    /// The columns that [`job`] reads.
    JobColumn, job_columns of "j":
    id, status, run_at, expire_at, created_at, attempt, failed, lost, server_lost, returned,
    execution, worker, worker_name, epoch, claimed_at, started_at, percent, progress, cancel_at,
    cancel_reason, cancel_by, finished_at, last_started_at, last_worker, last_error,
    last_exit_code, last_exit_signal, dead, dead_at;
    then result, spec
}

columns! {
    /// The columns that [`attempt`] reads.
    AttemptColumn, attempt_columns of "a":
    job, number, execution, worker, worker_name, epoch, status, claimed_at, started_at, ended_at,
    error, exit_code, exit_signal;
    then dropped_bytes
}

columns! {
    /// The columns that [`operation`] reads.
    OperationColumn, operation_columns of "o":
    id, action, filter, zone, dead, force, rate, matched, matched_exact, upto, cursor, status, changed,
    stopping, already_ended, not_ended, not_found, in_use, reason, person, token, address, error,
    ended_by, created_at, ended_at;
    then job, worker, execution, outcome
}

/// One row of a result set.
pub(crate) trait Row<'r>: Copy {
    type Error;

    /// Accepts every integer type.
    fn optional_int(self, column: impl Column) -> Result<Option<i64>, Self::Error>;
    fn optional_float(self, column: impl Column) -> Result<Option<f64>, Self::Error>;
    fn optional_str(self, column: impl Column) -> Result<Option<&'r str>, Self::Error>;
    /// The 128 bits of an id.
    fn optional_id(self, column: impl Column) -> Result<Option<u128>, Self::Error>;
    /// The error of a row whose column holds no valid value.
    fn unreadable(column: impl Column, why: impl Display) -> Self::Error;
    /// The text of an error of [`Self::unreadable`]; returns any other error unchanged.
    fn why(error: Self::Error) -> Result<String, Self::Error>;

    fn wrong(column: impl Column, found: &str) -> Self::Error {
        let found: String = found.chars().take(80).collect();
        Self::unreadable(column, format_args!("found `{found}`"))
    }

    fn int(self, column: impl Column) -> Result<i64, Self::Error> {
        self.optional_int(column)?.ok_or_else(|| Self::wrong(column, "null"))
    }

    fn count(self, column: impl Column) -> Result<u32, Self::Error> {
        let number = self.int(column)?;
        u32::try_from(number).map_err(|_| Self::wrong(column, &number.to_string()))
    }

    /// A negative number becomes 0.
    fn unsigned(self, column: impl Column) -> Result<u64, Self::Error> {
        Ok(u64::try_from(self.int(column)?).unwrap_or(0))
    }

    fn str(self, column: impl Column) -> Result<&'r str, Self::Error> {
        self.optional_str(column)?.ok_or_else(|| Self::wrong(column, "null"))
    }

    fn text(self, column: impl Column) -> Result<String, Self::Error> {
        self.str(column).map(str::to_owned)
    }

    fn optional_text(self, column: impl Column) -> Result<Option<String>, Self::Error> {
        Ok(self.optional_str(column)?.map(str::to_owned))
    }

    fn time(self, column: impl Column) -> Result<Timestamp, Self::Error> {
        self.int(column).map(Timestamp::from_millis)
    }

    fn optional_time(self, column: impl Column) -> Result<Option<Timestamp>, Self::Error> {
        Ok(self.optional_int(column)?.map(Timestamp::from_millis))
    }

    fn job(self, column: impl Column) -> Result<JobId, Self::Error> {
        self.int(column).map(JobId)
    }

    fn id(self, column: impl Column) -> Result<u128, Self::Error> {
        self.optional_id(column)?.ok_or_else(|| Self::wrong(column, "null"))
    }

    fn execution(self, column: impl Column) -> Result<ExecutionId, Self::Error> {
        self.id(column).map(ExecutionId)
    }

    fn incarnation(self, column: impl Column) -> Result<Incarnation, Self::Error> {
        self.id(column).map(Incarnation)
    }

    fn name(self, column: impl Column) -> Result<Name, Self::Error> {
        self.optional_name(column)?.ok_or_else(|| Self::wrong(column, "null"))
    }

    fn optional_name(self, column: impl Column) -> Result<Option<Name>, Self::Error> {
        self.optional_with(column, |text| text.parse().ok())
    }

    fn status(self, column: impl Column) -> Result<JobStatus, Self::Error> {
        let code = self.int(column)?;
        codec::status_of(code).ok_or_else(|| Self::wrong(column, &code.to_string()))
    }

    fn optional_status(self, column: impl Column) -> Result<Option<JobStatus>, Self::Error> {
        match self.optional_int(column)? {
            Some(_) => self.status(column).map(Some),
            None => Ok(None),
        }
    }

    /// A value that `read` parses from text.
    fn with<T>(
        self,
        column: impl Column,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Self::Error> {
        let text = self.str(column)?;
        read(text).ok_or_else(|| Self::wrong(column, text))
    }

    fn optional_with<T>(
        self,
        column: impl Column,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Self::Error> {
        match self.optional_str(column)? {
            Some(_) => self.with(column, read).map(Some),
            None => Ok(None),
        }
    }

    fn json<T: DeserializeOwned>(self, column: impl Column) -> Result<T, Self::Error> {
        let read = serde_json::from_str(self.str(column)?);
        read.map_err(|error| Self::unreadable(column, error))
    }

    fn optional_json<T: DeserializeOwned>(
        self,
        column: impl Column,
    ) -> Result<Option<T>, Self::Error> {
        match self.optional_str(column)? {
            Some(_) => self.json(column).map(Some),
            None => Ok(None),
        }
    }

    /// At most one of the two columns has a value.
    fn exit(
        self,
        code: impl Column,
        signal: impl Column,
    ) -> Result<Option<ProcessExit>, Self::Error> {
        let number = |number: i64, column| {
            i32::try_from(number).map_err(|_| Self::wrong(column, &number.to_string()))
        };
        if let Some(code_found) = self.optional_int(code)? {
            return number(code_found, code.place()).map(|code| Some(ProcessExit::Code(code)));
        }
        let signal_found = self.optional_int(signal)?;
        signal_found.map(|it| number(it, signal.place()).map(ProcessExit::Signal)).transpose()
    }
}

/// As [`job`]. Replaces an unreadable job by a stub with the columns that can be read.
pub(crate) fn job_or_stub<'r, R: Row<'r>>(row: R) -> Result<Job, R::Error> {
    use JobColumn as C;
    let why = match job(row) {
        Ok(job) => return Ok(job),
        Err(error) => R::why(error)?,
    };
    let id = row.job(C::id)?;
    tracing::error!(job = %id, error = why, "cannot read a job");
    let created_at = row.time(C::created_at).unwrap_or_default();
    // With an unreadable status the job counts as failed, so that no client waits for its end.
    let status = row.status(C::status).unwrap_or(JobStatus::Failed);
    let mut job = Job::unreadable(id, status, created_at, why);
    job.state = JobState {
        run_at: row.time(C::run_at).unwrap_or(created_at),
        attempt: row.count(C::attempt).unwrap_or_default(),
        finished_at: row.optional_time(C::finished_at).ok().flatten(),
        dead: row.optional_str(C::dead).ok().flatten().and_then(codec::dead_reason),
        ..job.state
    };
    Ok(job)
}

fn job<'r, R: Row<'r>>(row: R) -> Result<Job, R::Error> {
    use JobColumn as C;
    Ok(Job {
        id: row.job(C::id)?,
        spec: row.json(C::spec)?,
        state: JobState {
            status: row.status(C::status)?,
            created_at: row.time(C::created_at)?,
            run_at: row.time(C::run_at)?,
            attempt: row.count(C::attempt)?,
            live: live(row)?,
            ends: AttemptCounts {
                failed: row.count(C::failed)?,
                lost: row.count(C::lost)?,
                server_lost: row.count(C::server_lost)?,
                returned: row.count(C::returned)?,
            },
            cancel: match row.optional_time(C::cancel_at)? {
                Some(at) => Some(CancelRequest {
                    at,
                    reason: row.optional_text(C::cancel_reason)?,
                    by: row.optional_text(C::cancel_by)?,
                }),
                None => None,
            },
            finished_at: row.optional_time(C::finished_at)?,
            started_at: row.optional_time(C::last_started_at)?,
            worker: row.optional_name(C::last_worker)?,
            error: row.optional_text(C::last_error)?,
            exit: row.exit(C::last_exit_code, C::last_exit_signal)?,
            result: row.optional_json(C::result)?,
            dead: row.optional_with(C::dead, codec::dead_reason)?,
            unreadable: None,
        },
    })
}

fn live<'r, R: Row<'r>>(row: R) -> Result<Option<LiveAttempt>, R::Error> {
    use JobColumn as C;
    let Some(execution) = row.optional_id(C::execution)? else { return Ok(None) };
    Ok(Some(LiveAttempt {
        execution: ExecutionId(execution),
        worker: row.incarnation(C::worker)?,
        worker_name: row.name(C::worker_name)?,
        epoch: row.optional_int(C::epoch)?.unwrap_or_default().unsigned_abs(),
        claimed_at: row.time(C::claimed_at)?,
        started_at: row.optional_time(C::started_at)?,
        progress: match row.optional_float(C::percent)? {
            Some(percent) => Some(Progress { percent, text: row.optional_text(C::progress)? }),
            None => None,
        },
    }))
}

/// An operation over many jobs.
pub(crate) fn operation<'r, R: Row<'r>>(row: R) -> Result<OperationRecord, R::Error> {
    use OperationColumn as C;
    Ok(OperationRecord {
        id: OperationId(row.int(C::id)?),
        action: row.with(C::action, OperationAction::of_name)?,
        filter: row.optional_text(C::filter)?,
        zone: row.optional_text(C::zone)?,
        dead: row.int(C::dead)? != 0,
        force: row.int(C::force)? != 0,
        rate: row.optional_int(C::rate)?.and_then(|rate| u32::try_from(rate).ok()),
        matched: Count { count: row.unsigned(C::matched)?, exact: row.int(C::matched_exact)? != 0 },
        upto: row.job(C::upto)?,
        cursor: row.job(C::cursor)?,
        status: row.with(C::status, OperationStatus::of_name)?,
        changed: row.unsigned(C::changed)?,
        stopping: row.unsigned(C::stopping)?,
        left: LeftAlone {
            already_ended: row.unsigned(C::already_ended)?,
            not_ended: row.unsigned(C::not_ended)?,
            not_found: row.unsigned(C::not_found)?,
            in_use: row.unsigned(C::in_use)?,
        },
        reason: row.optional_text(C::reason)?,
        person: row.optional_text(C::person)?,
        token: row.text(C::token)?,
        address: row.optional_text(C::address)?,
        error: row.optional_text(C::error)?,
        ended_by: row.optional_text(C::ended_by)?,
        created_at: row.time(C::created_at)?,
        ended_at: row.optional_time(C::ended_at)?,
    })
}

/// An attempt, with the number of bytes that its log dropped.
pub(crate) fn attempt<'r, R: Row<'r>>(row: R) -> Result<Attempt, R::Error> {
    use AttemptColumn as C;
    Ok(Attempt {
        job: row.job(C::job)?,
        number: row.count(C::number)?,
        execution: row.execution(C::execution)?,
        worker: row.incarnation(C::worker)?,
        worker_name: row.name(C::worker_name)?,
        epoch: row.unsigned(C::epoch)?,
        status: row.with(C::status, codec::attempt_status)?,
        claimed_at: row.time(C::claimed_at)?,
        started_at: row.optional_time(C::started_at)?,
        ended_at: row.optional_time(C::ended_at)?,
        error: row.optional_text(C::error)?,
        exit: row.exit(C::exit_code, C::exit_signal)?,
        dropped_bytes: row.unsigned(C::dropped_bytes)?,
    })
}
