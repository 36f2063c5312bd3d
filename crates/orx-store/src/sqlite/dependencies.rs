//! Dependencies of jobs, alerts of runs, and the release of children.

use orx_model::job::UNREADABLE;
use orx_model::{JobEvent, JobId, JobStatus, Name, Timestamp, next};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db_error::DbResult;
use super::enqueue::insert;
use super::row::{self, millis, status_code};
use super::writer::Tx;
use crate::codec::readable;
use crate::prepared_firing::PreparedRelease;
use crate::{Dependency, FollowUp, Released, RunAlert};

/// Whether the job exists. A missing job was pruned, so it had ended.
pub(super) fn exists(tx: &Tx<'_>, job: JobId) -> DbResult<bool> {
    Ok(tx.conn.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists([job.0])?)
}

/// Adds a dependency on an existing job, which may have ended.
pub(super) fn depend(tx: &Tx<'_>, it: Dependency) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO dependencies (parent, child, cancel, cancel_requested) \
             SELECT id, ?2, ?3, cancel_at IS NOT NULL FROM jobs WHERE id = ?1 \
             ON CONFLICT DO UPDATE SET cancel = max(cancel, excluded.cancel)",
        )?
        .execute(params![it.parent.0, it.child.0, it.cancel])?;
    mark(tx, it.parent)
}

/// Adds an alert, unless the run has one.
pub(super) fn add_alert(
    tx: &Tx<'_>,
    job: JobId,
    schedule: &Name,
    slot: Option<Timestamp>,
    on_failure: &str,
) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO run_alerts (job, schedule, slot, on_failure) \
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![job.0, schedule.as_str(), millis(slot), on_failure])?;
    mark(tx, job)
}

/// The end of this job has to be followed up.
fn mark(tx: &Tx<'_>, job: JobId) -> DbResult<()> {
    tx.conn.prepare_cached("UPDATE jobs SET follow_up = 1 WHERE id = ?1")?.execute([job.0])?;
    Ok(())
}

pub(super) fn release(
    tx: &mut Tx<'_>,
    releases: &[PreparedRelease],
    now: Timestamp,
) -> DbResult<Released> {
    let mut released = Released::default();
    for release in releases {
        let unmark = "UPDATE jobs SET follow_up = 0 WHERE id = ?1 AND follow_up AND status >= 5";
        if tx.conn.prepare_cached(unmark)?.execute([release.job])? == 0 {
            continue;
        }
        let forget = "DELETE FROM run_alerts WHERE job = ?1";
        let had_alert = tx.conn.prepare_cached(forget)?.execute([release.job])? > 0;
        if let Some(alert) = release.alert.as_ref().filter(|_| had_alert) {
            released.alerts.push(insert(tx, alert, JobStatus::Pending, now)?);
        }
        for child in remove_dependencies(tx, release.job)? {
            if admit(tx, child, Some(now))? {
                released.admitted.push(JobId(child));
            }
        }
    }
    released.admitted.sort_unstable();
    Ok(released)
}

/// Removes the dependencies on a job. Its children then depend on the jobs that it depends on itself.
/// Returns its children.
fn remove_dependencies(tx: &Tx<'_>, parent: i64) -> DbResult<Vec<i64>> {
    tx.conn
        .prepare_cached(
            "INSERT INTO dependencies (parent, child, cancel, cancel_requested) \
             SELECT u.parent, d.child, d.cancel, j.cancel_at IS NOT NULL \
             FROM dependencies d JOIN dependencies u ON u.child = d.parent \
             JOIN jobs j ON j.id = u.parent WHERE d.parent = ?1 \
             ON CONFLICT DO UPDATE SET cancel = max(cancel, excluded.cancel)",
        )?
        .execute([parent])?;
    let mut remove =
        tx.conn.prepare_cached("DELETE FROM dependencies WHERE parent = ?1 RETURNING child")?;
    let children = remove.query_map([parent], |row| row.get(0))?;
    Ok(children.collect::<Result<_, _>>()?)
}

/// Makes a job pending that was created and depends on no job. Without a time, its due time stays.
fn admit(tx: &mut Tx<'_>, job: i64, now: Option<Timestamp>) -> DbResult<bool> {
    let mut find = tx.conn.prepare_cached(
        "SELECT lane FROM jobs WHERE id = ?1 AND status = ?2 \
         AND NOT EXISTS (SELECT 1 FROM dependencies WHERE child = ?1)",
    )?;
    let created = status_code(JobStatus::Created);
    let Some(lane) = find.query_row([job, created], |row| row.get(0)).optional()? else {
        return Ok(false);
    };
    let to = next(JobStatus::Created, JobEvent::Admit)?;
    tx.conn
        .prepare_cached("UPDATE jobs SET status = ?2, run_at = ifnull(?3, run_at) WHERE id = ?1")?
        .execute(params![job, status_code(to), millis(now)])?;
    tx.cache.moved(lane, Some(JobStatus::Created), Some(to));
    Ok(true)
}

pub(super) fn has_any(conn: &Connection) -> DbResult<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM dependencies) OR EXISTS (SELECT 1 FROM run_alerts)";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

pub(super) const FOLLOW_UPS: &str = "SELECT j.id, a.schedule, a.slot, a.on_failure, j.status \
     FROM jobs j LEFT JOIN run_alerts a ON a.job = j.id \
     WHERE j.follow_up AND j.status >= 5 ORDER BY j.id LIMIT ?1";

pub(super) fn follow_ups(conn: &Connection, limit: u32) -> DbResult<Vec<FollowUp>> {
    let mut read = conn.prepare_cached(FOLLOW_UPS)?;
    let rows = read.query_map([limit], |row| {
        Ok(FollowUp { job: JobId(row.get(0)?), status: row::status(row, 4)?, alert: alert(row)? })
    })?;
    Ok(row::readable("a job that ended", rows)?)
}

/// The columns of an alert. An unreadable alert is lost; the rest of the follow-up is done.
fn alert(row: &Row<'_>) -> rusqlite::Result<Option<RunAlert>> {
    let job = JobId(row.get(0)?);
    let Some(text) = row.get_ref(3)?.as_str_or_null()? else { return Ok(None) };
    let Some(on_failure) = readable(job, Some(text.as_bytes())) else { return Ok(None) };
    let schedule = row::name(row, 1).unwrap_or_else(|_| Name::from_any(UNREADABLE));
    Ok(Some(RunAlert { job, schedule, slot: row::optional_time(row, 2)?, on_failure }))
}

pub(super) const TO_CANCEL: &str = "SELECT DISTINCT d.parent FROM dependencies d \
     JOIN jobs j ON j.id = d.parent \
     WHERE d.cancel AND NOT d.cancel_requested AND +j.status < 5 ORDER BY d.parent LIMIT ?1";

pub(super) fn jobs_to_cancel(conn: &Connection, limit: u32) -> DbResult<Vec<JobId>> {
    let mut read = conn.prepare_cached(TO_CANCEL)?;
    let jobs = read.query_map([limit], |row| Ok(JobId(row.get(0)?)))?;
    Ok(jobs.collect::<Result<_, _>>()?)
}

/// The job has a cancel request, or has it no longer.
pub(super) fn cancel_requested(tx: &Tx<'_>, job: JobId, requested: bool) -> DbResult<()> {
    tx.conn
        .prepare_cached("UPDATE dependencies SET cancel_requested = ?2 WHERE parent = ?1")?
        .execute(params![job.0, requested])?;
    Ok(())
}

pub(super) fn all(conn: &Connection) -> DbResult<(Vec<Dependency>, Vec<RunAlert>)> {
    let mut read = conn
        .prepare_cached("SELECT parent, child, cancel FROM dependencies ORDER BY parent, child")?;
    let rows = read.query_map([], |row| {
        Ok(Dependency {
            parent: JobId(row.get(0)?),
            child: JobId(row.get(1)?),
            cancel: row.get(2)?,
        })
    })?;
    let dependencies = rows.collect::<Result<_, _>>()?;
    let mut read =
        conn.prepare_cached("SELECT job, schedule, slot, on_failure FROM run_alerts ORDER BY job")?;
    let alerts = row::readable("an alert", read.query_map([], alert)?)?;
    Ok((dependencies, alerts.into_iter().flatten().collect()))
}

pub(super) fn import(
    tx: &mut Tx<'_>,
    dependencies: &[Dependency],
    alerts: &[(RunAlert, String)],
) -> DbResult<()> {
    for it in dependencies {
        if exists(tx, it.parent)? && exists(tx, it.child)? {
            let known = "SELECT 1 FROM dependencies WHERE parent = ?1 AND child = ?2";
            if !tx.conn.prepare_cached(known)?.exists([it.parent.0, it.child.0])? {
                depend(tx, *it)?;
            }
        }
    }
    for it in dependencies {
        admit(tx, it.child.0, None)?;
    }
    for (alert, on_failure) in alerts {
        if exists(tx, alert.job)? {
            add_alert(tx, alert.job, &alert.schedule, alert.slot, on_failure)?;
        }
    }
    Ok(())
}
