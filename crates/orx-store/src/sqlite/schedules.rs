//! Schedules: plans, firings, ledgers, run dependencies.

use std::collections::HashSet;

use orx_model::job::UNREADABLE;
use orx_model::schedule::{Due, Slot};
use orx_model::{JobEvent, JobId, JobStatus, Name, Timestamp, next};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::db_error::DbResult;
use super::enqueue::insert;
use super::row::{self, integer, millis, status_code};
use super::writer::Tx;
use crate::codec::{readable, slot_columns, slot_outcome};
use crate::prepared_firing::{Import, NewPlan, NewSettle, PreparedFiring};
use crate::schedules::{first_status, with_job};
use crate::{
    Changed, ExpectedVersion, Fired, LastRun, Paused, Position, Rewind, RunAfter, RunDependency,
    SLOTS_KEPT, SchedulePlan, ScheduleRecord, Settled, SlotRequest,
};

const RECORD: &str = "SELECT p.spec, p.templates, p.paused_at, p.paused_reason, p.paused_by, \
     p.changed_by, s.version, s.created_at, s.updated_at, s.handled, s.next_slot, s.next_fire, \
     s.runs, s.last_run, j.status, s.id FROM schedules s \
     LEFT JOIN schedule_plans p ON p.id = s.id LEFT JOIN jobs j ON j.id = s.last_run";

/// As [`record`]. Replaces an unreadable schedule by a stub.
fn record_or_stub(row: &Row<'_>) -> rusqlite::Result<ScheduleRecord> {
    let error = match record(row) {
        Err(error) if row::is_unreadable(&error) => error,
        read => return read,
    };
    let id = row::name(row, 15)?;
    tracing::error!(schedule = %id, %error, "cannot read a schedule");
    let handled = row::time(row, 9)?;
    let version = row.get::<_, i64>(6)?.unsigned_abs();
    Ok(ScheduleRecord { version, ..ScheduleRecord::unreadable(id, handled, error.to_string()) })
}

fn record(row: &Row<'_>) -> rusqlite::Result<ScheduleRecord> {
    let optional_status = |column| match row.get::<_, Option<i64>>(column)? {
        Some(_) => row::status(row, column).map(Some),
        None => Ok(None),
    };
    let paused = match row::optional_time(row, 2)? {
        Some(at) => Some(Paused { at, reason: row.get(3)?, by: row.get(4)? }),
        None => None,
    };
    let slot = row::optional_time(row, 10)?;
    let due = slot.zip(row::optional_time(row, 11)?);
    let last_run = match row.get::<_, Option<i64>>(13)? {
        Some(job) => Some(LastRun { job: JobId(job), status: optional_status(14)? }),
        None => None,
    };
    Ok(ScheduleRecord {
        plan: SchedulePlan {
            spec: row::json(row, 0)?,
            templates: row::json(row, 1)?,
            paused,
            position: Position {
                handled: row::time(row, 9)?,
                next: due.map(|(slot, fire_at)| Due { slot, fire_at }),
            },
            by: row.get(5)?,
        },
        version: row.get::<_, i64>(6)?.unsigned_abs(),
        created_at: row::time(row, 7)?,
        updated_at: row::time(row, 8)?,
        runs: row.get::<_, i64>(12)?.unsigned_abs(),
        last_run,
        unreadable: None,
    })
}

pub(super) fn one(conn: &Connection, id: &Name) -> DbResult<Option<ScheduleRecord>> {
    let mut read = conn.prepare_cached(&format!("{RECORD} WHERE s.id = ?1"))?;
    Ok(read.query_row([id.as_str()], record_or_stub).optional()?)
}

pub(super) fn list(conn: &Connection, after: &str, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
    let sql = format!("{RECORD} WHERE s.id > ?1 ORDER BY s.id LIMIT ?2");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map(params![after, limit], record_or_stub)?;
    Ok(row::readable("a schedule", rows)?)
}

pub(super) fn due(conn: &Connection, now: Timestamp, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
    let sql = format!("{RECORD} WHERE s.next_fire <= ?1 ORDER BY s.next_fire, s.id");
    let mut read = conn.prepare_cached(&sql)?;
    first(&mut read.query(params![now.as_millis()])?, limit)
}

pub(super) fn ahead(conn: &Connection, of: Timestamp, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
    let sql = format!("{RECORD} WHERE s.handled > ?1 ORDER BY s.id");
    let mut read = conn.prepare_cached(&sql)?;
    first(&mut read.query(params![of.as_millis()])?, limit)
}

/// The first readable schedules. Logs and skips the others; they do not count towards the limit.
fn first(rows: &mut Rows<'_>, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
    let mut all = Vec::new();
    while all.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        match record(row) {
            Ok(record) => all.push(record),
            Err(error) if row::is_unreadable(&error) => {
                tracing::error!(%error, "skipped a schedule that cannot be read");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

pub(super) fn next_fire(conn: &Connection, after: Timestamp) -> DbResult<Option<Timestamp>> {
    let mut read = conn.prepare_cached(
        "SELECT next_fire FROM schedules WHERE next_fire > ?1 ORDER BY next_fire LIMIT 1",
    )?;
    Ok(read.query_row([after.as_millis()], |row| row::time(row, 0)).optional()?)
}

pub(super) fn add(tx: &mut Tx<'_>, new: &NewPlan, now: Timestamp) -> DbResult<bool> {
    if version(tx, &new.plan.spec.id)?.is_some() {
        return Ok(false);
    }
    let record = ScheduleRecord {
        plan: new.plan.clone(),
        version: 1,
        created_at: now,
        updated_at: now,
        runs: 0,
        last_run: None,
        unreadable: None,
    };
    insert_schedule(tx, &record, new)?;
    Ok(true)
}

/// Inserts a schedule.
fn insert_schedule(tx: &Tx<'_>, record: &ScheduleRecord, new: &NewPlan) -> DbResult<()> {
    let position = record.plan.position;
    tx.conn
        .prepare_cached(
            "INSERT INTO schedules (id, version, created_at, updated_at, handled, next_slot, \
             next_fire, runs, last_run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            record.id().as_str(),
            integer(record.version),
            record.created_at.as_millis(),
            record.updated_at.as_millis(),
            position.handled.as_millis(),
            millis(position.next.map(|next| next.slot)),
            millis(position.next.map(|next| next.fire_at)),
            integer(record.runs),
            record.last_run.map(|run| run.job.0),
        ])?;
    put_plan(tx, new)
}

fn put_plan(tx: &Tx<'_>, new: &NewPlan) -> DbResult<()> {
    let paused = new.plan.paused.as_ref();
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO schedule_plans (id, spec, templates, paused_at, \
             paused_reason, paused_by, changed_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            new.plan.spec.id.as_str(),
            new.spec,
            new.templates,
            paused.map(|paused| paused.at.as_millis()),
            paused.and_then(|paused| paused.reason.as_deref()),
            paused.and_then(|paused| paused.by.as_deref()),
            new.plan.by,
        ])?;
    Ok(())
}

fn version(tx: &Tx<'_>, id: &Name) -> DbResult<Option<(u64, Timestamp)>> {
    let mut find =
        tx.conn.prepare_cached("SELECT version, handled FROM schedules WHERE id = ?1")?;
    let found = find.query_row([id.as_str()], |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row::time(row, 1)?))
    });
    Ok(found.optional()?)
}

pub(super) fn change(
    tx: &mut Tx<'_>,
    expected: (u64, Timestamp),
    new: &NewPlan,
    row: Option<&Slot>,
    now: Timestamp,
) -> DbResult<Changed> {
    let id = &new.plan.spec.id;
    let Some(found) = version(tx, id)? else { return Ok(Changed::Missing) };
    if found != expected {
        return Ok(Changed::Stale);
    }
    let version = expected.0 + 1;
    tx.conn
        .prepare_cached("UPDATE schedules SET version = ?2, updated_at = ?3 WHERE id = ?1")?
        .execute(params![id.as_str(), integer(version), now.as_millis()])?;
    move_to(tx, id, new.plan.position)?;
    put_plan(tx, new)?;
    if let Some(row) = row {
        put_row(tx, id, row)?;
    }
    Ok(Changed::Done { version })
}

fn move_to(tx: &Tx<'_>, id: &Name, to: Position) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "UPDATE schedules SET handled = ?2, next_slot = ?3, next_fire = ?4 WHERE id = ?1",
        )?
        .execute(params![
            id.as_str(),
            to.handled.as_millis(),
            millis(to.next.map(|next| next.slot)),
            millis(to.next.map(|next| next.fire_at)),
        ])?;
    Ok(())
}

pub(super) fn remove(tx: &mut Tx<'_>, id: &Name, expected: Option<u64>) -> DbResult<Changed> {
    let Some((version, _)) = version(tx, id)? else { return Ok(Changed::Missing) };
    if expected.is_some_and(|expected| expected != version) {
        return Ok(Changed::Stale);
    }
    for sql in [
        "DELETE FROM schedules WHERE id = ?1",
        "DELETE FROM schedule_plans WHERE id = ?1",
        "DELETE FROM slots WHERE schedule = ?1",
    ] {
        tx.conn.prepare_cached(sql)?.execute([id.as_str()])?;
    }
    Ok(Changed::Done { version })
}

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

pub(super) fn rewind(tx: &mut Tx<'_>, rewinds: &[Rewind]) -> DbResult<Vec<bool>> {
    let mut answers = Vec::with_capacity(rewinds.len());
    for Rewind { basis, row, to } in rewinds {
        let id = &basis.id;
        let holds = version(tx, id)? == Some((basis.version, basis.handled));
        answers.push(holds);
        if !holds {
            continue;
        }
        for sql in [
            "DELETE FROM slots \
             WHERE schedule = ?1 AND slot > ?2 AND outcome IN ('missed', 'skipped')",
            "UPDATE slots SET last = ?2, count = 1, exact = 0 WHERE schedule = ?1 AND last > ?2",
            "UPDATE slots SET recorded_at = ?2 WHERE schedule = ?1 AND recorded_at > ?2",
            "UPDATE schedules SET written = written + 1 WHERE id = ?1 AND handled > ?2",
        ] {
            tx.conn.prepare_cached(sql)?.execute(params![id.as_str(), to.handled.as_millis()])?;
        }
        put_row(tx, id, row)?;
        move_to(tx, id, *to)?;
    }
    Ok(answers)
}

fn fire_one(tx: &mut Tx<'_>, fire: &PreparedFiring, now: Timestamp) -> DbResult<Fired> {
    let id = &fire.basis.id;
    let last = fire.basis.last_run.map(|(job, _)| job);
    let mut jobs: Vec<JobId> = Vec::with_capacity(fire.runs.len());
    for run in &fire.runs {
        let (after, cancel) = match run.after {
            RunAfter::Nothing => (None, false),
            RunAfter::Last { cancel } => (last, cancel),
            RunAfter::Beside => (last, false),
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
fn put_row(tx: &Tx<'_>, id: &Name, slot: &Slot) -> DbResult<()> {
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

fn watch(
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

pub(super) fn slots(conn: &Connection, request: &SlotRequest) -> DbResult<Vec<Slot>> {
    let missed = if request.missed { "AND outcome = 'missed'" } else { "" };
    let mut read = conn.prepare_cached(&format!(
        "SELECT slot, last, count, exact, outcome, reason, job, late_ms, recorded_at FROM slots \
         WHERE schedule = ?1 AND slot < ?2 {missed} ORDER BY slot DESC"
    ))?;
    let before = request.before.map_or(i64::MAX, Timestamp::as_millis);
    let mut rows = read.query(params![request.id.as_str(), before])?;
    let mut slots = Vec::new();
    while slots.len() < request.limit as usize
        && let Some(row) = rows.next()?
    {
        slots.extend(row::readable("a row of a ledger", std::iter::once(slot(row)))?);
    }
    Ok(slots)
}

fn slot(row: &Row<'_>) -> rusqlite::Result<Slot> {
    let outcome = row.get_ref(4)?.as_str()?;
    let job = row.get::<_, Option<i64>>(6)?.map(JobId);
    let found = slot_outcome(outcome, row.get_ref(5)?.as_str_or_null()?, job, row.get(7)?);
    Ok(Slot {
        slot: row::time(row, 0)?,
        last: row::optional_time(row, 1)?,
        count: row.get::<_, i64>(2)?.unsigned_abs(),
        exact: row.get(3)?,
        outcome: found.ok_or_else(|| row::wrong(4, Type::Text, outcome))?,
        recorded_at: row::time(row, 8)?,
    })
}

pub(super) fn missed_since(conn: &Connection, since: Timestamp) -> DbResult<Vec<(Name, u64)>> {
    let mut read = conn.prepare_cached(
        "SELECT schedule, sum(count) FROM slots \
         WHERE outcome = 'missed' AND recorded_at >= ?1 GROUP BY schedule ORDER BY schedule",
    )?;
    let rows = read.query_map([since.as_millis()], |row| {
        Ok((row::name(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    Ok(row::readable("a schedule", rows)?)
}

const WATCHED: &str = "SELECT w.job, w.schedule, w.slot, w.waits_for, w.cancel, w.on_failure, \
     j.status, a.status \
     FROM watched w LEFT JOIN jobs j ON j.id = w.job LEFT JOIN jobs a ON a.id = w.waits_for";

fn watched_row(row: &Row<'_>) -> rusqlite::Result<RunDependency> {
    let status = |column| match row.get::<_, Option<i64>>(column)? {
        Some(_) => row::status(row, column).map(Some),
        None => Ok(None),
    };
    let after = match row.get::<_, Option<i64>>(3)? {
        Some(job) => Some((JobId(job), status(7)?)),
        None => None,
    };
    let job = JobId(row.get(0)?);
    Ok(RunDependency {
        job,
        schedule: row::name(row, 1).unwrap_or_else(|_| Name::from_any(UNREADABLE)),
        slot: row::optional_time(row, 2)?,
        status: status(6)?,
        after,
        cancel: row.get(4)?,
        on_failure: match row.get_ref(5)?.as_str_or_null()? {
            // An unreadable alert is lost; the dependency still works.
            Some(text) => readable(job, Some(text.as_bytes())),
            None => None,
        },
    })
}

pub(super) fn is_watching(conn: &Connection) -> DbResult<bool> {
    Ok(conn.prepare_cached("SELECT 1 FROM watched LIMIT 1")?.exists([])?)
}

pub(super) fn watched(conn: &Connection, limit: u32) -> DbResult<Vec<RunDependency>> {
    let mut read = conn.prepare_cached(&format!(
        "{WATCHED} WHERE ifnull(j.status, 5) >= 5 \
         OR (w.waits_for IS NOT NULL \
             AND (ifnull(a.status, 5) >= 5 OR (w.cancel AND a.cancel_at IS NULL))) \
         ORDER BY w.job LIMIT ?1"
    ))?;
    let rows = read.query_map([limit], watched_row)?;
    Ok(row::readable("a run dependency", rows)?)
}

pub(super) fn all_watched(conn: &Connection) -> DbResult<Vec<RunDependency>> {
    let mut read = conn.prepare_cached(&format!("{WATCHED} ORDER BY w.job"))?;
    let rows = read.query_map([], watched_row)?;
    Ok(row::readable("a run dependency", rows)?)
}

pub(super) fn settle(
    tx: &mut Tx<'_>,
    settles: &[NewSettle],
    now: Timestamp,
) -> DbResult<Vec<Settled>> {
    let mut answers = Vec::with_capacity(settles.len());
    for settle in settles {
        answers.push(match settle {
            NewSettle::Release(job) => release(tx, *job, now)?,
            NewSettle::End(job, alert) => {
                let mut end = tx.conn.prepare_cached("DELETE FROM watched WHERE job = ?1")?;
                match alert {
                    _ if end.execute([job])? == 0 => Settled::Nothing,
                    Some(alert) => Settled::Alerted(insert(tx, alert, JobStatus::Pending, now)?),
                    None => Settled::Done,
                }
            }
        });
    }
    Ok(answers)
}

fn release(tx: &mut Tx<'_>, job: i64, now: Timestamp) -> DbResult<Settled> {
    let waited = tx
        .conn
        .prepare_cached(
            "UPDATE watched SET waits_for = NULL WHERE job = ?1 AND waits_for IS NOT NULL",
        )?
        .execute([job])?;
    if waited == 0 {
        return Ok(Settled::Nothing);
    }
    tx.conn
        .prepare_cached("DELETE FROM watched WHERE job = ?1 AND on_failure IS NULL")?
        .execute([job])?;
    let to = next(JobStatus::Created, JobEvent::Admit)?;
    let mut find = tx.conn.prepare_cached("SELECT lane FROM jobs WHERE id = ?1 AND status = ?2")?;
    let created = status_code(JobStatus::Created);
    let Some(lane) = find.query_row([job, created], |row| row.get(0)).optional()? else {
        return Ok(Settled::Done);
    };
    tx.conn
        .prepare_cached("UPDATE jobs SET status = ?2, run_at = ?3 WHERE id = ?1")?
        .execute(params![job, status_code(to), now.as_millis()])?;
    tx.cache.moved(lane, Some(JobStatus::Created), Some(to));
    Ok(Settled::Admitted)
}

pub(super) fn prune(tx: &mut Tx<'_>, before: Timestamp, limit: u32) -> DbResult<u64> {
    let mut gone = tx
        .conn
        .prepare_cached(
            "DELETE FROM slots WHERE (schedule, slot) IN \
             (SELECT schedule, slot FROM slots WHERE recorded_at < ?1 \
              ORDER BY recorded_at LIMIT ?2)",
        )?
        .execute(params![before.as_millis(), limit])?;
    if gone >= limit as usize {
        return Ok(gone as u64);
    }
    // A ledger that grew by many rows is reduced to its newest.
    let find = "SELECT id FROM schedules WHERE written > 11000 LIMIT 1";
    let long: Option<String> =
        tx.conn.prepare_cached(find)?.query_row([], |row| row.get(0)).optional()?;
    if let Some(id) = long {
        gone += tx
            .conn
            .prepare_cached(
                "DELETE FROM slots WHERE schedule = ?1 AND slot < (SELECT slot FROM slots \
                 WHERE schedule = ?1 ORDER BY slot DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![id, SLOTS_KEPT - 1])?;
        tx.conn
            .prepare_cached("UPDATE schedules SET written = ?2 WHERE id = ?1")?
            .execute(params![id, SLOTS_KEPT])?;
    }
    Ok(gone as u64)
}

pub(super) fn import(tx: &mut Tx<'_>, all: &[Import]) -> DbResult<()> {
    for (record, new, rows) in all {
        if version(tx, record.id())?.is_none() {
            insert_schedule(tx, record, new)?;
            for row in rows {
                put_row(tx, record.id(), row)?;
            }
            // So that pruning reduces a long imported ledger too.
            tx.conn
                .prepare_cached("UPDATE schedules SET written = ?2 WHERE id = ?1")?
                .execute(params![record.id().as_str(), rows.len() as i64])?;
        }
    }
    Ok(())
}

pub(super) fn import_watched(
    tx: &mut Tx<'_>,
    all: &[(RunDependency, Option<String>)],
) -> DbResult<()> {
    for (it, on_failure) in all {
        let after = it.after.map(|(after, _)| after);
        watch(tx, it.job, &it.schedule, it.slot, after, it.cancel, on_failure.as_deref())?;
    }
    Ok(())
}
