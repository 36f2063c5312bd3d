//! Records starts, progress and ends of attempts.

use orx_model::job::AttemptCounts;
use orx_model::message::{ExecutionProgress, Started};
use orx_model::outcome::{RetryInputs, resolve_outcome};
use orx_model::{
    Cause, ExecutionId, JobEvent, JobId, JobStatus, OnLost, Outcome, OutcomeKind, RetryPolicy,
    Timestamp, next,
};
use rusqlite::{OptionalExtension, params};

use super::db_error::DbResult;
use super::finish::{AttemptEnd, Ending, finish};
use super::row::{self, exit_columns, status_code};
use super::writer::Tx;
use crate::Recorded;
use crate::codec::{capped, policy, span};

/// The columns of a job that decide its next move.
pub(super) struct JobSnapshot {
    pub(super) status: JobStatus,
    pub(super) lane: i64,
    pub(super) execution: Option<ExecutionId>,
    pub(super) worker: Option<[u8; 16]>,
    pub(super) ends: AttemptCounts,
    pub(super) deadline: Option<Timestamp>,
    pub(super) cancel_requested: bool,
    claimed_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
}

pub(super) fn seen(tx: &Tx<'_>, job: JobId) -> DbResult<Option<JobSnapshot>> {
    let mut find = tx.conn.prepare_cached(
        "SELECT status, lane, execution, worker, failed, lost, returned, deadline, cancel_at, \
         claimed_at, started_at, server_lost FROM jobs WHERE id = ?1",
    )?;
    let seen = find.query_row([job.0], |row| {
        Ok(JobSnapshot {
            status: row::status(row, 0)?,
            lane: row.get(1)?,
            execution: row.get::<_, Option<_>>(2)?.map(ExecutionId::from_bytes),
            worker: row.get(3)?,
            ends: AttemptCounts {
                failed: row.get(4)?,
                lost: row.get(5)?,
                server_lost: row.get(11)?,
                returned: row.get(6)?,
            },
            deadline: row::optional_time(row, 7)?,
            cancel_requested: row.get::<_, Option<i64>>(8)?.is_some(),
            claimed_at: row::optional_time(row, 9)?,
            started_at: row::optional_time(row, 10)?,
        })
    });
    match seen.optional() {
        // An unreadable job counts as missing, so that it does not fail the batch.
        Err(error) if row::is_unreadable(&error) => {
            tracing::error!(%job, %error, "cannot read a job");
            Ok(None)
        }
        seen => Ok(seen?),
    }
}

pub(super) fn record(
    tx: &mut Tx<'_>,
    outcomes: &[Outcome],
    draws: &[f64],
    now: Timestamp,
) -> DbResult<Vec<Recorded>> {
    let mut answers = Vec::with_capacity(outcomes.len());
    for (place, outcome) in outcomes.iter().enumerate() {
        let Some(seen) = seen(tx, outcome.job)? else {
            answers.push(Recorded::Missing);
            continue;
        };
        if !seen.status.is_live() || seen.execution != Some(outcome.execution) {
            answers.push(Recorded::Stale { status: seen.status });
            continue;
        }
        let draw = draws.get(place).copied().unwrap_or(0.5);
        answers.push(end(tx, &seen, outcome, draw, now)?);
    }
    Ok(answers)
}

fn end(
    tx: &mut Tx<'_>,
    seen: &JobSnapshot,
    outcome: &Outcome,
    draw: f64,
    now: Timestamp,
) -> DbResult<Recorded> {
    let succeeded = matches!(outcome.kind, OutcomeKind::Succeeded { .. });
    // A success needs no policy, so its spec is not read.
    let policy = match succeeded {
        true => None,
        false => Some(
            tx.conn
                .prepare_cached("SELECT spec FROM specs WHERE job = ?1")?
                .query_row([outcome.job.0], |row| {
                    Ok(policy(outcome.job, Some(row.get_ref(0)?.as_bytes()?)))
                })
                .optional()?
                .unwrap_or_else(|| policy(outcome.job, None)),
        ),
    };
    let inputs = RetryInputs {
        ends: seen.ends,
        retry: policy.as_ref().map_or_else(RetryPolicy::default, |policy| policy.retry),
        on_lost: policy.as_ref().map_or_else(OnLost::default, |policy| policy.on_lost),
        deadline: seen.deadline,
        cancel_requested: seen.cancel_requested,
    };
    let resolved = resolve_outcome(&inputs, outcome, now, draw);
    let error = if succeeded { None } else { outcome.error.as_deref().map(capped) };
    let (exit_code, exit_signal) = exit_columns(outcome.exit);
    let (started_at, ended_at) = span(
        seen.claimed_at.unwrap_or(now),
        outcome.started_at.or(seen.started_at),
        outcome.ended_at,
        now,
    );
    let ending = Ending::Attempt(AttemptEnd {
        status: outcome.kind.status(),
        started_at,
        error,
        exit_code,
        exit_signal,
        ends: resolved.ends,
        run_at: resolved.run_at,
        deadline: seen.deadline,
        dead: resolved
            .dead
            .zip(policy)
            .map(|(reason, policy)| (reason, now, Cause::new(&policy.name, error, reason).id)),
    });
    let of = (seen.lane, seen.status);
    let status = finish(tx, outcome.job, of, resolved.event, ended_at, &ending)?;
    if let OutcomeKind::Succeeded { result: Some(result) } = &outcome.kind {
        tx.conn
            .prepare_cached("INSERT OR REPLACE INTO results (job, result) VALUES (?1, ?2)")?
            .execute(params![outcome.job.0, result.get()])?;
    }
    Ok(Recorded::Applied { status, run_at: resolved.run_at })
}

pub(super) fn mark_started(tx: &mut Tx<'_>, started: &[Started], now: Timestamp) -> DbResult<()> {
    let to = next(JobStatus::Dispatched, JobEvent::Start)?;
    let mut mark = tx.conn.prepare_cached(
        "UPDATE jobs SET status = ?1, started_at = max(?2, claimed_at) \
         WHERE id = ?3 AND execution = ?4 AND status = ?5 RETURNING lane",
    )?;
    for one in started {
        let lane = mark
            .query_row(
                params![
                    status_code(to),
                    one.at.min(now).as_millis(),
                    one.job.0,
                    one.execution.to_bytes(),
                    status_code(JobStatus::Dispatched),
                ],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(lane) = lane {
            tx.cache.moved(lane, Some(JobStatus::Dispatched), Some(to));
        }
    }
    Ok(())
}

pub(super) fn record_progress(tx: &mut Tx<'_>, progress: &[ExecutionProgress]) -> DbResult<()> {
    let mut write = tx.conn.prepare_cached(
        "UPDATE jobs SET percent = ?1, progress = ?2 WHERE id = ?3 AND execution = ?4",
    )?;
    for one in progress {
        write.execute(params![
            one.progress.percent,
            one.progress.text.as_deref().map(capped),
            one.job.0,
            one.execution.to_bytes(),
        ])?;
    }
    Ok(())
}
