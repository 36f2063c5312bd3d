//! Firings: the jobs of schedules, their rows of the ledger, and their dependencies.

use std::collections::HashSet;

use orx_model::schedule::Slot;
use orx_model::{JobId, JobStatus, Name, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::db_error::DbResult;
use super::dependencies::{add_alert, depend, exists};
use super::enqueue::insert;
use super::row::{self, integer, millis};
use super::schedules::move_to;
use super::writer::Tx;
use crate::codec::slot_columns;
use crate::prepared_firing::PreparedFiring;
use crate::schedules::{first_status, with_job};
use crate::{Dependency, ExpectedVersion, Fired, RunAfter};

fn is_current(tx: &Tx<'_>, expected: &ExpectedVersion) -> DbResult<bool> {
    let mut find = tx.conn.prepare_cached(
        "SELECT s.version, s.handled, s.last_run, j.status, \
         EXISTS (SELECT 1 FROM dependencies WHERE child = s.last_run) \
         FROM schedules s LEFT JOIN jobs j ON j.id = s.last_run WHERE s.id = ?1",
    )?;
    let found = find.query_row([expected.id.as_str()], |row| {
        let ended = match row.get::<_, Option<i64>>(3)? {
            Some(_) => row::status(row, 3)?.is_final(),
            None => true,
        };
        let ended = ended && !row.get::<_, bool>(4)?;
        Ok(ExpectedVersion {
            id: expected.id.clone(),
            version: row.get::<_, i64>(0)?.unsigned_abs(),
            handled: row::time(row, 1)?,
            last_run: row.get::<_, Option<i64>>(2)?.map(|job| (JobId(job), ended)),
        })
    });
    Ok(found.optional()?.as_ref() == Some(expected))
}

pub(super) fn fire(
    tx: &mut Tx<'_>,
    fires: &[PreparedFiring],
    now: Timestamp,
) -> DbResult<Vec<Option<Fired>>> {
    let mut seen = HashSet::new();
    let mut answers = Vec::with_capacity(fires.len());
    for fire in fires {
        let first = seen.insert(&fire.expected.id);
        let done = if first && is_current(tx, &fire.expected)? && !ran_before(tx, fire)? {
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
        if find.exists(params![fire.expected.id.as_str(), row.slot.as_millis()])? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fire_one(tx: &mut Tx<'_>, fire: &PreparedFiring, now: Timestamp) -> DbResult<Fired> {
    let id = &fire.expected.id;
    let last = fire.expected.last_run.map(|(job, _)| job);
    let mut jobs: Vec<JobId> = Vec::with_capacity(fire.runs.len());
    for run in &fire.runs {
        let (after, cancel) = match run.after {
            RunAfter::Nothing => (None, false),
            RunAfter::Last { cancel } => (last, cancel),
            RunAfter::AlongsideLast => (last, false),
            RunAfter::Before => (jobs.last().copied(), false),
        };
        let parent = match after {
            Some(after) if exists(tx, after)? => Some(after),
            _ => None,
        };
        let child = insert(tx, &run.job, first_status(run.after, parent.is_some()), now)?;
        jobs.push(child);
        if let Some(parent) = parent {
            depend(tx, Dependency { parent, child, cancel })?;
        }
        if let Some(on_failure) = run.on_failure.as_deref() {
            let slot = run.row.as_ref().map(|row| row.slot);
            add_alert(tx, child, id, slot, on_failure)?;
        }
        if let Some(row) = &run.row {
            put_row(tx, id, &Slot { outcome: with_job(row.outcome, child), ..*row })?;
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
