//! Firings of schedules, which create jobs, their dependencies, and rows of ledgers.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use orx_model::schedule::Slot;
use orx_model::{JobId, JobStatus, Name, Timestamp};

use super::db_error::{DbError, DbResult};
use super::enqueue::spec_values;
use super::executor::MessageKind;
use super::lanes::LaneId;
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::{PgBudget, sql};
use crate::codec::{integer, millis, priority_rank, slot_columns, status_code};
use crate::columns::Row as _;
use crate::prepared_firing::PreparedFiring;
use crate::prepared_job::PreparedJob;
use crate::schedules::first_status;
use crate::{Fired, RunAfter, Term};

/// A new row of a ledger.
pub(super) struct NewRow<'r> {
    slot: &'r Slot,
    /// Index of the row's job among the jobs of the statement, if the statement creates it.
    index: Option<usize>,
}

impl<'r> NewRow<'r> {
    pub(super) fn new(slot: &'r Slot) -> Self {
        Self { slot, index: None }
    }

    fn job(&self) -> Option<i64> {
        slot_columns(&self.slot.outcome).job
    }
}

/// One row per slot, since a statement can write a row only once. A row whose job this statement creates
/// comes first, then one that has a job; otherwise the last one counts.
pub(super) fn last_of_each<'r>(rows: impl IntoIterator<Item = NewRow<'r>>) -> Vec<NewRow<'r>> {
    let mut chosen: BTreeMap<Timestamp, NewRow<'r>> = BTreeMap::new();
    for row in rows {
        let stays =
            |known: &NewRow<'_>| known.index.is_some() || known.slot.outcome.job().is_some();
        let known = chosen.get(&row.slot.slot);
        if row.index.is_some() || known.is_none_or(|known| !stays(known)) {
            chosen.insert(row.slot.slot, row);
        }
    }
    chosen.into_values().collect()
}

/// The columns of rows, except the schedule.
pub(super) fn row_values(rows: &[&NewRow<'_>]) -> Vec<(&'static str, SqlValue)> {
    let slots = || rows.iter().map(|row| row.slot);
    let columns = || slots().map(|slot| slot_columns(&slot.outcome));
    vec![
        ("row_slots", sql::ints(slots().map(|slot| slot.slot.as_millis()))),
        ("row_lasts", sql::ints(slots().map(|slot| millis(slot.last)))),
        ("row_counts", sql::ints(slots().map(|slot| integer(slot.count)))),
        ("row_exact", sql::bools(slots().map(|slot| slot.exact))),
        ("row_outcomes", sql::texts(columns().map(|columns| columns.outcome))),
        ("row_reasons", sql::texts(columns().map(|columns| columns.reason))),
        ("row_jobs", sql::ints(rows.iter().map(|row| row.job()))),
        ("row_lates", sql::ints(columns().map(|columns| columns.late_ms))),
        ("row_times", sql::ints(slots().map(|slot| slot.recorded_at.as_millis()))),
    ]
}

/// A new job of a firing: a run or an alert.
struct Making<'j> {
    /// Index of its command.
    ord: usize,
    job: &'j PreparedJob,
    lane: LaneId,
    is_run: bool,
    /// The job that it waits for: an existing one, or the index of a new one in this statement.
    after_job: Option<JobId>,
    after_place: Option<usize>,
    how: RunAfter,
    slot: Option<Timestamp>,
    on_failure: Option<&'j str>,
}

impl Making<'_> {
    fn is_after(&self) -> bool {
        self.after_job.is_some() || self.after_place.is_some()
    }

    fn cancels(&self) -> bool {
        self.how == RunAfter::Last { cancel: true }
    }
}

pub(super) fn run_at(job: &PreparedJob, now: Timestamp) -> i64 {
    job.run_at.map_or(now, |run_at| run_at.max(now)).as_millis()
}

/// The jobs and rows of the commands of one statement.
#[derive(Default)]
struct Makings<'f> {
    jobs: Vec<Making<'f>>,
    rows: Vec<(usize, NewRow<'f>)>,
    /// Index of the last run of each command.
    last_places: Vec<Option<usize>>,
}

impl<'f> Makings<'f> {
    fn new(inner: &PgBudget, fires: &'f [PreparedFiring], ords: &[usize]) -> DbResult<Self> {
        let mut all = Self::default();
        for ord in ords {
            all.add(inner, *ord, &fires[*ord])?;
        }
        Ok(all)
    }

    fn add(&mut self, inner: &PgBudget, ord: usize, fire: &'f PreparedFiring) -> DbResult<()> {
        let mut rows = Vec::with_capacity(fire.runs.len());
        let mut before = None;
        for run in &fire.runs {
            let index = self.jobs.len();
            let last = fire.expected.last_run.map(|(job, _)| job);
            let (after_job, after_place) = match run.after {
                RunAfter::Nothing => (None, None),
                RunAfter::Last { .. } | RunAfter::AlongsideLast => (last, None),
                RunAfter::Before => (None, before),
            };
            self.jobs.push(Making {
                ord,
                job: &run.job,
                lane: inner.lane_id(&run.job.lane)?,
                is_run: true,
                after_job,
                after_place,
                how: run.after,
                slot: run.row.as_ref().map(|row| row.slot),
                on_failure: run.on_failure.as_deref(),
            });
            let has_job = |row: &Slot| slot_columns(&row.outcome).job.is_some();
            rows.extend(
                run.row
                    .as_ref()
                    .map(|row| NewRow { index: has_job(row).then_some(index), slot: row }),
            );
            before = Some(index);
        }
        // For one slot, a row of a run wins over a row of the firing, and an earlier run over a later one.
        let rows = fire.rows.iter().map(NewRow::new).chain(rows.into_iter().rev());
        self.rows.extend(last_of_each(rows).into_iter().map(|row| (ord, row)));
        for job in &fire.alerts {
            self.jobs.push(Making {
                ord,
                job,
                lane: inner.lane_id(&job.lane)?,
                is_run: false,
                after_job: None,
                after_place: None,
                how: RunAfter::Nothing,
                slot: None,
                on_failure: None,
            });
        }
        self.last_places.push(before);
        Ok(())
    }
}

impl PgBudget {
    pub(super) async fn fire(
        self: &Arc<Self>,
        fires: &[PreparedFiring],
        term: Option<Term>,
        now: Timestamp,
    ) -> DbResult<Vec<Option<Fired>>> {
        let jobs = fires.iter().flat_map(|fire| {
            fire.runs.iter().map(|run| &run.job).chain(&fire.alerts).map(|job| &job.lane)
        });
        self.add_lanes(jobs.collect()).await?;
        let mut seen: HashSet<&Name> = HashSet::new();
        let ords: Vec<usize> =
            (0..fires.len()).filter(|ord| seen.insert(&fires[*ord].expected.id)).collect();
        let statement = self.fire_statement(fires, &ords, term, now)?;
        let rows = self.rows(MessageKind::Durable, statement).await?;
        if rows.is_empty() {
            return Err(DbError::Deposed);
        }
        self.count();
        let mut answers: Vec<Option<Fired>> = vec![None; fires.len()];
        for row in &rows {
            let row = PgColumns(row);
            // The only row of a statement that applied no command.
            let Some(ord) = row.optional_int(0)? else { continue };
            let answer = usize::try_from(ord).ok().and_then(|ord| answers.get_mut(ord));
            if let Some(answer) = answer {
                let fired = answer.get_or_insert_default();
                let Some(job) = row.optional_int(1)?.map(JobId) else { continue };
                if row.bool(2)? { fired.runs.push(job) } else { fired.alerts.push(job) }
            }
        }
        Ok(answers)
    }

    pub(super) fn fire_statement(
        &self,
        fires: &[PreparedFiring],
        ords: &[usize],
        term: Option<Term>,
        now: Timestamp,
    ) -> DbResult<Statement> {
        let Makings { jobs, rows, last_places } = Makings::new(self, fires, ords)?;
        let of = || ords.iter().map(|ord| &fires[*ord]);
        let expected = || of().map(|fire| &fire.expected);
        let runs = |fire: &PreparedFiring| fire.runs.iter().filter(|run| run.row.is_some()).count();
        let to = || of().map(|fire| fire.to);
        let next = || to().map(|to| to.and_then(|to| to.next));
        let index = |index: Option<usize>| index.map(|index| index as i64);
        let made = || jobs.iter();
        let new = || jobs.iter().map(|it| it.job);
        let mut values = vec![
            ("lease", SqlValue::Lease(term)),
            ("now", sql::int(now.as_millis())),
            ("ords", sql::ints(ords.iter().map(|ord| *ord as i64))),
            ("ids", sql::texts(expected().map(|expected| expected.id.as_str()))),
            ("versions", sql::ints(expected().map(|expected| integer(expected.version)))),
            ("handled", sql::ints(expected().map(|expected| expected.handled.as_millis()))),
            (
                "last_runs",
                sql::ints(expected().map(|expected| expected.last_run.map(|(job, _)| job.0))),
            ),
            (
                "ended",
                sql::bools(expected().map(|expected| expected.last_run.is_none_or(|(_, it)| it))),
            ),
            ("runs", sql::ints(of().map(|fire| runs(fire) as i64))),
            ("written", sql::ints(of().map(|fire| (runs(fire) + fire.rows.len()) as i64))),
            ("last_places", sql::ints(last_places.into_iter().map(index))),
            ("moves", sql::bools(to().map(|to| to.is_some()))),
            ("to_handled", sql::ints(to().map(|to| millis(to.map(|to| to.handled))))),
            ("to_slots", sql::ints(next().map(|next| millis(next.map(|next| next.slot))))),
            ("to_fires", sql::ints(next().map(|next| millis(next.map(|next| next.fire_at))))),
            ("job_ords", sql::ints(made().map(|it| it.ord as i64))),
            ("places", sql::ints(0..jobs.len() as i64)),
            ("is_run", sql::bools(made().map(|it| it.is_run))),
            ("lanes", sql::ints(made().map(|it| it.lane.lane))),
            ("queues", sql::ints(made().map(|it| it.lane.queue))),
            (
                "statuses",
                sql::ints(made().map(|it| status_code(first_status(it.how, it.is_after())))),
            ),
            ("priority_ranks", sql::ints(new().map(|job| priority_rank(job.priority)))),
            ("run_ats", sql::ints(new().map(|job| run_at(job, now)))),
            ("expire_ats", sql::ints(new().map(|job| millis(job.expire_at)))),
            ("deadlines", sql::ints(new().map(|job| millis(job.deadline)))),
            ("timeouts", sql::ints(new().map(|job| job.timeout_ms.map(integer)))),
            ("after_jobs", sql::ints(made().map(|it| it.after_job.map(|job| job.0)))),
            ("after_places", sql::ints(made().map(|it| index(it.after_place)))),
            ("cancels", sql::bools(made().map(Making::cancels))),
            ("created", sql::int(status_code(JobStatus::Created))),
            ("pending", sql::int(status_code(JobStatus::Pending))),
            ("slots", sql::ints(made().map(|it| millis(it.slot)))),
            ("on_failures", sql::texts(made().map(|it| it.on_failure))),
            ("row_ords", sql::ints(rows.iter().map(|(ord, _)| *ord as i64))),
            ("row_places", sql::ints(rows.iter().map(|(_, row)| index(row.index)))),
        ];
        values.extend(spec_values(new().map(|job| Some(&job.text))));
        values.extend(row_values(&rows.iter().map(|(_, row)| row).collect::<Vec<_>>()));
        Ok(sql::fill(include_str!("fire.sql"), values))
    }
}
