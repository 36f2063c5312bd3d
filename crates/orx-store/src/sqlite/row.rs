//! Converts rows to values of the model.

use std::fmt::Display;

use orx_model::log::Stream;
use orx_model::message::WorkerDirective;
use orx_model::{Attempt, ExecutionId, Incarnation, Job, JobStatus, Name, Timestamp};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};
use serde::de::DeserializeOwned;

pub(super) use crate::codec::{
    exit_columns, integer, millis, priority_rank, status_code, stream_code,
};
use crate::codec::{order_of, status_of, stream_of};
use crate::columns::{self, Column, attempt_columns, job_columns};

type Read<T> = rusqlite::Result<T>;

/// The SELECT of a job, with or without the large columns.
macro_rules! select_job {
    ($result:literal, $spec:literal, $from:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            ", ",
            $result,
            ", ",
            $spec,
            " FROM jobs j LEFT JOIN specs s ON s.job = j.id",
            $from
        )
    };
}

pub(super) const JOB: &str =
    select_job!("r.result", "s.spec", " LEFT JOIN results r ON r.job = j.id");
/// Without the result, and with the head of a large spec in place of the spec.
pub(super) const SUMMARY: &str =
    select_job!("NULL", "coalesce(h.head, s.spec)", " LEFT JOIN heads h ON h.job = j.id");
/// Without the result.
pub(super) const WITH_ARGS: &str = select_job!("NULL", "s.spec", "");
/// An attempt that ended. Its dropped bytes come from the log.
pub(super) const ATTEMPT: &str = concat!("SELECT ", attempt_columns!(), ", 0 FROM attempts a");

/// A row whose columns are read by number or name.
#[derive(Clone, Copy)]
pub(super) struct SqliteColumns<'r>(pub(super) &'r Row<'r>);

impl<'r> columns::Row<'r> for SqliteColumns<'r> {
    type Error = rusqlite::Error;

    fn optional_int(self, column: impl Column) -> Read<Option<i64>> {
        self.0.get(column.place())
    }

    fn optional_float(self, column: impl Column) -> Read<Option<f64>> {
        self.0.get(column.place())
    }

    fn optional_str(self, column: impl Column) -> Read<Option<&'r str>> {
        Ok(self.0.get_ref(column.place())?.as_str_or_null()?)
    }

    fn optional_id(self, column: impl Column) -> Read<Option<u128>> {
        Ok(self.0.get::<_, Option<[u8; 16]>>(column.place())?.map(u128::from_be_bytes))
    }

    fn unreadable(column: impl Column, why: impl Display) -> rusqlite::Error {
        let error = FromSqlError::Other(why.to_string().into());
        rusqlite::Error::FromSqlConversionFailure(column.place(), Type::Text, Box::new(error))
    }

    fn why(error: rusqlite::Error) -> Read<String> {
        if is_unreadable(&error) { Ok(error.to_string()) } else { Err(error) }
    }
}

/// As [`columns::job_or_stub`].
pub(super) fn job_or_stub(row: &Row<'_>) -> Read<Job> {
    columns::job_or_stub(SqliteColumns(row))
}

/// As [`columns::attempt`].
pub(super) fn attempt(row: &Row<'_>) -> Read<Attempt> {
    columns::attempt(SqliteColumns(row))
}

/// Whether a column holds an invalid value. The file and the disk are sound.
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

/// The readable rows. Logs and skips the others.
pub(super) fn readable<T>(what: &str, rows: impl Iterator<Item = Read<T>>) -> Read<Vec<T>> {
    let mut all = Vec::new();
    for row in rows {
        match row {
            Ok(row) => all.push(row),
            Err(error) if is_unreadable(&error) => {
                tracing::error!(what, %error, "skipped a row that cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

pub(super) fn status(row: &Row<'_>, column: usize) -> Read<JobStatus> {
    let code: i64 = row.get(column)?;
    status_of(code).ok_or_else(|| wrong(column, Type::Integer, &code.to_string()))
}

pub(super) fn stream(row: &Row<'_>, column: usize) -> Read<Stream> {
    let code: i64 = row.get(column)?;
    stream_of(code).ok_or_else(|| wrong(column, Type::Integer, &code.to_string()))
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

/// The directive that a person gave a worker.
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
