//! Schedules in the reference model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use orx_model::schedule::{Slot, SlotOutcome};
use orx_model::{JobEvent, JobId, JobStatus, Name, Timestamp};

use super::{Memory, State};
use crate::schedules::{first_status, with_job};
use crate::{
    Dependency, ExpectedVersion, Fired, Firing, FollowUp, LastRun, Release, Released, Result,
    Rewind, RunAfter, RunAlert, SLOTS_KEPT, SchedulePlan, ScheduleRecord, ScheduleUpdate,
    Schedules, SlotRequest, Term,
};

/// Schedules, their ledgers, and the dependencies and alerts of runs.
#[derive(Default)]
pub(super) struct ScheduleTables {
    /// Only the id of a last run counts; its status is read from the job.
    schedules: BTreeMap<Name, ScheduleRecord>,
    pub(super) slots: BTreeMap<(Name, Timestamp), Slot>,
    /// By parent and child: whether the leader cancels the parent.
    dependencies: BTreeMap<(JobId, JobId), bool>,
    /// The same pairs by child and parent.
    parents: BTreeSet<(JobId, JobId)>,
    alerts: BTreeMap<JobId, RunAlert>,
    /// Final jobs that have children or an alert.
    follow_ups: BTreeSet<JobId>,
}

/// The range of the pairs that begin with this job.
fn pairs_of(job: JobId) -> std::ops::RangeInclusive<(JobId, JobId)> {
    (job, JobId(i64::MIN))..=(job, JobId(i64::MAX))
}

impl ScheduleTables {
    pub(super) fn dependency_rows(&self) -> u64 {
        (self.dependencies.len() + self.alerts.len()) as u64
    }

    /// A job has this status now.
    pub(super) fn status_changed(&mut self, job: JobId, status: JobStatus) {
        let has_children = self.dependencies.range(pairs_of(job)).next().is_some();
        if status.is_final() && (has_children || self.alerts.contains_key(&job)) {
            self.follow_ups.insert(job);
        } else {
            self.follow_ups.remove(&job);
        }
    }

    /// Whether a final job must not be pruned: its end has to be followed up, or it depends on a job.
    pub(super) fn is_in_use(&self, job: JobId) -> bool {
        self.follow_ups.contains(&job) || self.depends(job)
    }

    fn depends(&self, child: JobId) -> bool {
        self.parents.range(pairs_of(child)).next().is_some()
    }

    fn add_dependency(&mut self, parent: JobId, child: JobId, cancel: bool) {
        *self.dependencies.entry((parent, child)).or_default() |= cancel;
        self.parents.insert((child, parent));
    }

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
        let id = &fire.expected.id;
        slots.any(|slot| {
            self.slots.get(&(id.clone(), slot)).is_some_and(|row| row.outcome.job().is_some())
        })
    }

    fn rewind(&mut self, rewind: Rewind) {
        let (id, to) = (rewind.expected.id, rewind.to);
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

    /// The record with the current status of its last run.
    fn with_run_status(&self, record: &ScheduleRecord) -> ScheduleRecord {
        let mut record = record.clone();
        if let Some(run) = &mut record.last_run {
            run.status = self.status(run.job);
            run.depends = self.schedules.depends(run.job);
        }
        record
    }

    /// Whether the schedule has the expected version, position and last run.
    fn is_current(&self, expected: &ExpectedVersion) -> bool {
        let record = self.schedules.schedules.get(&expected.id);
        record.is_some_and(|record| self.with_run_status(record).expected() == *expected)
    }

    /// Adds a dependency on a job that may have ended.
    fn depend(&mut self, parent: JobId, child: JobId, cancel: bool) {
        self.schedules.add_dependency(parent, child, cancel);
        if let Some(status) = self.status(parent) {
            self.schedules.status_changed(parent, status);
        }
    }

    fn add_alert(&mut self, alert: RunAlert) {
        let job = alert.job;
        self.schedules.alerts.entry(job).or_insert(alert);
        if let Some(status) = self.status(job) {
            self.schedules.status_changed(job, status);
        }
    }

    /// Makes a job pending that was created and depends on no job.
    fn admit(&mut self, job: JobId, by: Option<Term>, now: Timestamp) -> Result<bool> {
        if self.status(job) != Some(JobStatus::Created) || self.schedules.depends(job) {
            return Ok(false);
        }
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.job.state.run_at = now;
        }
        self.change(job, JobEvent::Admit, by)?;
        Ok(true)
    }

    fn fire_one(&mut self, fire: Firing, by: Option<Term>, now: Timestamp) -> Fired {
        let id = fire.expected.id.clone();
        let last = fire.expected.last_run.map(|(job, _)| job);
        let mut jobs: Vec<JobId> = Vec::new();
        let for_slots = fire.runs.iter().filter(|run| run.row.is_some()).count();
        for run in fire.runs {
            let (after, cancel) = match run.after {
                RunAfter::Nothing => (None, false),
                RunAfter::Last { cancel } => (last, cancel),
                RunAfter::AlongsideLast => (last, false),
                RunAfter::Before => (jobs.last().copied(), false),
            };
            // A pruned run had ended.
            let after = after.filter(|after| self.jobs.contains_key(after));
            let status = first_status(run.after, after.is_some());
            let slot = run.row.as_ref().map(|row| row.slot);
            let job = self.add(run.job, status, by, now);
            jobs.push(job);
            if let Some(after) = after {
                self.depend(after, job, cancel);
            }
            if let Some(on_failure) = run.on_failure {
                let schedule = id.clone();
                self.add_alert(RunAlert { job, schedule, slot, on_failure });
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
                record.last_run = Some(LastRun { job: *job, status: None, depends: false });
            }
            record.plan.position = fire.to.unwrap_or(record.plan.position);
        }
        Fired { runs: jobs, alerts }
    }

    fn release_one(
        &mut self,
        release: Release,
        released: &mut Released,
        by: Term,
        now: Timestamp,
    ) -> Result<()> {
        let job = release.job;
        if !self.schedules.follow_ups.remove(&job) {
            return Ok(());
        }
        if self.schedules.alerts.remove(&job).is_some()
            && let Some(alert) = release.alert
        {
            released.alerts.push(self.add(alert, JobStatus::Pending, Some(by), now));
        }
        let tables = &mut self.schedules;
        let parents: Vec<JobId> =
            tables.parents.range(pairs_of(job)).map(|(_, parent)| *parent).collect();
        let children: Vec<(JobId, bool)> = tables
            .dependencies
            .range(pairs_of(job))
            .map(|((_, child), cancel)| (*child, *cancel))
            .collect();
        for (child, cancel) in children {
            self.schedules.dependencies.remove(&(job, child));
            self.schedules.parents.remove(&(child, job));
            for parent in &parents {
                self.schedules.add_dependency(*parent, child, cancel);
            }
            if self.admit(child, Some(by), now)? {
                released.admitted.push(child);
            }
        }
        Ok(())
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
            let record = state.schedules.schedules.get(&rewind.expected.id);
            let current = record.is_some_and(|record| {
                record.version == rewind.expected.version
                    && record.plan.position.handled == rewind.expected.handled
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
            let first = seen.insert(fire.expected.id.clone());
            let current = first && state.is_current(&fire.expected);
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

    async fn has_dependencies(&self) -> Result<bool> {
        Ok(self.state()?.schedules.dependency_rows() > 0)
    }

    async fn follow_ups(&self, limit: u32) -> Result<Vec<FollowUp>> {
        let state = self.state()?;
        let ended = state.schedules.follow_ups.iter().filter_map(|job| {
            let alert = state.schedules.alerts.get(job).cloned();
            Some(FollowUp { job: *job, status: state.status(*job)?, alert })
        });
        Ok(ended.take(limit as usize).collect())
    }

    async fn jobs_to_cancel(&self, limit: u32) -> Result<Vec<JobId>> {
        let state = self.state()?;
        let goes_on = |job: &JobId| {
            state.jobs.get(job).is_some_and(|entry| {
                !entry.job.state.status.is_final() && entry.job.state.cancel.is_none()
            })
        };
        let cancels = state.schedules.dependencies.iter().filter(|(_, cancel)| **cancel);
        let mut jobs: Vec<JobId> =
            cancels.map(|((parent, _), _)| *parent).filter(goes_on).collect();
        jobs.dedup();
        jobs.truncate(limit as usize);
        Ok(jobs)
    }

    async fn release(
        &self,
        releases: Vec<Release>,
        term: Term,
        now: Timestamp,
    ) -> Result<Released> {
        let mut state = self.state()?;
        state.leads(term)?;
        let mut released = Released::default();
        for release in releases {
            state.release_one(release, &mut released, term, now)?;
        }
        released.admitted.sort_unstable();
        Ok(released)
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

    async fn dependencies(&self) -> Result<(Vec<Dependency>, Vec<RunAlert>)> {
        let state = self.state()?;
        let dependency = |((parent, child), cancel): (&(JobId, JobId), &bool)| Dependency {
            parent: *parent,
            child: *child,
            cancel: *cancel,
        };
        let dependencies = state.schedules.dependencies.iter().map(dependency).collect();
        Ok((dependencies, state.schedules.alerts.values().cloned().collect()))
    }

    async fn import_dependencies(
        &self,
        dependencies: Vec<Dependency>,
        alerts: Vec<RunAlert>,
    ) -> Result<()> {
        let mut state = self.state()?;
        for Dependency { parent, child, cancel } in &dependencies {
            let exist = state.jobs.contains_key(parent) && state.jobs.contains_key(child);
            if exist && !state.schedules.dependencies.contains_key(&(*parent, *child)) {
                state.depend(*parent, *child, *cancel);
            }
        }
        for dependency in dependencies {
            if let Some(run_at) =
                state.jobs.get(&dependency.child).map(|entry| entry.job.state.run_at)
            {
                state.admit(dependency.child, None, run_at)?;
            }
        }
        for alert in alerts {
            if state.jobs.contains_key(&alert.job) {
                state.add_alert(alert);
            }
        }
        Ok(())
    }
}
