//! Schedules: plans and ledgers. Firings are in [`super::fire`], dependencies in [`super::dependencies`].

use std::collections::HashSet;

use async_trait::async_trait;
use orx_model::schedule::{Due, Slot};
use orx_model::{JobId, Name, Timestamp};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::fire::{NewRow, last_of_each, row_values};
use super::row::{self, PgColumns, wrong};
use super::sql::SqlValue;
use super::{PgBudget, Postgres, sql};
use crate::codec::{integer, millis, slot_outcome};
use crate::columns::Row as _;
use crate::error::prepared;
use crate::prepared_firing::{self, Import, NewPlan, PreparedFiring, PreparedRelease};
use crate::{
    Dependency, Fired, Firing, FollowUp, LastRun, Outlook, Paused, Position, Release, Released,
    Result, Rewind, RunAlert, SLOTS_KEPT, SchedulePlan, ScheduleRecord, ScheduleUpdate, Schedules,
    SlotRequest, Term,
};

/// The columns of [`record`], in its order, from `schedules s`.
const RECORD: &str = "select p.spec, p.templates, p.paused_at, p.paused_reason, p.paused_by, \
     p.changed_by, s.version, s.created_at, s.updated_at, s.handled, s.next_slot, s.next_fire, \
     s.runs, s.last_run, (select j.status from jobs j where j.id = s.last_run), s.id, \
     (select true from dependencies d where d.child = s.last_run limit 1) is not null";

/// As [`record`]; for an unreadable schedule, a record with its readable parts.
fn record_or_stub(row: &PgRow) -> DbResult<ScheduleRecord> {
    let error = match record(row) {
        Err(DbError::Unreadable(error)) => error,
        read => return read,
    };
    let row = PgColumns(row);
    let (id, handled, version) = (row.name(15)?, row.time(9)?, row.unsigned(6)?);
    tracing::error!(schedule = %id, %error, "a schedule cannot be read");
    Ok(ScheduleRecord { version, ..ScheduleRecord::unreadable(id, handled, error.to_string()) })
}

fn record(row: &PgRow) -> DbResult<ScheduleRecord> {
    let row = PgColumns(row);
    let paused = match row.optional_time(2)? {
        Some(at) => Some(Paused { at, reason: row.optional_text(3)?, by: row.optional_text(4)? }),
        None => None,
    };
    let due = row.optional_time(10)?.zip(row.optional_time(11)?);
    let last_run = match row.optional_int(13)? {
        Some(job) => Some(LastRun {
            job: JobId(job),
            status: row.optional_status(14)?,
            depends: row.bool(16)?,
        }),
        None => None,
    };
    Ok(ScheduleRecord {
        plan: SchedulePlan {
            spec: row.json(0)?,
            templates: row.json(1)?,
            paused,
            position: Position {
                handled: row.time(9)?,
                next: due.map(|(slot, fire_at)| Due { slot, fire_at }),
            },
            by: row.optional_text(5)?,
        },
        version: row.unsigned(6)?,
        created_at: row.time(7)?,
        updated_at: row.time(8)?,
        runs: row.unsigned(12)?,
        last_run,
        unreadable: None,
    })
}

fn slot(row: &PgRow) -> DbResult<Slot> {
    let row = PgColumns(row);
    let outcome = row.str(4)?;
    let job = row.optional_int(6)?.map(JobId);
    let found = slot_outcome(outcome, row.optional_str(5)?, job, row.optional_int(7)?);
    Ok(Slot {
        slot: row.time(0)?,
        last: row.optional_time(1)?,
        count: row.unsigned(2)?,
        exact: row.bool(3)?,
        outcome: found.ok_or_else(|| wrong(4, outcome))?,
        recorded_at: row.time(8)?,
    })
}

/// Attempts to remove a schedule that fires meanwhile.
const REMOVE_TRIES: usize = 20;

impl PgBudget {
    async fn add_schedule(&self, new: &NewPlan, now: Timestamp) -> DbResult<bool> {
        let mut values = plan_values(new, now);
        values.push(("id", sql::text(new.plan.spec.id.as_str())));
        let message = sql::fill(include_str!("add_schedule.sql"), values);
        Ok(!self.rows(MessageKind::Durable, message).await?.is_empty())
    }

    async fn schedule(&self, id: &Name) -> DbResult<Option<ScheduleRecord>> {
        let message = sql::fill(
            &format!(
                "{RECORD} from schedules s left join schedule_plans p on p.id = s.id \
                 where s.id = :id"
            ),
            [("id", sql::text(id.as_str()))],
        );
        self.rows(MessageKind::Read, message).await?.first().map(record_or_stub).transpose()
    }

    async fn schedules(&self, after: Option<&Name>, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
        let message = sql::fill(
            &format!(
                "{RECORD} from schedules s left join schedule_plans p on p.id = s.id \
                 where s.id > :after order by s.id limit :limit"
            ),
            [
                ("after", sql::text(after.map_or("", Name::as_str))),
                ("limit", sql::int(i64::from(limit))),
            ],
        );
        let rows = self.rows(MessageKind::Piece, message).await?;
        row::readable("a schedule", &rows, record_or_stub)
    }

    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        new: &NewPlan,
        row: Option<&Slot>,
        now: Timestamp,
    ) -> DbResult<ScheduleUpdate> {
        let mut values = plan_values(new, now);
        values.extend([
            ("id", sql::text(new.plan.spec.id.as_str())),
            ("version", sql::int(integer(version))),
            ("handled", sql::int(handled.as_millis())),
        ]);
        let row = row.map(NewRow::new);
        values.extend(row_values(&row.iter().collect::<Vec<_>>()));
        let message = sql::fill(include_str!("change_schedule.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        let Some(row) = rows.first().map(PgColumns) else { return Ok(ScheduleUpdate::Missing) };
        Ok(match row.optional_int(0)? {
            Some(_) => ScheduleUpdate::Applied { version: row.unsigned(0)? },
            None => ScheduleUpdate::Stale,
        })
    }

    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> DbResult<ScheduleUpdate> {
        for _ in 0..REMOVE_TRIES {
            let statement = sql::fill(
                include_str!("remove_schedule.sql"),
                [
                    ("id", sql::text(id.as_str())),
                    ("version", sql::optional_int(version.map(integer))),
                ],
            );
            let rows = self.rows(MessageKind::Durable, statement).await?;
            let Some(row) = rows.first().map(PgColumns) else { return Ok(ScheduleUpdate::Missing) };
            let version = row.unsigned(0)?;
            if row.bool(1)? {
                return Ok(ScheduleUpdate::Applied { version });
            }
            if row.bool(2)? {
                return Ok(ScheduleUpdate::Stale);
            }
        }
        Err(DbError::Busy)
    }

    async fn due_schedules(&self, now: Timestamp, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
        let mut due = Vec::new();
        let mut after = (i64::MIN, String::new());
        loop {
            let message = sql::fill(
                &format!(
                    "{RECORD} from (select * from schedules where next_fire <= :now \
                     and (next_fire, id) > (:after, :after_id) \
                     order by next_fire, id limit :limit) s \
                     left join schedule_plans p on p.id = s.id order by s.next_fire, s.id"
                ),
                [
                    ("now", sql::int(now.as_millis())),
                    ("after", sql::int(after.0)),
                    ("after_id", sql::text(&after.1)),
                    ("limit", sql::int(i64::from(limit))),
                ],
            );
            let rows = self.rows(MessageKind::Piece, message).await?;
            due.extend(row::readable("a due schedule", &rows, record)?);
            // Unreadable rows do not count towards the limit.
            let last = rows.last().map(PgColumns).filter(|_| rows.len() >= limit as usize);
            match last {
                Some(last) if due.len() < limit as usize => {
                    after = (last.int(11)?, last.text(15)?);
                }
                Some(_) | None => {
                    due.truncate(limit as usize);
                    return Ok(due);
                }
            }
        }
    }

    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> DbResult<Vec<ScheduleRecord>> {
        let (mut ahead, mut after) = (Vec::new(), String::new());
        loop {
            let message = sql::fill(
                &format!(
                    "{RECORD} from schedules s left join schedule_plans p on p.id = s.id \
                     where s.handled > :now and s.id > :after order by s.id limit :limit"
                ),
                [
                    ("now", sql::int(of.as_millis())),
                    ("after", sql::text(&after)),
                    ("limit", sql::int(i64::from(limit))),
                ],
            );
            let rows = self.rows(MessageKind::Read, message).await?;
            ahead.extend(row::readable("a schedule ahead of the clock", &rows, record)?);
            // Unreadable rows do not count towards the limit.
            match rows.last().filter(|_| rows.len() >= limit as usize) {
                Some(last) if ahead.len() < limit as usize => after = PgColumns(last).text(15)?,
                Some(_) | None => {
                    ahead.truncate(limit as usize);
                    return Ok(ahead);
                }
            }
        }
    }

    async fn rewind(&self, rewinds: &[Rewind], term: Term) -> DbResult<Vec<bool>> {
        let mut seen = HashSet::new();
        let ords: Vec<usize> =
            (0..rewinds.len()).filter(|ord| seen.insert(&rewinds[*ord].expected.id)).collect();
        let of = || ords.iter().map(|ord| &rewinds[*ord]);
        let numbers = || sql::ints(ords.iter().map(|ord| *ord as i64));
        let next = || of().map(|it| it.to.next);
        let mut values = vec![
            ("lease", SqlValue::Lease(Some(term))),
            ("ords", numbers()),
            ("ids", sql::texts(of().map(|it| it.expected.id.as_str()))),
            ("versions", sql::ints(of().map(|it| integer(it.expected.version)))),
            ("handled", sql::ints(of().map(|it| it.expected.handled.as_millis()))),
            ("to_handled", sql::ints(of().map(|it| it.to.handled.as_millis()))),
            ("to_slots", sql::ints(next().map(|next| millis(next.map(|next| next.slot))))),
            ("to_fires", sql::ints(next().map(|next| millis(next.map(|next| next.fire_at))))),
            ("row_ords", numbers()),
        ];
        let rows: Vec<NewRow<'_>> = of().map(|it| NewRow::new(&it.row)).collect();
        values.extend(row_values(&rows.iter().collect::<Vec<_>>()));
        let message = sql::fill(include_str!("rewind.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        if rows.is_empty() {
            return Err(DbError::Deposed);
        }
        let done = rows.iter().map(|row| PgColumns(row).optional_int(0));
        let done = done.collect::<DbResult<HashSet<Option<i64>>>>()?;
        Ok((0..rewinds.len()).map(|ord| done.contains(&Some(ord as i64))).collect())
    }

    async fn next_fire(&self, after: Timestamp) -> DbResult<Option<Timestamp>> {
        let message = sql::fill(
            "select next_fire from schedules where next_fire > :after order by next_fire limit 1",
            [("after", sql::int(after.as_millis()))],
        );
        let rows = self.rows(MessageKind::Read, message).await?;
        rows.first().map(|row| PgColumns(row).time(0)).transpose()
    }

    async fn slots(&self, request: &SlotRequest) -> DbResult<Vec<Slot>> {
        let missed = if request.missed { "and outcome = 'missed'" } else { "" };
        let limit = request.limit as usize;
        let mut before = millis(request.before).unwrap_or(i64::MAX);
        let mut slots = Vec::new();
        loop {
            let message = sql::fill(
                &format!(
                    "select slot, last, count, exact, outcome, reason, job, late_ms, recorded_at \
                     from slots where schedule = :id and slot < :before {missed} \
                     order by slot desc limit :limit"
                ),
                [
                    ("id", sql::text(request.id.as_str())),
                    ("before", sql::int(before)),
                    ("limit", sql::int(i64::from(request.limit))),
                ],
            );
            let rows = self.rows(MessageKind::Piece, message).await?;
            slots.extend(row::readable("a row of a ledger", &rows, slot)?);
            // Unreadable rows do not count towards the limit.
            match rows.last().filter(|_| rows.len() >= limit && slots.len() < limit) {
                Some(last) => before = PgColumns(last).int(0)?,
                None => {
                    slots.truncate(limit);
                    return Ok(slots);
                }
            }
        }
    }

    async fn missed_since(&self, since: Timestamp) -> DbResult<Vec<(Name, u64)>> {
        let message = sql::fill(
            "select schedule, sum(count)::bigint from slots \
             where outcome = 'missed' and recorded_at >= :since group by schedule order by schedule",
            [("since", sql::int(since.as_millis()))],
        );
        let missed = |row: &_| Ok((PgColumns(row).name(0)?, PgColumns(row).unsigned(1)?));
        row::readable("a schedule", &self.rows(MessageKind::Piece, message).await?, missed)
    }

    async fn outlook(&self, after: Timestamp) -> DbResult<Outlook> {
        let values = [("after", sql::int(after.as_millis()))];
        let rows =
            self.rows(MessageKind::Read, sql::fill(include_str!("outlook.sql"), values)).await?;
        let row = PgColumns(rows.first().ok_or_else(|| DbError::Unreadable("no row".into()))?);
        Ok(Outlook {
            next_due: row.optional_time(0)?,
            next_fire: row.optional_time(1)?,
            dependencies: row.bool(2)?,
            ready: row.bool(3)?,
        })
    }

    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> DbResult<u64> {
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("before", sql::int(before.as_millis())),
            ("limit", sql::int(i64::from(limit))),
            ("retained", sql::int(i64::from(SLOTS_KEPT))),
        ];
        let message = sql::fill(include_str!("prune_slots.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        PgColumns(rows.first().ok_or(DbError::Deposed)?).unsigned(0)
    }

    async fn import_schedules(&self, all: &[Import]) -> DbResult<()> {
        let mut seen = HashSet::new();
        let all: Vec<&Import> = all.iter().filter(|(it, ..)| seen.insert(it.id())).collect();
        let records = || all.iter().map(|(record, ..)| record);
        let next = || records().map(|record| record.plan.position.next);
        let paused = || records().map(|record| record.plan.paused.as_ref());
        let mut rows = Vec::new();
        for (record, _, slots) in &all {
            let slots = last_of_each(slots.iter().map(NewRow::new));
            rows.extend(slots.into_iter().map(|slot| (record.id().as_str(), slot)));
        }
        let handled = records().map(|record| record.plan.position.handled.as_millis());
        let last_runs = records().map(|record| record.last_run.map(|run| run.job.0));
        let mut values = vec![
            ("ids", sql::texts(records().map(|record| record.id().as_str()))),
            ("versions", sql::ints(records().map(|record| integer(record.version)))),
            ("created_ats", sql::ints(records().map(|record| record.created_at.as_millis()))),
            ("updated_ats", sql::ints(records().map(|record| record.updated_at.as_millis()))),
            ("handled", sql::ints(handled)),
            ("next_slots", sql::ints(next().map(|next| millis(next.map(|next| next.slot))))),
            ("next_fires", sql::ints(next().map(|next| millis(next.map(|next| next.fire_at))))),
            ("runs", sql::ints(records().map(|record| integer(record.runs)))),
            ("last_runs", sql::ints(last_runs)),
            ("written", sql::ints(all.iter().map(|(.., slots)| slots.len() as i64))),
            ("specs", sql::texts(all.iter().map(|(_, new, _)| new.spec.as_str()))),
            ("templates", sql::texts(all.iter().map(|(_, new, _)| new.templates.as_str()))),
            ("paused_ats", sql::ints(paused().map(|paused| millis(paused.map(|it| it.at))))),
            (
                "paused_reasons",
                sql::texts(paused().map(|it| it.and_then(|it| it.reason.as_deref()))),
            ),
            ("paused_bys", sql::texts(paused().map(|it| it.and_then(|it| it.by.as_deref())))),
            ("changed_bys", sql::texts(records().map(|record| record.plan.by.as_deref()))),
            ("row_ids", sql::texts(rows.iter().map(|(id, _)| *id))),
        ];
        values.extend(row_values(&rows.iter().map(|(_, row)| row).collect::<Vec<_>>()));
        let message = sql::fill(include_str!("import_schedules.sql"), values);
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }
}

/// The columns of a plan and its position, except the id.
fn plan_values(new: &NewPlan, now: Timestamp) -> Vec<(&'static str, SqlValue)> {
    let Position { handled, next } = new.plan.position;
    let paused = new.plan.paused.as_ref();
    vec![
        ("now", sql::int(now.as_millis())),
        ("to_handled", sql::int(handled.as_millis())),
        ("to_slot", sql::optional_int(millis(next.map(|next| next.slot)))),
        ("to_fire", sql::optional_int(millis(next.map(|next| next.fire_at)))),
        ("spec", sql::text(&new.spec)),
        ("templates", sql::text(&new.templates)),
        ("paused_at", sql::optional_int(millis(paused.map(|paused| paused.at)))),
        ("paused_reason", sql::optional_text(paused.and_then(|paused| paused.reason.as_deref()))),
        ("paused_by", sql::optional_text(paused.and_then(|paused| paused.by.as_deref()))),
        ("changed_by", sql::optional_text(new.plan.by.as_deref())),
    ]
}

#[async_trait]
impl Schedules for Postgres {
    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool> {
        let action = "store the schedule";
        let plan = prepared(action, NewPlan::new(plan))?;
        self.inner.write(action, self.inner.add_schedule(&plan, now)).await
    }

    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>> {
        self.inner.read("read the schedule", self.inner.schedule(id)).await
    }

    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read = self.inner.schedules(after.as_ref(), limit);
        self.inner.read("read the schedules", read).await
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
        let change = self.inner.change_schedule(version, handled, &plan, row.as_ref(), now);
        self.inner.write(action, change).await
    }

    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<ScheduleUpdate> {
        self.inner.write("remove the schedule", self.inner.remove_schedule(id, version)).await
    }

    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read = self.inner.due_schedules(now, limit);
        self.inner.read("read the due schedules", read).await
    }

    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read = self.inner.schedules_ahead(of, limit);
        self.inner.read("read the schedules ahead of the clock", read).await
    }

    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, _now: Timestamp) -> Result<Vec<bool>> {
        self.inner.write("rewind the schedules", self.inner.rewind(&rewinds, term)).await
    }

    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.inner.read("read the due times", self.inner.next_fire(after)).await
    }

    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>> {
        let action = "fire the schedules";
        let fires = prepared(action, PreparedFiring::all(fires))?;
        self.inner.write(action, self.inner.fire(&fires, term, now)).await
    }

    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>> {
        self.inner.read("read the ledger", self.inner.slots(&request)).await
    }

    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>> {
        self.inner.read("read the missed slots", self.inner.missed_since(since)).await
    }

    async fn outlook(&self, after: Timestamp) -> Result<Outlook> {
        self.inner.read("read the due times", self.inner.outlook(after)).await
    }

    async fn has_dependencies(&self) -> Result<bool> {
        self.inner.read("read the dependencies", self.inner.has_dependencies()).await
    }

    async fn follow_ups(&self, limit: u32) -> Result<Vec<FollowUp>> {
        self.inner.read("read the jobs that ended", self.inner.follow_ups(limit)).await
    }

    async fn jobs_to_cancel(&self, limit: u32) -> Result<Vec<JobId>> {
        self.inner.read("read the jobs to cancel", self.inner.jobs_to_cancel(limit)).await
    }

    async fn release(
        &self,
        releases: Vec<Release>,
        term: Term,
        now: Timestamp,
    ) -> Result<Released> {
        let action = "release the jobs that wait";
        let releases = prepared(action, PreparedRelease::all(releases))?;
        self.inner.write(action, self.inner.release(&releases, term, now)).await
    }

    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64> {
        self.inner.write("delete old slots", self.inner.prune_slots(before, limit, term)).await
    }

    async fn import_schedules(&self, all: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()> {
        let action = "import the schedules";
        let all = prepared(action, prepared_firing::imports(all))?;
        self.inner.write(action, self.inner.import_schedules(&all)).await
    }

    async fn dependencies(&self) -> Result<(Vec<Dependency>, Vec<RunAlert>)> {
        self.inner.read("read the dependencies", self.inner.dependencies()).await
    }

    async fn import_dependencies(
        &self,
        dependencies: Vec<Dependency>,
        alerts: Vec<RunAlert>,
    ) -> Result<()> {
        let action = "import the dependencies";
        let alerts = prepared(action, prepared_firing::alerts(alerts))?;
        let import = self.inner.import_dependencies(&dependencies, &alerts);
        self.inner.write(action, import).await
    }
}
