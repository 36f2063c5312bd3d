//! Changes of jobs without a worker: cancel, retry, due times, expiry, a clock that was set.

use orx_model::{AttemptStatus, Incarnation, JobEvent, JobId, JobStatus, Timestamp, next};
use rusqlite::params;

use super::db_error::DbResult;
use super::outcome::{Ended, JobSnapshot, end_attempt, seen};
use super::row::{self, status_code};
use super::writer::Tx;
use crate::codec::{FORCED, capped, over};
use crate::{CancelAnswer, CancelCommand, ClockJump, Promoted, RetryAnswer};

/// Reason and requester of a cancel.
pub(super) struct CancelWords<'a> {
    pub(super) reason: Option<&'a str>,
    pub(super) by: Option<&'a str>,
}

pub(super) fn cancel(
    tx: &mut Tx<'_>,
    cancels: &[CancelCommand],
    now: Timestamp,
) -> DbResult<Vec<CancelAnswer>> {
    let mut answers = Vec::with_capacity(cancels.len());
    for command in cancels {
        answers.push(match seen(tx, command.id)? {
            None => CancelAnswer::Missing,
            Some(seen) => cancel_one(tx, command, &seen, now)?,
        });
    }
    Ok(answers)
}

fn cancel_one(
    tx: &mut Tx<'_>,
    command: &CancelCommand,
    seen: &JobSnapshot,
    now: Timestamp,
) -> DbResult<CancelAnswer> {
    let status = seen.status;
    if command.expected.is_some_and(|expected| expected != status) {
        return Ok(CancelAnswer::NotInState { status });
    }
    let words = CancelWords {
        reason: command.reason.as_deref().map(capped),
        by: command.by.as_deref().map(capped),
    };
    if status.is_final() {
        return Ok(CancelAnswer::AlreadyFinal { status });
    }
    let live = seen.execution.zip(seen.worker.map(Incarnation::from_bytes));
    let Some((execution, worker)) = live else {
        cancel_waiting(tx, command.id, seen.lane, status, &words, now)?;
        return Ok(CancelAnswer::Cancelled { stop: None });
    };
    if !seen.cancel_requested {
        record_cancel(tx, command.id, &words, now)?;
    }
    if command.force {
        force_cancel(tx, command.id, seen, now)?;
        return Ok(CancelAnswer::Cancelled { stop: Some((worker, execution)) });
    }
    Ok(CancelAnswer::Cancelling { worker, execution, status })
}

/// Cancels a job that no worker holds.
pub(super) fn cancel_waiting(
    tx: &mut Tx<'_>,
    job: JobId,
    lane: i64,
    from: JobStatus,
    words: &CancelWords<'_>,
    now: Timestamp,
) -> DbResult<()> {
    let to = next(from, JobEvent::Cancel)?;
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET status = ?2, finished_at = ?3, expire_at = NULL, cancel_at = ?3, \
             cancel_reason = ?4, cancel_by = ?5 WHERE id = ?1",
        )?
        .execute(params![job.0, status_code(to), now.as_millis(), words.reason, words.by])?;
    tx.cache.moved(lane, Some(from), Some(to));
    Ok(())
}

/// Records the request until the attempt ends. The caller keeps the first request.
fn record_cancel(tx: &Tx<'_>, job: JobId, words: &CancelWords<'_>, now: Timestamp) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET cancel_at = ?2, cancel_reason = ?3, cancel_by = ?4 WHERE id = ?1",
        )?
        .execute(params![job.0, now.as_millis(), words.reason, words.by])?;
    Ok(())
}

/// Ends the attempt as cancelled; later reports of it are stale.
fn force_cancel(tx: &mut Tx<'_>, job: JobId, seen: &JobSnapshot, now: Timestamp) -> DbResult<()> {
    let to = next(seen.status, JobEvent::Stopped)?;
    let ended = Ended {
        status: AttemptStatus::Cancelled,
        started_at: seen.started_at,
        at: now,
        error: Some(FORCED),
        exit_code: None,
        exit_signal: None,
    };
    end_attempt(tx, job, &ended)?;
    tx.conn.prepare_cached(include_str!("end.sql"))?.execute(params![
        job.0,
        status_code(to),
        None::<i64>,
        None::<i64>,
        seen.ends.failed,
        seen.ends.lost,
        seen.ends.returned,
        now.as_millis(),
        row::millis(seen.started_at),
        FORCED,
        None::<i32>,
        None::<i32>,
        None::<&str>,
        None::<i64>,
        seen.ends.server_lost,
    ])?;
    tx.cache.moved(seen.lane, Some(seen.status), Some(to));
    Ok(())
}

pub(super) fn retry(tx: &mut Tx<'_>, ids: &[JobId], now: Timestamp) -> DbResult<Vec<RetryAnswer>> {
    let mut answers = Vec::with_capacity(ids.len());
    for &id in ids {
        let Some(seen) = seen(tx, id)? else {
            answers.push(RetryAnswer::Missing);
            continue;
        };
        let Ok(to) = next(seen.status, JobEvent::Revive) else {
            answers.push(RetryAnswer::NotInState { status: seen.status });
            continue;
        };
        tx.conn.prepare_cached(include_str!("revive.sql"))?.execute(params![
            id.0,
            status_code(to),
            now.as_millis()
        ])?;
        tx.conn.prepare_cached("DELETE FROM results WHERE job = ?1")?.execute([id.0])?;
        tx.cache.moved(seen.lane, Some(seen.status), Some(to));
        answers.push(RetryAnswer::Retried);
    }
    Ok(answers)
}

pub(super) fn promote(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> DbResult<Promoted> {
    let to = next(JobStatus::Scheduled, JobEvent::Due)?;

    // Expired jobs first: a job that is due and expired is cancelled, never pending.
    let over_jobs = pick(
        tx,
        "SELECT id, lane, status, deadline FROM jobs \
         WHERE expire_at IS NOT NULL AND expire_at <= ?1 AND +status IN (0, 1, 2) \
         ORDER BY expire_at, id LIMIT ?2",
        now,
        limit,
    )?;
    for (id, lane, status, deadline) in &over_jobs {
        let words = CancelWords { reason: Some(over(*deadline, now)), by: Some("orx") };
        cancel_waiting(tx, *id, *lane, *status, &words, now)?;
    }
    let due = pick(
        tx,
        "SELECT id, lane, status, deadline FROM jobs \
         WHERE status = 2 AND run_at <= ?1 ORDER BY run_at, id LIMIT ?2",
        now,
        limit,
    )?;
    let mut update = tx.conn.prepare_cached("UPDATE jobs SET status = ?2 WHERE id = ?1")?;
    for (id, lane, status, _) in &due {
        update.execute(params![id.0, status_code(to)])?;
        tx.cache.moved(*lane, Some(*status), Some(to));
    }
    let more = over_jobs.len() == limit as usize || due.len() == limit as usize;
    let ids = |picked: &[Picked]| {
        let mut ids: Vec<JobId> = picked.iter().map(|(id, ..)| *id).collect();
        ids.sort_unstable();
        ids
    };
    Ok(Promoted { due: ids(&due), expired: ids(&over_jobs), more })
}

type Picked = (JobId, i64, JobStatus, Option<Timestamp>);

fn pick(tx: &Tx<'_>, sql: &str, now: Timestamp, limit: u32) -> DbResult<Vec<Picked>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![now.as_millis(), limit], |row| {
        let deadline = row::optional_time(row, 3)?;
        Ok((JobId(row.get(0)?), row.get(1)?, row::status(row, 2)?, deadline))
    })?;
    Ok(row::readable("a job", rows)?)
}

pub(super) fn delete_dead_letters(tx: &mut Tx<'_>, ids: &[JobId]) -> DbResult<Vec<bool>> {
    let mut forget = tx.conn.prepare_cached(
        "UPDATE jobs SET dead = NULL, dead_at = NULL WHERE id = ?1 AND dead IS NOT NULL",
    )?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        answers.push(forget.execute([id.0])? > 0);
    }
    Ok(answers)
}

/// See [`crate::Dispatching::clock_was_set`].
pub(super) fn clock_was_set(tx: &mut Tx<'_>, jump: ClockJump, now: Timestamp) -> DbResult<u64> {
    let (before, by, now) = (jump.before.as_millis(), jump.by_ms, now.as_millis());
    let waits = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET run_at = max(run_at + ?2, ?3) \
             WHERE status = 2 AND attempt > 0 AND run_at > ?1",
        )?
        .execute([before, by, now])?;
    if by < 0 {
        tx.conn
            .prepare_cached("UPDATE jobs SET run_at = ?1 WHERE status = 1 AND run_at > ?1")?
            .execute([now])?;
    }
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET claimed_at = claimed_at + ?1, started_at = started_at + ?1 \
             WHERE worker IS NOT NULL",
        )?
        .execute([by])?;
    Ok(waits as u64)
}
