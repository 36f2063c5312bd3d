//! Firings: the jobs of schedules, their rows of the ledger, and what waits for a run.

use std::collections::HashSet;

use orx_model::schedule::Slot;
use orx_model::{JobEvent, JobId, JobStatus, Name, Timestamp, next};
use rusqlite::{OptionalExtension, params};

use super::db_error::DbResult;
use super::enqueue::insert;
use super::row::{self, integer, millis, status_code};
use super::schedules::move_to;
use super::writer::Tx;
use crate::codec::slot_columns;
use crate::prepared_firing::{PreparedFiring, PreparedStep};
use crate::schedules::{first_status, with_job};
use crate::{DependencyResult, ExpectedVersion, Fired, RunAfter};

fn is_current(tx: &Tx<'_>, basis: &ExpectedVersion) -> DbResult<bool> {
    let mut find = tx.conn.prepare_cached(
        "SELECT s.version, s.handled, s.last_run, j.status \
         FROM schedules s LEFT JOIN jobs j ON j.id = s.last_run WHERE s.id = ?1",
    )?;
    let found = find.query_row([basis.id.as_str()], |row| {
        let ended = match row.get::<_, Option<i64>>(3)? {
            Some(_) => row::status(row, 3)?.is_final(),
            None => true,
        };
        Ok(ExpectedVersion {
            id: basis.id.clone(),
            version: row.get::<_, i64>(0)?.unsigned_abs(),
            handled: row::time(row, 1)?,
            last_run: row.get::<_, Option<i64>>(2)?.map(|job| (JobId(job), ended)),
        })
    });
    Ok(found.optional()?.as_ref() == Some(basis))
}

pub(super) fn fire(
    tx: &mut Tx<'_>,
    fires: &[PreparedFiring],
    now: Timestamp,
) -> DbResult<Vec<Option<Fired>>> {
    let mut seen = HashSet::new();
    let mut answers = Vec::with_capacity(fires.len());
    for fire in fires {
        let first = seen.insert(&fire.basis.id);
        let done = if first && is_current(tx, &fire.basis)? && !ran_before(tx, fire)? {
            Some(fire_one(tx, fire, now)?)
        } else {
            None
        };
        answers.push(done);
    }
    Ok(answers)
}

/// Whether a slot of these runs has a job already.
fn ran_before(tx: &Tx<'_>, fire: &PreparedFiring) -> DbResult<bool> {
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM slots WHERE schedule = ?1 AND slot = ?2 AND job IS NOT NULL",
    )?;
    for row in fire.runs.iter().filter_map(|run| run.row.as_ref()) {
        if find.exists(params![fire.basis.id.as_str(), row.slot.as_millis()])? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fire_one(tx: &mut Tx<'_>, fire: &PreparedFiring, now: Timestamp) -> DbResult<Fired> {
    let id = &fire.basis.id;
    let last = fire.basis.last_run.map(|(job, _)| job);
    let mut jobs: Vec<JobId> = Vec::with_capacity(fire.runs.len());
    for run in &fire.runs {
        let (after, cancel) = match run.after {
            RunAfter::Nothing => (None, false),
            RunAfter::Last { cancel } => (last, cancel),
            RunAfter::AlongsideLast => (last, false),
            RunAfter::Before => (jobs.last().copied(), false),
        };
        let job = insert(tx, &run.job, first_status(run.after, after.is_some()), now)?;
        jobs.push(job);
        if after.is_some() || run.on_failure.is_some() {
            let on_failure = run.on_failure.as_deref();
            let slot = run.row.as_ref().map(|row| row.slot);
            watch(tx, job, id, slot, after, cancel, on_failure)?;
        }
        if let Some(row) = &run.row {
            put_row(tx, id, &Slot { outcome: with_job(row.outcome, job), ..*row })?;
        }
    }
    for row in &fire.rows {
        put_row(tx, id, row)?;
    }
    let mut alerts = Vec::with_capacity(fire.alerts.len());
    for alert in &fire.alerts {
        alerts.push(insert(tx, alert, JobStatus::Pending, now)?);
    }
    let for_slots = fire.runs.iter().filter(|run| run.row.is_some()).count();
    tx.conn
        .prepare_cached(
            "UPDATE schedules SET runs = runs + ?2, last_run = ifnull(?3, last_run), \
             written = written + ?4 WHERE id = ?1",
        )?
        .execute(params![
            id.as_str(),
            for_slots as i64,
            jobs.last().map(|job| job.0),
            (for_slots + fire.rows.len()) as i64,
        ])?;
    if let Some(to) = fire.to {
        move_to(tx, id, to)?;
    }
    Ok(Fired { runs: jobs, alerts })
}

/// Inserts a row of the ledger, or replaces one without a job.
pub(super) fn put_row(tx: &Tx<'_>, id: &Name, slot: &Slot) -> DbResult<()> {
    let columns = slot_columns(&slot.outcome);
    tx.conn
        .prepare_cached(
            "INSERT INTO slots (schedule, slot, last, count, exact, outcome, reason, job, late_ms, \
             recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
             ON CONFLICT (schedule, slot) DO UPDATE SET last = excluded.last, \
             count = excluded.count, exact = excluded.exact, outcome = excluded.outcome, \
             reason = excluded.reason, job = excluded.job, late_ms = excluded.late_ms, \
             recorded_at = excluded.recorded_at WHERE slots.job IS NULL",
        )?
        .execute(params![
            id.as_str(),
            slot.slot.as_millis(),
            millis(slot.last),
            integer(slot.count),
            slot.exact,
            columns.outcome,
            columns.reason,
            columns.job,
            columns.late_ms,
            slot.recorded_at.as_millis(),
        ])?;
    Ok(())
}

pub(super) fn watch(
    tx: &Tx<'_>,
    job: JobId,
    schedule: &Name,
    slot: Option<Timestamp>,
    after: Option<JobId>,
    cancel: bool,
    on_failure: Option<&str>,
) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO watched (job, schedule, slot, waits_for, cancel, on_failure) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            job.0,
            schedule.as_str(),
            millis(slot),
            after.map(|after| after.0),
            cancel,
            on_failure,
        ])?;
    Ok(())
}

pub(super) fn apply_dependency_steps(
    tx: &mut Tx<'_>,
    steps: &[PreparedStep],
    now: Timestamp,
) -> DbResult<Vec<DependencyResult>> {
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.push(match step {
            PreparedStep::Release(job) => release(tx, *job, now)?,
            PreparedStep::End(job, alert) => {
                let mut end = tx.conn.prepare_cached("DELETE FROM watched WHERE job = ?1")?;
                match alert {
                    _ if end.execute([job])? == 0 => DependencyResult::Unchanged,
                    Some(alert) => {
                        DependencyResult::Alerted(insert(tx, alert, JobStatus::Pending, now)?)
                    }
                    None => DependencyResult::Changed,
                }
            }
        });
    }
    Ok(answers)
}

fn release(tx: &mut Tx<'_>, job: i64, now: Timestamp) -> DbResult<DependencyResult> {
    let waited = tx
        .conn
        .prepare_cached(
            "UPDATE watched SET waits_for = NULL WHERE job = ?1 AND waits_for IS NOT NULL",
        )?
        .execute([job])?;
    if waited == 0 {
        return Ok(DependencyResult::Unchanged);
    }
    tx.conn
        .prepare_cached("DELETE FROM watched WHERE job = ?1 AND on_failure IS NULL")?
        .execute([job])?;
    let to = next(JobStatus::Created, JobEvent::Admit)?;
    let mut find = tx.conn.prepare_cached("SELECT lane FROM jobs WHERE id = ?1 AND status = ?2")?;
    let created = status_code(JobStatus::Created);
    let Some(lane) = find.query_row([job, created], |row| row.get(0)).optional()? else {
        return Ok(DependencyResult::Changed);
    };
    tx.conn
        .prepare_cached("UPDATE jobs SET status = ?2, run_at = ?3 WHERE id = ?1")?
        .execute(params![job, status_code(to), now.as_millis()])?;
    tx.cache.moved(lane, Some(JobStatus::Created), Some(to));
    Ok(DependencyResult::Admitted)
}
