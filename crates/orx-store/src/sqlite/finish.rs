//! The end of a job's attempt or wait, whatever causes it: an outcome, a cancel, an expiry, a lost worker.

use orx_model::job::{AttemptCounts, DeadReason};
use orx_model::{AttemptStatus, CauseId, JobEvent, JobId, JobStatus, Timestamp, next};
use rusqlite::params;

use super::db_error::DbResult;
use super::row::{millis, status_code};
use super::writer::Tx;

/// What ends at [`finish`].
pub(super) enum Ending<'a> {
    /// The wait of a job that no worker holds: it is cancelled.
    Wait(CancelWords<'a>),
    /// The live attempt of a job.
    Attempt(AttemptEnd<'a>),
}

/// Reason and requester of a cancel.
pub(super) struct CancelWords<'a> {
    pub(super) reason: Option<&'a str>,
    pub(super) by: Option<&'a str>,
}

/// The end of an attempt, as stored.
pub(super) struct AttemptEnd<'a> {
    pub(super) status: AttemptStatus,
    pub(super) started_at: Option<Timestamp>,
    pub(super) error: Option<&'a str>,
    pub(super) exit_code: Option<i32>,
    pub(super) exit_signal: Option<i32>,
    /// The counts of the job's attempts, with this one.
    pub(super) ends: AttemptCounts,
    /// When the next attempt is due, if another follows.
    pub(super) run_at: Option<Timestamp>,
    pub(super) deadline: Option<Timestamp>,
    /// The job becomes a dead letter: why, when, and of which cause.
    pub(super) dead: Option<(DeadReason, Timestamp, CauseId)>,
}

/// Ends a job's attempt or wait at a time, and moves the job along the table of transitions. No other
/// function makes a job final: this one writes its status, its dead letter and the counts, and a job with a
/// `follow_up` mark thereby enters the index from which the leader releases its children. Returns the new
/// status.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    job: JobId,
    (lane, from): (i64, JobStatus),
    event: JobEvent,
    at: Timestamp,
    ending: &Ending<'_>,
) -> DbResult<JobStatus> {
    let to = next(from, event)?;
    let finished_at = to.is_final().then_some(at.as_millis());
    match ending {
        Ending::Wait(words) => {
            tx.conn
                .prepare_cached(
                    "UPDATE jobs SET status = ?2, finished_at = ?3, expire_at = NULL, \
                     cancel_at = ?3, cancel_reason = ?4, cancel_by = ?5 WHERE id = ?1",
                )?
                .execute(params![job.0, status_code(to), finished_at, words.reason, words.by])?;
        }
        Ending::Attempt(end) => {
            tx.conn.prepare_cached(include_str!("end_attempt.sql"))?.execute(params![
                job.0,
                end.status.as_str(),
                millis(end.started_at),
                at.as_millis(),
                end.error,
                end.exit_code,
                end.exit_signal,
            ])?;
            tx.conn.prepare_cached(include_str!("end.sql"))?.execute(params![
                job.0,
                status_code(to),
                millis(end.run_at),
                end.deadline.filter(|_| !to.is_final()).map(Timestamp::as_millis),
                end.ends.failed,
                end.ends.lost,
                end.ends.returned,
                finished_at,
                millis(end.started_at),
                end.error,
                end.exit_code,
                end.exit_signal,
                end.dead.map(|(reason, ..)| reason.as_str()),
                end.dead.map(|(_, at, _)| at.as_millis()),
                end.ends.server_lost,
                end.dead.map(|(.., cause)| cause.to_signed()),
            ])?;
        }
    }
    tx.cache.moved(lane, Some(from), Some(to));
    Ok(to)
}
