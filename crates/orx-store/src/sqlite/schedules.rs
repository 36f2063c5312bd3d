//! Schedules: plans and ledgers. Firings are in [`super::fire`], dependencies in [`super::dependencies`].

use async_trait::async_trait;
use orx_model::schedule::{Due, Slot};
use orx_model::{JobId, Name, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::db_error::DbResult;
use super::fire::{fire, put_row};
use super::row::{self, integer, millis};
use super::writer::Tx;
use super::{Sqlite, WriteKind, dependencies};
use crate::budget::Reads;
use crate::codec::slot_outcome;
use crate::error::prepared;
use crate::prepared_firing::{self, Import, NewPlan, PreparedFiring, PreparedRelease};
use crate::{
    Dependency, Fired, Firing, FollowUp, LastRun, Paused, Position, Release, Released, Result,
    Rewind, RunAlert, SLOTS_KEPT, SchedulePlan, ScheduleRecord, ScheduleUpdate, Schedules,
    SlotRequest, Term,
};

const RECORD: &str = "SELECT p.spec, p.templates, p.paused_at, p.paused_reason, p.paused_by, \
     p.changed_by, s.version, s.created_at, s.updated_at, s.handled, s.next_slot, s.next_fire, \
     s.runs, s.last_run, j.status, s.id, \
     EXISTS (SELECT 1 FROM dependencies WHERE child = s.last_run) FROM schedules s \
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
        Some(job) => {
            Some(LastRun { job: JobId(job), status: optional_status(14)?, depends: row.get(16)? })
        }
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

fn one(conn: &Connection, id: &Name) -> DbResult<Option<ScheduleRecord>> {
    let mut read = conn.prepare_cached(&format!("{RECORD} WHERE s.id = ?1"))?;
    Ok(read.query_row([id.as_str()], record_or_stub).optional()?)
}

fn list(conn: &Connection, after: &str, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
    let sql = format!("{RECORD} WHERE s.id > ?1 ORDER BY s.id LIMIT ?2");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map(params![after, limit], record_or_stub)?;
    Ok(row::readable("a schedule", rows)?)
}

fn due(conn: &Connection, now: Timestamp, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
    let sql = format!("{RECORD} WHERE s.next_fire <= ?1 ORDER BY s.next_fire, s.id");
    let mut read = conn.prepare_cached(&sql)?;
    first(&mut read.query(params![now.as_millis()])?, limit)
}

fn ahead(conn: &Connection, of: Timestamp, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
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

fn next_fire(conn: &Connection, after: Timestamp) -> DbResult<Option<Timestamp>> {
    let mut read = conn.prepare_cached(
        "SELECT next_fire FROM schedules WHERE next_fire > ?1 ORDER BY next_fire LIMIT 1",
    )?;
    Ok(read.query_row([after.as_millis()], |row| row::time(row, 0)).optional()?)
}

fn add(tx: &mut Tx<'_>, new: &NewPlan, now: Timestamp) -> DbResult<bool> {
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

fn change(
    tx: &mut Tx<'_>,
    expected: (u64, Timestamp),
    new: &NewPlan,
    row: Option<&Slot>,
    now: Timestamp,
) -> DbResult<ScheduleUpdate> {
    let id = &new.plan.spec.id;
    let Some(found) = version(tx, id)? else { return Ok(ScheduleUpdate::Missing) };
    if found != expected {
        return Ok(ScheduleUpdate::Stale);
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
    Ok(ScheduleUpdate::Applied { version })
}

pub(super) fn move_to(tx: &Tx<'_>, id: &Name, to: Position) -> DbResult<()> {
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

fn remove(tx: &mut Tx<'_>, id: &Name, expected: Option<u64>) -> DbResult<ScheduleUpdate> {
    let Some((version, _)) = version(tx, id)? else { return Ok(ScheduleUpdate::Missing) };
    if expected.is_some_and(|expected| expected != version) {
        return Ok(ScheduleUpdate::Stale);
    }
    for sql in [
        "DELETE FROM schedules WHERE id = ?1",
        "DELETE FROM schedule_plans WHERE id = ?1",
        "DELETE FROM slots WHERE schedule = ?1",
    ] {
        tx.conn.prepare_cached(sql)?.execute([id.as_str()])?;
    }
    Ok(ScheduleUpdate::Applied { version })
}

fn rewind(tx: &mut Tx<'_>, rewinds: &[Rewind]) -> DbResult<Vec<bool>> {
    let mut answers = Vec::with_capacity(rewinds.len());
    for Rewind { expected, row, to } in rewinds {
        let id = &expected.id;
        let holds = version(tx, id)? == Some((expected.version, expected.handled));
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

fn slots(conn: &Connection, request: &SlotRequest) -> DbResult<Vec<Slot>> {
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

fn missed_since(conn: &Connection, since: Timestamp) -> DbResult<Vec<(Name, u64)>> {
    let mut read = conn.prepare_cached(
        "SELECT schedule, sum(count) FROM slots \
         WHERE outcome = 'missed' AND recorded_at >= ?1 GROUP BY schedule ORDER BY schedule",
    )?;
    let rows = read.query_map([since.as_millis()], |row| {
        Ok((row::name(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    Ok(row::readable("a schedule", rows)?)
}

fn prune(tx: &mut Tx<'_>, before: Timestamp, limit: u32) -> DbResult<u64> {
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

fn import(tx: &mut Tx<'_>, all: &[Import]) -> DbResult<()> {
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

#[async_trait]
impl Schedules for Sqlite {
    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool> {
        let action = "store the schedule";
        let plan = prepared(action, NewPlan::new(plan))?;
        let run = move |tx: &mut Tx<'_>| add(tx, &plan, now);
        self.write(action, WriteKind::Durable, 2, run).await
    }

    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>> {
        let id = id.clone();
        self.read("read the schedule", move |conn| one(conn, &id)).await
    }

    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read =
            move |conn: &Connection| list(conn, after.as_ref().map_or("", Name::as_str), limit);
        self.read_of(Reads::Piece, "read the schedules", read).await
    }

    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp,
    ) -> Result<ScheduleUpdate> {
        let action = "change the schedule";
        let plan = prepared(action, NewPlan::new(plan))?;
        let run = move |tx: &mut Tx<'_>| change(tx, (version, handled), &plan, row.as_ref(), now);
        self.write(action, WriteKind::Durable, 3, run).await
    }

    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<ScheduleUpdate> {
        let id = id.clone();
        let run = move |tx: &mut Tx<'_>| remove(tx, &id, version);
        self.write("remove the schedule", WriteKind::Durable, 10, run).await
    }

    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read = move |conn: &Connection| due(conn, now, limit);
        self.read_of(Reads::Piece, "read the due schedules", read).await
    }

    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.read("read the due times", move |conn| next_fire(conn, after)).await
    }

    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>> {
        let action = "fire the schedules";
        let fires = prepared(action, PreparedFiring::all(fires))?;
        let weight = fires.iter().map(PreparedFiring::weight).sum();
        let run = move |tx: &mut Tx<'_>| fire(tx, &fires, now);
        match term {
            Some(term) => self.lead_write(action, WriteKind::Durable, weight, term, run).await,
            None => self.write(action, WriteKind::Durable, weight, run).await,
        }
    }

    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>> {
        let read = move |conn: &Connection| slots(conn, &request);
        self.read_of(Reads::Piece, "read the ledger", read).await
    }

    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>> {
        let read = move |conn: &Connection| missed_since(conn, since);
        self.read_of(Reads::Piece, "read the missed slots", read).await
    }

    async fn has_dependencies(&self) -> Result<bool> {
        self.read("read the dependencies", dependencies::has_any).await
    }

    async fn follow_ups(&self, limit: u32) -> Result<Vec<FollowUp>> {
        let read = move |conn: &Connection| dependencies::follow_ups(conn, limit);
        self.read("read the jobs that ended", read).await
    }

    async fn jobs_to_cancel(&self, limit: u32) -> Result<Vec<JobId>> {
        let read = move |conn: &Connection| dependencies::jobs_to_cancel(conn, limit);
        self.read("read the jobs to cancel", read).await
    }

    async fn release(
        &self,
        releases: Vec<Release>,
        term: Term,
        now: Timestamp,
    ) -> Result<Released> {
        let action = "release the jobs that wait";
        let releases = prepared(action, PreparedRelease::all(releases))?;
        let weight = releases.len() * 4;
        let run = move |tx: &mut Tx<'_>| dependencies::release(tx, &releases, now);
        self.lead_write(action, WriteKind::Durable, weight, term, run).await
    }

    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let action = "read the schedules ahead of the clock";
        self.read(action, move |conn| ahead(conn, of, limit)).await
    }

    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, _now: Timestamp) -> Result<Vec<bool>> {
        let weight = rewinds.len() * 4;
        let run = move |tx: &mut Tx<'_>| rewind(tx, &rewinds);
        self.lead_write("rewind the schedules", WriteKind::Durable, weight, term, run).await
    }

    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| prune(tx, before, limit);
        let (action, weight) = ("delete old slots", limit as usize);
        self.lead_write(action, WriteKind::Durable, weight, term, run).await
    }

    async fn import_schedules(&self, all: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()> {
        let action = "import the schedules";
        let weight = all.iter().map(|(_, slots)| 2 + slots.len()).sum();
        let all = prepared(action, prepared_firing::imports(all))?;
        let run = move |tx: &mut Tx<'_>| import(tx, &all);
        self.write(action, WriteKind::Durable, weight, run).await
    }

    async fn dependencies(&self) -> Result<(Vec<Dependency>, Vec<RunAlert>)> {
        self.read_of(Reads::Scan, "read the dependencies", dependencies::all).await
    }

    async fn import_dependencies(
        &self,
        dependencies: Vec<Dependency>,
        alerts: Vec<RunAlert>,
    ) -> Result<()> {
        let action = "import the dependencies";
        let alerts = prepared(action, prepared_firing::alerts(alerts))?;
        let weight = dependencies.len() + alerts.len();
        let run = move |tx: &mut Tx<'_>| dependencies::import(tx, &dependencies, &alerts);
        self.write(action, WriteKind::Durable, weight, run).await
    }
}
