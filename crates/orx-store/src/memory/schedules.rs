//! Schedules in the reference model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use orx_model::schedule::{Slot, SlotOutcome};
use orx_model::{JobEvent, JobId, JobSpec, JobStatus, Name, Timestamp};

use super::{Memory, State};
use crate::schedules::{first_status, with_job};
use crate::{
    DependencyResult, DependencyStep, ExpectedVersion, Fired, Firing, LastRun, Result, Rewind,
    RunAfter, RunDependency, SLOTS_KEPT, SchedulePlan, ScheduleRecord, ScheduleUpdate, Schedules,
    SlotRequest, Term,
};

/// Schedules, their ledgers, and the run dependencies.
#[derive(Default)]
pub(super) struct ScheduleTables {
    /// Only the id of a last run counts; its status is read from the job.
    schedules: BTreeMap<Name, ScheduleRecord>,
    pub(super) slots: BTreeMap<(Name, Timestamp), Slot>,
    pub(super) watched: BTreeMap<JobId, Row>,
}

/// A run dependency, by its job.
pub(super) struct Row {
    schedule: Name,
    slot: Option<Timestamp>,
    after: Option<JobId>,
    cancel: bool,
    on_failure: Option<JobSpec>,
}

impl ScheduleTables {
    /// Stores a row, unless the slot has a row with a job.
    fn put_row(&mut self, id: &Name, row: Slot) {
        let place = (id.clone(), row.slot);
        if self.slots.get(&place).is_none_or(|known| known.outcome.job().is_none()) {
            self.slots.insert(place, row);
        }
    }

    /// Whether a slot that the firing would run already has a job.
    fn ran_before(&self, fire: &Firing) -> bool {
        let mut slots = fire.runs.iter().filter_map(|run| run.row.as_ref()).map(|row| row.slot);
        let id = &fire.basis.id;
        slots.any(|slot| {
            self.slots.get(&(id.clone(), slot)).is_some_and(|row| row.outcome.job().is_some())
        })
    }

    fn rewind(&mut self, rewind: Rewind) {
        let (id, to) = (rewind.basis.id, rewind.to);
        self.slots.retain(|(schedule, slot), row| {
            let no_job = matches!(row.outcome, SlotOutcome::Missed | SlotOutcome::Skipped { .. });
            *schedule != id || *slot <= to.handled || !no_job
        });
        for ((schedule, _), row) in &mut self.slots {
            if *schedule == id {
                row.recorded_at = row.recorded_at.min(to.handled);
                if row.last.is_some_and(|last| last > to.handled) {
                    (row.last, row.count, row.exact) = (Some(to.handled), 1, false);
                }
            }
        }
        self.slots.entry((id.clone(), rewind.row.slot)).or_insert(rewind.row);
        if let Some(record) = self.schedules.get_mut(&id) {
            record.plan.position = to;
        }
    }
}

impl State {
    fn status(&self, job: JobId) -> Option<JobStatus> {
        self.jobs.get(&job).map(|entry| entry.job.state.status)
    }

    fn has_ended(&self, job: JobId) -> bool {
        self.status(job).is_none_or(JobStatus::is_final)
    }

    /// The record with the current status of its last run.
    fn with_run_status(&self, record: &ScheduleRecord) -> ScheduleRecord {
        let mut record = record.clone();
        if let Some(run) = &mut record.last_run {
            run.status = self.status(run.job);
        }
        record
    }

    /// Whether the schedule has the expected version, position and last run.
    fn is_current(&self, basis: &ExpectedVersion) -> bool {
        let record = self.schedules.schedules.get(&basis.id);
        record.is_some_and(|record| self.with_run_status(record).basis() == *basis)
    }

    fn watch(&self, job: JobId, row: &Row) -> RunDependency {
        RunDependency {
            job,
            schedule: row.schedule.clone(),
            slot: row.slot,
            status: self.status(job),
            after: row.after.map(|after| (after, self.status(after))),
            cancel: row.cancel,
            on_failure: row.on_failure.clone(),
        }
    }

    /// Whether the next step of the dependency can be taken.
    fn is_actionable(&self, job: JobId, row: &Row) -> bool {
        let wanted = |after: JobId| {
            let cancel = self.jobs.get(&after).and_then(|entry| entry.job.state.cancel.as_ref());
            self.has_ended(after) || (row.cancel && cancel.is_none())
        };
        self.has_ended(job) || row.after.is_some_and(wanted)
    }

    fn fire_one(&mut self, fire: Firing, by: Option<Term>, now: Timestamp) -> Fired {
        let id = fire.basis.id.clone();
        let last = fire.basis.last_run.map(|(job, _)| job);
        let mut jobs: Vec<JobId> = Vec::new();
        let for_slots = fire.runs.iter().filter(|run| run.row.is_some()).count();
        for run in fire.runs {
            let (after, cancel) = match run.after {
                RunAfter::Nothing => (None, false),
                RunAfter::Last { cancel } => (last, cancel),
                RunAfter::AlongsideLast => (last, false),
                RunAfter::Before => (jobs.last().copied(), false),
            };
            let status = first_status(run.after, after.is_some());
            let slot = run.row.as_ref().map(|row| row.slot);
            let job = self.add(run.job, status, by, now);
            jobs.push(job);
            if after.is_some() || run.on_failure.is_some() {
                let schedule = id.clone();
                let row = Row { schedule, slot, after, cancel, on_failure: run.on_failure };
                self.schedules.watched.insert(job, row);
            }
            if let Some(row) = run.row {
                let row = Slot { outcome: with_job(row.outcome, job), ..row };
                self.schedules.put_row(&id, row);
            }
        }
        for row in fire.rows {
            self.schedules.put_row(&id, row);
        }
        let alerts = fire.alerts.into_iter();
        let alerts = alerts.map(|alert| self.add(alert, JobStatus::Pending, by, now)).collect();
        if let Some(record) = self.schedules.schedules.get_mut(&id) {
            record.runs += for_slots as u64;
            if let Some(job) = jobs.last() {
                record.last_run = Some(LastRun { job: *job, status: None });
            }
            record.plan.position = fire.to.unwrap_or(record.plan.position);
        }
        Fired { runs: jobs, alerts }
    }

    fn apply_dependency_step(
        &mut self,
        step: DependencyStep,
        by: Term,
        now: Timestamp,
    ) -> Result<DependencyResult> {
        let job = step.job();
        if !self.schedules.watched.contains_key(&job) {
            return Ok(DependencyResult::Unchanged);
        }
        match step {
            DependencyStep::Release { .. } => {
                let Some(row) = self.schedules.watched.get_mut(&job) else {
                    return Ok(DependencyResult::Unchanged);
                };
                if row.after.take().is_none() {
                    return Ok(DependencyResult::Unchanged);
                }
                if row.on_failure.is_none() {
                    self.schedules.watched.remove(&job);
                }
                if self.status(job) == Some(JobStatus::Created) {
                    if let Some(entry) = self.jobs.get_mut(&job) {
                        entry.job.state.run_at = now;
                    }
                    self.change(job, JobEvent::Admit, Some(by))?;
                    return Ok(DependencyResult::Admitted);
                }
                Ok(DependencyResult::Changed)
            }
            DependencyStep::End { alert, .. } => {
                self.schedules.watched.remove(&job);
                Ok(alert.map_or(DependencyResult::Changed, |alert| {
                    DependencyResult::Alerted(self.add(alert, JobStatus::Pending, Some(by), now))
                }))
            }
        }
    }
}

fn is_missed(slot: &Slot) -> bool {
    slot.outcome == SlotOutcome::Missed
}

#[async_trait]
impl Schedules for Memory {
    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool> {
        let mut state = self.state()?;
        let id = plan.spec.id.clone();
        if state.schedules.schedules.contains_key(&id) {
            return Ok(false);
        }
        let record = ScheduleRecord {
            plan,
            version: 1,
            created_at: now,
            updated_at: now,
            runs: 0,
            last_run: None,
            unreadable: None,
        };
        state.schedules.schedules.insert(id, record);
        Ok(true)
    }

    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>> {
        let state = self.state()?;
        Ok(state.schedules.schedules.get(id).map(|record| state.with_run_status(record)))
    }

    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let state = self.state()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let above = state.schedules.schedules.range((from, Bound::Unbounded));
        Ok(above.map(|(_, record)| state.with_run_status(record)).take(limit as usize).collect())
    }

    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp,
    ) -> Result<ScheduleUpdate> {
        let mut state = self.state()?;
        let id = plan.spec.id.clone();
        let Some(record) = state.schedules.schedules.get_mut(&id) else {
            return Ok(ScheduleUpdate::Missing);
        };
        if record.version != version || record.plan.position.handled != handled {
            return Ok(ScheduleUpdate::Stale);
        }
        record.plan = plan;
        record.version += 1;
        record.updated_at = now;
        let version = record.version;
        if let Some(row) = row {
            state.schedules.put_row(&id, row);
        }
        Ok(ScheduleUpdate::Applied { version })
    }

    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<ScheduleUpdate> {
        let mut state = self.state()?;
        let Some(record) = state.schedules.schedules.get(id) else {
            return Ok(ScheduleUpdate::Missing);
        };
        let found = record.version;
        if version.is_some_and(|version| version != found) {
            return Ok(ScheduleUpdate::Stale);
        }
        state.schedules.schedules.remove(id);
        state.schedules.slots.retain(|(schedule, _), _| schedule != id);
        Ok(ScheduleUpdate::Applied { version: found })
    }

    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let state = self.state()?;
        let mut due: Vec<ScheduleRecord> = state
            .schedules
            .schedules
            .values()
            .filter(|record| record.plan.position.next.is_some_and(|next| next.fire_at <= now))
            .map(|record| state.with_run_status(record))
            .collect();
        due.sort_by_key(|record| record.plan.position.next.map(|next| next.fire_at));
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        let state = self.state()?;
        let records = state.schedules.schedules.values();
        let next = records.filter_map(|record| record.plan.position.next);
        Ok(next.map(|next| next.fire_at).filter(|fire_at| *fire_at > after).min())
    }

    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let state = self.state()?;
        let all = state.schedules.schedules.values();
        let ahead = all.filter(|record| record.plan.position.handled > of);
        Ok(ahead.map(|record| state.with_run_status(record)).take(limit as usize).collect())
    }

    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, _now: Timestamp) -> Result<Vec<bool>> {
        let mut state = self.state()?;
        state.leads(term)?;
        let mut answers = Vec::new();
        for rewind in rewinds {
            let record = state.schedules.schedules.get(&rewind.basis.id);
            let current = record.is_some_and(|record| {
                record.version == rewind.basis.version
                    && record.plan.position.handled == rewind.basis.handled
            });
            if current {
                state.schedules.rewind(rewind);
            }
            answers.push(current);
        }
        Ok(answers)
    }

    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>> {
        let mut state = self.state()?;
        if let Some(term) = term {
            state.leads(term)?;
        }
        let mut seen = BTreeSet::new();
        let mut answers = Vec::new();
        for fire in fires {
            let first = seen.insert(fire.basis.id.clone());
            let current = first && state.is_current(&fire.basis);
            let applies = current && !state.schedules.ran_before(&fire);
            answers.push(applies.then(|| state.fire_one(fire, term, now)));
        }
        Ok(answers)
    }

    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>> {
        let state = self.state()?;
        let all = state.schedules.slots.iter().rev();
        let of = all.filter(|((schedule, _), _)| *schedule == request.id).map(|(_, slot)| slot);
        let wanted = of.filter(|slot| {
            request.before.is_none_or(|before| slot.slot < before)
                && (!request.missed || is_missed(slot))
        });
        Ok(wanted.take(request.limit as usize).copied().collect())
    }

    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>> {
        let state = self.state()?;
        let mut missed: BTreeMap<Name, u64> = BTreeMap::new();
        for ((schedule, _), slot) in &state.schedules.slots {
            if is_missed(slot) && slot.recorded_at >= since {
                *missed.entry(schedule.clone()).or_default() += slot.count;
            }
        }
        Ok(missed.into_iter().collect())
    }

    async fn is_watching(&self) -> Result<bool> {
        Ok(!self.state()?.schedules.watched.is_empty())
    }

    async fn watched(&self, limit: u32) -> Result<Vec<RunDependency>> {
        let state = self.state()?;
        let all = state.schedules.watched.iter();
        let actionable = all.filter(|(job, row)| state.is_actionable(**job, row));
        Ok(actionable.map(|(job, row)| state.watch(*job, row)).take(limit as usize).collect())
    }

    async fn apply_dependency_steps(
        &self,
        steps: Vec<DependencyStep>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<DependencyResult>> {
        let mut state = self.state()?;
        state.leads(term)?;
        steps.into_iter().map(|step| state.apply_dependency_step(step, term, now)).collect()
    }

    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let mut state = self.state()?;
        state.leads(term)?;
        let tables = &mut state.schedules;
        let mut gone: Vec<(Name, Timestamp)> = Vec::new();
        for schedule in tables.schedules.keys() {
            let of = tables.slots.iter().filter(|((id, _), _)| id == schedule);
            let rows: Vec<_> = of.map(|(key, row)| (key.clone(), row.recorded_at)).collect();
            let most = SLOTS_KEPT as usize;
            let beyond = if rows.len() > most + most / 10 { rows.len() - most } else { 0 };
            let old = |place: usize, at: Timestamp| place < beyond || at < before;
            let rows = rows.into_iter().enumerate();
            gone.extend(rows.filter(|(place, (_, at))| old(*place, *at)).map(|(_, (key, _))| key));
        }
        gone.truncate(limit as usize);
        for key in &gone {
            tables.slots.remove(key);
        }
        Ok(gone.len() as u64)
    }

    async fn import_schedules(&self, schedules: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()> {
        let mut state = self.state()?;
        for (record, slots) in schedules {
            let id = record.id().clone();
            if !state.schedules.schedules.contains_key(&id) {
                state.schedules.schedules.insert(id.clone(), record);
                let rows = slots.into_iter().map(|slot| ((id.clone(), slot.slot), slot));
                state.schedules.slots.extend(rows);
            }
        }
        Ok(())
    }

    async fn all_watched(&self) -> Result<Vec<RunDependency>> {
        let state = self.state()?;
        Ok(state.schedules.watched.iter().map(|(job, row)| state.watch(*job, row)).collect())
    }

    async fn import_watched(&self, watched: Vec<RunDependency>) -> Result<()> {
        let mut state = self.state()?;
        for RunDependency { job, schedule, slot, after, cancel, on_failure, .. } in watched {
            let after = after.map(|(after, _)| after);
            let row = Row { schedule, slot, after, cancel, on_failure };
            state.schedules.watched.entry(job).or_insert(row);
        }
        Ok(())
    }
}
