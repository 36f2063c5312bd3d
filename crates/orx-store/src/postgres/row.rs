//! Converts rows to the types of the model.

use std::fmt::Display;

use orx_model::{Attempt, Job, JobId};
use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::{Row as _, ValueRef as _};

use super::db_error::{DbError, DbResult};
use crate::columns::{self, Column, JobColumn, Row as _, attempt_columns, job_columns};

/// A row, read by column index. Values are in the server's binary format.
#[derive(Clone, Copy)]
pub(super) struct PgColumns<'r>(pub(super) &'r PgRow);

impl<'r> PgColumns<'r> {
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

    pub(super) fn optional_bool(self, column: usize) -> DbResult<Option<bool>> {
        Ok(self.exact(column, "not a boolean")?.map(|byte: [u8; 1]| byte != [0]))
    }

    pub(super) fn bool(self, column: usize) -> DbResult<bool> {
        self.optional_bool(column)?.ok_or_else(|| wrong(column, "null"))
    }

    /// Comma-separated ids; null means none.
    pub(super) fn jobs(self, column: usize) -> DbResult<Vec<JobId>> {
        let Some(text) = self.optional_str(column)? else { return Ok(Vec::new()) };
        let id = |id: &str| id.parse().map(JobId).map_err(|_| wrong(column, text));
        text.split(',').map(id).collect()
    }

    /// An array of numbers; null means none.
    pub(super) fn ints(self, column: usize) -> DbResult<Vec<i64>> {
        let numbers: Option<Vec<i64>> = self.0.try_get(column)?;
        Ok(numbers.unwrap_or_default())
    }

    pub(super) fn bytes(self, column: usize) -> DbResult<Vec<u8>> {
        self.raw(column)?.map(<[u8]>::to_vec).ok_or_else(|| wrong(column, "null"))
    }
}

impl<'r> columns::Row<'r> for PgColumns<'r> {
    type Error = DbError;

    fn optional_int(self, column: impl Column) -> DbResult<Option<i64>> {
        let Some(bytes) = self.raw(column.place())? else { return Ok(None) };
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Some(i64::from_be_bytes(bytes)));
        }
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Some(i32::from_be_bytes(bytes).into()));
        }
        let bytes = bytes.try_into().map_err(|_| wrong(column, "not a number"))?;
        Ok(Some(i16::from_be_bytes(bytes).into()))
    }

    fn optional_float(self, column: impl Column) -> DbResult<Option<f64>> {
        Ok(self.exact(column.place(), "not a number")?.map(f64::from_be_bytes))
    }

    fn optional_str(self, column: impl Column) -> DbResult<Option<&'r str>> {
        let text = self.raw(column.place())?.map(str::from_utf8).transpose();
        text.map_err(|error| DbError::Unreadable(error.into()))
    }

    fn optional_id(self, column: impl Column) -> DbResult<Option<u128>> {
        Ok(self.exact(column.place(), "not an id")?.map(u128::from_be_bytes))
    }

    fn unreadable(column: impl Column, why: impl Display) -> DbError {
        DbError::Unreadable(format!("{why} in column {}", column.place()).into())
    }

    fn why(error: DbError) -> DbResult<String> {
        match error {
            DbError::Unreadable(error) => Ok(error.to_string()),
            other => Err(other),
        }
    }
}

pub(super) const JOB: &str = concat!(
    "SELECT ",
    job_columns!(),
    ", r.result, s.spec FROM jobs j LEFT JOIN specs s ON s.job = j.id \
     LEFT JOIN results r ON r.job = j.id"
);
/// The columns of a job without its result, and with the head of a large spec.
pub(super) const SUMMARY: &str = concat!(job_columns!(), ", null::text, coalesce(s.head, s.spec)");
/// The columns of a job without its result.
pub(super) const WITH_ARGS: &str = concat!(job_columns!(), ", null::text, s.spec");
/// Number of columns of [`SUMMARY`] and [`WITH_ARGS`].
pub(super) const COLUMNS: usize = JobColumn::spec as usize + 1;
/// An attempt that ended. The dropped bytes of its log are not read: always 0.
pub(super) const ATTEMPT: &str =
    concat!("SELECT ", attempt_columns!(), ", 0::bigint FROM attempts a");

/// Parses rows. Logs and skips those that cannot be read; other errors end it.
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
                tracing::error!(what, %error, "skipped a row that cannot be read");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(all)
}

/// See [`columns::job_or_stub`].
pub(super) fn job_or_stub(row: &PgRow) -> DbResult<Job> {
    columns::job_or_stub(PgColumns(row))
}

/// See [`columns::attempt`].
pub(super) fn attempt(row: &PgRow) -> DbResult<Attempt> {
    columns::attempt(PgColumns(row))
}

pub(super) fn wrong(column: impl Column, found: &str) -> DbError {
    PgColumns::wrong(column, found)
}
